"""The loop around the iteration: snapshots, average, guards, checkpoints, and going on where a training stopped."""

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from gan.config import TrainConfig
from gan.data.pixels import denormalize_images
from gan.errors import TrainingError
from gan.models.backend import Hardware, keras
from gan.models.latents import GeneratorInputs, Stream, sample_inputs
from gan.models.networks import Networks
from gan.system.interrupts import defer_interrupts
from gan.training.averaging import AVERAGE_EVERY, NUM_STATISTICS_LATENTS, estimate_statistics, make_update_average
from gan.training.checkpoints import Checkpoints
from gan.training.engine import next_stop, prepare
from gan.training.groups import group_numbers
from gan.training.guards import CHECK_EVERY, find_collapse, refuse_non_finite_images, refuse_non_finite_losses, spread
from gan.training.state import Progress, find_kinds_again, identity_of, restore, save

NUM_SPREAD_IMAGES, NUM_SPREAD_FAKES = 1000, 64

log = logging.getLogger(__name__)


class Callback:
    """Is told how a training goes; does nothing unless a method is overridden."""

    def on_start(self, kinds: np.ndarray | None) -> None:
        """Before anything else: the class or group of each training image, int (n,); None if it has none."""

    def on_resume(self, steps: Sequence[int], snapshots: np.ndarray) -> None:
        """Before a training goes on: the snapshots of before, uint8 (len(steps), n, 28, 28)."""

    def on_step(self, steps_done: int, row: np.ndarray) -> None:
        """After every step or call of several: steps done, and the last one's row of the history, float32 (3,)."""

    def on_snapshot(self, step: int, pixels: np.ndarray, networks: Networks) -> None:
        """After the steps of `config.snapshot_steps`: images of the fixed latents, uint8 (n, 28, 28)."""


@dataclass
class Training:
    """What a finished training gives."""

    generator: keras.Model
    discriminator: keras.Model
    average: keras.Model  # a generator with averaged weights, statistics estimated for them
    history: np.ndarray  # float32 (steps, 3), HISTORY_COLUMNS
    snapshot_steps: tuple[int, ...]
    snapshots: np.ndarray  # uint8 (num_snapshots, num_snapshot_images, 28, 28)
    warnings: tuple[str, ...]  # of collapse
    facts: dict[str, str | int | float] = field(default_factory=dict)  # what was measured; differs from run to run


def train(
    images: np.ndarray,
    config: TrainConfig,
    checkpoints: Checkpoints,
    hardware: Hardware,
    *,
    labels: np.ndarray | None = None,
    callbacks: Sequence[Callback] = (),
    stop_on_collapse: bool = False,
) -> Training:
    """Train a generator; go on from the last checkpoint if there is one.

    Args:
        images: The training split, float32, shape (n, 28, 28, 1), values in [-1, 1].
        config: Recipe, steps, batch size, seed, snapshots.
        checkpoints: Where unfinished work is kept; written as time goes by, and when training is interrupted.
        hardware: What `use_device` has chosen.
        labels: int, shape (n,), of the images; only recipes with classes need them.
        callbacks: Told of every step and snapshot.
        stop_on_collapse: End with an error where there would be a warning.

    Raises:
        TrainingError: If a loss or a weight is not finite, or on collapse if asked for; the last checkpoint is kept.
    """
    checkpoint, began = checkpoints.load_latest(), time.perf_counter()
    kinds = find_kinds_again(images, config.recipe, labels, checkpoint)
    seconds_for_kinds = time.perf_counter() - began
    commonest = None if kinds is None else int(np.bincount(kinds).argmax())  # looked at alone: kinds differ anyway
    alike_rows = slice(NUM_SPREAD_IMAGES) if kinds is None else np.flatnonzero(kinds == commonest)[:NUM_SPREAD_IMAGES]
    real_spread = spread(images[alike_rows])
    networks, engine = prepare(images, config, hardware, kinds)
    identity = identity_of(images, config, engine.name)
    del images  # the device has them; a memory-mapped array without references takes no memory
    progress = restore(networks, config, checkpoint, identity, checkpoints.folder)
    del checkpoint  # the networks have it
    progress.groups = kinds if config.recipe.num_groups else None
    progress.seconds += seconds_for_kinds
    resumed_at = progress.steps_done
    for watcher in callbacks:
        watcher.on_start(kinds)
    log.info("Training on %s, %s", hardware.name, engine.name)
    if resumed_at:
        _tell_of_resume(progress, config, callbacks)
    update_average = make_update_average(networks, config.recipe, config.batch_size)
    inputs = sample_inputs(
        networks.generator, config.num_snapshot_images, seed=config.seed, stream=Stream.SNAPSHOTS, like_labels=kinds
    )
    alike = _inputs_of_one_kind(networks.generator, config, kinds, commonest)

    with defer_interrupts() as interrupt:
        while progress.steps_done < config.steps:
            start, started = progress.steps_done, time.perf_counter()
            stop = next_stop(start, config, engine.steps_a_call)
            rows = engine.advance(start, stop)
            refuse_non_finite_losses(rows, start, networks)
            if stop % AVERAGE_EVERY == 0:
                update_average(stop, AVERAGE_EVERY)
            snapshot = None
            if stop - 1 in config.snapshot_steps:
                snapshot = take_snapshot(networks, inputs, stop)
                progress.snapshots[config.snapshot_steps.index(stop - 1)] = snapshot
            progress.record(rows, time.perf_counter() - started)
            if stop % CHECK_EVERY == 0:
                fakes = networks.generator(alike.arrays, training=False).numpy()
                collapse = find_collapse(fakes, real_spread, progress.history[:stop])
                report_collapse(collapse, progress, fatal=stop_on_collapse)
            interrupted = interrupt.received
            if checkpoints.due() or interrupted:
                save(networks, progress, checkpoints, identity)
            if interrupted:
                break
            for watcher in callbacks:
                watcher.on_step(stop, rows[-1])
                if snapshot is not None:
                    watcher.on_snapshot(stop - 1, snapshot, networks)
        if progress.steps_done == config.steps:
            save(networks, progress, checkpoints, identity)  # until the results are stored
    if progress.steps_done < config.steps:
        raise KeyboardInterrupt  # whoever handles the signal let it pass, but this is no finished training

    if rest := config.steps % AVERAGE_EVERY:
        update_average(config.steps, rest)
    _estimate_statistics_of_average(networks, config, kinds)
    return Training(
        generator=networks.generator,
        discriminator=networks.discriminator,
        average=networks.average,
        history=progress.history,
        snapshot_steps=config.snapshot_steps,
        snapshots=progress.snapshots,
        warnings=tuple(progress.warnings),
        facts={
            "device": hardware.name,
            "engine": engine.name,
            "resumed_at_step": resumed_at,
            **progress.timings(),
        },
    )


