"""The training loop: snapshots, averaged weights, guards, checkpoints, and resuming an interrupted training."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gan.config import TrainConfig
from gan.data.pixels import denormalize_images
from gan.models.backend import Hardware, keras
from gan.models.latents import GeneratorInputs, Stream, sample_inputs
from gan.models.networks import Networks
from gan.system.interrupts import Interrupt, defer_interrupts
from gan.training.averaging import estimate_batch_norm_statistics
from gan.training.checkpoints import Checkpoints
from gan.training.engine import Engine, build_engine, next_stop
from gan.training.groups import find_conditions
from gan.training.guards import (
    CHECK_EVERY,
    CollapseCheck,
    refuse_earlier_collapse,
    refuse_non_finite_images,
    refuse_non_finite_losses,
)
from gan.training.state import TrainingState, restore, save_checkpoint, training_identity

NUM_STATISTICS_LATENTS = 10_000

log = logging.getLogger(__name__)


class Callback:
    """Receives the events of a training; each method does nothing unless it is overridden."""

    def on_start(self, conditions: np.ndarray | None) -> None:
        """Receive the class or group of each training image, int (n,), first of all; None without conditioning."""

    def on_resume(self, steps: Sequence[int], snapshots: np.ndarray) -> None:
        """Receive the snapshots of earlier processes, uint8 (len(steps), n, 28, 28), before training is resumed."""

    def on_step(self, steps_done: int, row: np.ndarray) -> None:
        """Receive the last row of the history, float32 (3,), after every call of the compiled program (1-200 steps).

        `steps_done` counts from 1.
        """

    def on_snapshot(self, step: int, pixels: np.ndarray, networks: Networks) -> None:
        """Receive images of the fixed latents, uint8 (n, 28, 28), after a step of `config.snapshot_steps`.

        `step` counts from 0.
        """


@dataclass(frozen=True)
class TrainingResult:
    """The networks and records of a finished training."""

    generator: keras.Model
    discriminator: keras.Model
    average: keras.Model  # a generator with averaged weights and BatchNorm statistics estimated for them
    history: np.ndarray  # float32 (steps, 3), HISTORY_COLUMNS
    snapshots: np.ndarray  # uint8 (num_snapshots, num_snapshot_images, 28, 28), for each of `config.snapshot_steps`
    average_snapshots: np.ndarray  # uint8, of the averaged weights, for each of `config.average_steps`
    """Their BatchNormalization statistics are estimated from their own latents, those of `average` from more."""
    warnings: tuple[str, ...]  # of collapse
    facts: dict[str, str | int | float]  # device and measured times, which differ between equal trainings


@dataclass(frozen=True)
class _Setup:
    config: TrainConfig
    engine: Engine
    state: TrainingState
    identity: str  # a checkpoint is only restored if its identity is the same
    conditions: np.ndarray | None
    snapshot_inputs: GeneratorInputs
    collapse_check: CollapseCheck


def train(
    images: np.ndarray,
    config: TrainConfig,
    checkpoints: Checkpoints,
    hardware: Hardware,
    *,
    labels: np.ndarray | None = None,
    callbacks: Sequence[Callback] = (),
    stop_on_collapse: bool = False,
) -> TrainingResult:
    """Train a generator; resume from the latest checkpoint if there is one.

    Args:
        images: The training split, float32, shape (n, 28, 28, 1), values in [-1, 1].
        config: Recipe, steps, batch size, seed, snapshots.
        checkpoints: Storage of the unfinished training, written at intervals and when training is interrupted.
        hardware: The result of `use_device`.
        labels: Label of each image, int, shape (n,); only recipes with classes need them.
        callbacks: Receivers of steps and snapshots.
        stop_on_collapse: Raise an error instead of a warning.

    Raises:
        TrainingError: If a loss or weight is not finite, or on collapse if `stop_on_collapse` is set. The last
            checkpoint is kept.
        KeyboardInterrupt: If a signal ends the training after a checkpoint, and its handler raises no other error.
    """
    # prepare: build the networks, restore the latest checkpoint
    setup = _prepare(images, config, checkpoints, hardware, labels)
    del images  # the device has a copy; without references, the mapped file's memory is freed
    resumed_at = setup.state.steps_done
    _announce(setup, callbacks)
    if stop_on_collapse:
        refuse_earlier_collapse(setup.state.warnings)

    # loop: run all remaining steps; a signal takes effect after the loop has saved a checkpoint
    with defer_interrupts() as interrupt:
        _run_loop(setup, checkpoints, callbacks, interrupt, stop_on_collapse)
    if setup.state.steps_done < config.steps:
        raise KeyboardInterrupt  # the signal's handler did not raise, but the training is unfinished

    # finish: complete the averaged generator
    return _finish(setup, resumed_at)


def _prepare(
    images: np.ndarray, config: TrainConfig, checkpoints: Checkpoints, hardware: Hardware, labels: np.ndarray | None
) -> _Setup:
    # find the conditions, or reuse the checkpoint's groups: another processor could cluster differently
    checkpoint, started = checkpoints.load_latest(), time.perf_counter()
    groups = None if checkpoint is None else checkpoint[1].get("groups")
    if groups is not None and len(groups) == len(images):  # otherwise `restore` refuses the checkpoint
        conditions: np.ndarray | None = groups
    else:
        conditions = find_conditions(images, config.recipe, labels)
    clustering_seconds = time.perf_counter() - started

    # build the networks and restore the checkpoint
    engine = build_engine(images, config, hardware, conditions)
    identity = training_identity(images, config, engine.name)
    state = restore(engine.networks, config, checkpoint, identity, checkpoints.folder)
    state.groups = conditions if config.recipe.num_groups else None
    state.seconds += clustering_seconds

    # prepare the snapshots and the check for collapse
    generator = engine.networks.generator
    snapshot_inputs = sample_inputs(
        generator, config.num_snapshot_images, seed=config.seed, stream=Stream.SNAPSHOTS, like_labels=conditions
    )
    collapse_check = CollapseCheck(generator, engine.infer, images, config, conditions)
    return _Setup(config, engine, state, identity, conditions, snapshot_inputs, collapse_check)


def _announce(setup: _Setup, callbacks: Sequence[Callback]) -> None:
    state, config = setup.state, setup.config
    for callback in callbacks:
        callback.on_start(setup.conditions)
    log.info("Training on %s, %s", setup.engine.device, setup.engine.name)
    if state.steps_done:
        log.info("Resuming from the checkpoint after %s of %s steps", f"{state.steps_done:,}", f"{config.steps:,}")
        taken = [step for step in config.snapshot_steps if step < state.steps_done]
        for callback in callbacks:
            callback.on_resume(taken, state.snapshots[: len(taken)])


def _run_loop(
    setup: _Setup, checkpoints: Checkpoints, callbacks: Sequence[Callback], interrupt: Interrupt, stop_on_collapse: bool
) -> None:
    config, engine, networks, state = setup.config, setup.engine, setup.engine.networks, setup.state
    while state.steps_done < config.steps:
        # run the steps of one call, which also update the average
        start, started = state.steps_done, time.perf_counter()
        stop = next_stop(start, config, engine.steps_per_call)
        rows = engine.run_steps(start, stop)
        refuse_non_finite_losses(rows, start, networks)
        state.record(rows, time.perf_counter() - started)
        # take a snapshot
        snapshot = _take_snapshots(setup) if stop - 1 in config.snapshot_steps else None
        # warn of collapse
        if stop % CHECK_EVERY == 0:
            setup.collapse_check.run(state.history[:stop], state.warnings, stop_on_collapse=stop_on_collapse)
        # save a checkpoint; the last one is kept until the result is stored
        interrupted = interrupt.received
        if checkpoints.due() or interrupted or stop == config.steps:
            save_checkpoint(networks, config, state, checkpoints, setup.identity)
        if interrupted and stop < config.steps:
            break
        # report progress
        for callback in callbacks:
            callback.on_step(stop, rows[-1])
            if snapshot is not None:
                callback.on_snapshot(stop - 1, snapshot, networks)


def _take_snapshots(setup: _Setup) -> np.ndarray:
    """Keep a snapshot after the last step, also of the average if it is due; return it, uint8 (n, 28, 28)."""
    config, networks, state, started = setup.config, setup.engine.networks, setup.state, time.perf_counter()
    step = state.steps_done - 1
    snapshot = _generate(setup, networks.generator)
    state.snapshots[config.snapshot_steps.index(step)] = snapshot
    if step in config.average_steps:
        estimate_batch_norm_statistics(networks.average, setup.snapshot_inputs)
        state.average_snapshots[config.average_steps.index(step)] = _generate(setup, networks.average)
    state.record_snapshot(time.perf_counter() - started)
    return snapshot


def _generate(setup: _Setup, generator: keras.Model) -> np.ndarray:
    """Generate the images of a snapshot, uint8 (n, 28, 28); raise an error if weights are not finite any more."""
    fakes = np.concatenate(
        [np.asarray(setup.engine.infer(generator, batch.arrays)) for batch in setup.snapshot_inputs.batches()]
    )
    refuse_non_finite_images(fakes, setup.engine.networks, setup.state.steps_done)
    return denormalize_images(fakes)


def _finish(setup: _Setup, resumed_at: int) -> TrainingResult:
    config, networks, state = setup.config, setup.engine.networks, setup.state
    # re-estimate the average's BatchNorm statistics, from classes as frequent as in the training split
    average, labels, num = networks.average, setup.conditions, NUM_STATISTICS_LATENTS
    inputs = sample_inputs(average, num, seed=config.seed, stream=Stream.STATISTICS, like_labels=labels)
    estimate_batch_norm_statistics(average, inputs)
    engine, timings = setup.engine, state.timings()
    return TrainingResult(
        generator=networks.generator,
        discriminator=networks.discriminator,
        average=average,
        history=state.history,
        snapshots=state.snapshots,
        average_snapshots=state.average_snapshots,
        warnings=tuple(state.warnings),
        facts={"device": engine.device, "engine": engine.name, "resumed_at_step": resumed_at, **timings},
    )