def _inputs_of_one_kind(
    generator: keras.Model, config: TrainConfig, kinds: np.ndarray | None, kind: int | None
) -> GeneratorInputs:
    """Inputs for generated images of a class or group, or of any where there are none."""
    asked = None if kind is None else np.array([kind])
    inputs = sample_inputs(generator, NUM_SPREAD_FAKES, seed=config.seed, stream=Stream.SNAPSHOTS, like_labels=asked)
    if kinds is not None and config.recipe.num_groups:
        inputs.latents[:, 0] = group_numbers(kinds, config.recipe.num_groups)[kind]
    return inputs


def _tell_of_resume(progress: Progress, config: TrainConfig, callbacks: Sequence[Callback]) -> None:
    """Say where a training goes on, and show what it has made before."""
    log.info("Going on from the checkpoint after %s of %s steps", f"{progress.steps_done:,}", f"{config.steps:,}")
    taken = [step for step in config.snapshot_steps if step < progress.steps_done]
    for watcher in callbacks:
        watcher.on_resume(taken, progress.snapshots[: len(taken)])


def _estimate_statistics_of_average(networks: Networks, config: TrainConfig, kinds: np.ndarray | None) -> None:
    """Of many latents, and of classes as often as the data has them."""
    many = sample_inputs(
        networks.average, NUM_STATISTICS_LATENTS, seed=config.seed, stream=Stream.STATISTICS, like_labels=kinds
    )
    estimate_statistics(networks.average, many)


def take_snapshot(networks: Networks, inputs: GeneratorInputs, steps_done: int) -> np.ndarray:
    """Images of the fixed latents as pixels, uint8 (n, 28, 28).

    Raises:
        TrainingError: If the step before has spoiled the weights: its losses were still finite.
    """
    batches = inputs.batches()
    fakes = np.concatenate([networks.generator(batch.arrays, training=False).numpy() for batch in batches])
    refuse_non_finite_images(fakes, networks, steps_done)
    return denormalize_images(fakes)


def report_collapse(signs: Iterable[tuple[str, str]], progress: Progress, *, fatal: bool) -> None:
    """Warn of each kind of collapse once, in the log and in what the report shows.

    Raises:
        TrainingError: If it is to be fatal.
    """
    for kind, sentence in signs:
        if not any(warning.startswith(kind) for warning in progress.warnings):
            progress.warnings.append(sentence)
            log.warning(sentence)
        if fatal:
            raise TrainingError(
                f"{sentence}\nTraining was stopped, as --stop-on-collapse asks. Without it, it would go on; "
                "another seed or recipe may do better."
            )
