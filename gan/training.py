"""Training, to be read beside the recipe `article`: the step, then the loop around it.

Everything random is a function of (seed, step): a training that is killed and goes on from a checkpoint draws the
same batches and latents, and ends with the same weights, as one that was never interrupted on the same device.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from gan.averaging import AVERAGE_EVERY, NUM_STATISTICS_LATENTS, estimate_statistics, make_update_average
from gan.backend import Hardware, keras, tf
from gan.checkpoints import Checkpoints
from gan.config import TrainConfig
from gan.datasets.pixels import denormalize_images
from gan.errors import TrainingError
from gan.guards import CHECK_EVERY, find_collapse, refuse_non_finite_losses, refuse_non_finite_weights, spread
from gan.interrupts import held_back_interrupts
from gan.losses import fake_accuracy, fake_loss, generator_loss, real_accuracy, real_loss
from gan.networks import Networks
from gan.sampling import Stream, sample_latents
from gan.training_state import Progress, restore, save

TrainStep = Callable[[tf.Tensor], tf.Tensor]
"""One iteration of the algorithm: takes the step (int64 scalar), gives its row of the history (float32 (3,))."""

Advance = Callable[[int, int], np.ndarray]
"""Runs the steps from a first one up to a last one, excluded; gives their rows of the history, float32 (n, 3)."""

STEPS_A_CALL = {"CPU": 4, "GPU": 8}
"""Steps unrolled in one XLA program: on a CPU parts of one step fill the gaps of the next, a GPU waits less often."""

UNROLL_FROM_STEPS = 4000
"""Shorter trainings do without: the larger program takes 6 s more to compile, and saves 2 ms a step."""

NUM_SPREAD_IMAGES = 1000

log = logging.getLogger(__name__)


class Draw(IntEnum):
    """What is drawn at random within a step; each has a stream of its own."""

    REAL_INDICES = 0
    DISCRIMINATOR_LATENTS = 1
    GENERATOR_LATENTS = 2


def draw_latents(seed: int, step: tf.Tensor, draw: Draw, shape: tuple[int, int]) -> tf.Tensor:
    """Latents z ~ N(0, I), float32 of `shape`; a function of (seed, step, draw)."""
    return tf.random.stateless_normal(shape, _stream(seed, step, draw), alg="philox")


def draw_indices(seed: int, step: tf.Tensor, num: int, num_images: int) -> tf.Tensor:
    """Indices of real images, int32 (num,), uniform with replacement; a function of (seed, step)."""
    stream = _stream(seed, step, Draw.REAL_INDICES)
    return tf.random.stateless_uniform((num,), stream, 0, num_images, tf.int32, alg="philox")


def _stream(seed: int, step: tf.Tensor, draw: Draw) -> tf.Tensor:
    return tf.stack([tf.constant(seed, tf.int64), tf.cast(step, tf.int64) * len(Draw) + int(draw)])


def update_discriminator(
    networks: Networks, real_images: tf.Tensor, fake_images: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Two separate Adam updates of the discriminator: real images with label 1, then fake images with label 0.

    Returns:
        Means over the two updates of loss and accuracy, each taken before its update; float32 scalars.
    """
    discriminator, weights = networks.discriminator, networks.discriminator.trainable_variables
    losses, accuracies = [], []
    for images, loss_of, accuracy_of in (
        (real_images, real_loss, real_accuracy),
        (fake_images, fake_loss, fake_accuracy),
    ):
        with tf.GradientTape() as tape:
            logits = discriminator(images, training=True)
            loss = loss_of(logits)
        networks.d_optimizer.apply(tape.gradient(loss, weights), weights)
        losses.append(loss)
        accuracies.append(accuracy_of(logits))
    return sum(losses) / 2, sum(accuracies) / 2


def update_generator(networks: Networks, latents: tf.Tensor) -> tf.Tensor:
    """One Adam update of the generator, in training mode, through a discriminator that stays as it is.

    BatchNormalization uses the batch's statistics here, and this is where its moving statistics change.

    Returns:
        The loss before the update; float32 scalar.
    """
    weights = networks.generator.trainable_variables
    with tf.GradientTape() as tape:
        logits = networks.discriminator(networks.generator(latents, training=True), training=False)
        loss = generator_loss(logits)
    networks.g_optimizer.apply(tape.gradient(loss, weights), weights)
    return loss


def make_train_step(networks: Networks, images: tf.Tensor, config: TrainConfig) -> TrainStep:
    """Compile one iteration of the article (step 5, a to e).

    Args:
        networks: Changed in place by every call.
        images: The training split, float32 (n, 28, 28, 1) in [-1, 1], resident on the device.
        config: Batch size, seed and recipe.

    Returns:
        The compiled step, all of it one XLA program.
    """
    num, shape = config.batch_size, (config.batch_size, config.recipe.latent_dim)

    def train_step(step: tf.Tensor) -> tf.Tensor:
        real_images = tf.gather(images, draw_indices(config.seed, step, num, images.shape[0]))  # (num, 28, 28, 1)
        latents = draw_latents(config.seed, step, Draw.DISCRIMINATOR_LATENTS, shape)
        fake_images = networks.generator(latents, training=False)  # (num, 28, 28, 1), by the moving statistics
        d_loss, d_accuracy = update_discriminator(networks, real_images, fake_images)
        g_loss = update_generator(networks, draw_latents(config.seed, step, Draw.GENERATOR_LATENTS, shape))
        return tf.stack([d_loss, d_accuracy, g_loss])

    compiled: TrainStep = tf.function(train_step, jit_compile=True, autograph=False)
    return compiled


@dataclass(frozen=True)
class Engine:
    """How steps are run on some hardware."""

    name: str  # for people
    steps_a_call: int
    advance: Advance


class Watcher:
    """Is told how a training goes; does nothing unless a method is overridden."""

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
    watchers: Sequence[Watcher] = (),
    stop_on_collapse: bool = False,
) -> Training:
    """Train a generator; go on from the last checkpoint if there is one.

    Args:
        images: The training split, float32, shape (n, 28, 28, 1), values in [-1, 1].
        config: Recipe, steps, batch size, seed, snapshots.
        checkpoints: Where unfinished work is kept; written as time goes by, and when training is interrupted.
        hardware: What `use_device` has chosen.
        watchers: Told of every step and snapshot.
        stop_on_collapse: End with an error where there would be a warning.

    Raises:
        TrainingError: If a loss or a weight is not finite, or on collapse if asked for; the last checkpoint is kept.
    """
    real_spread = spread(images[:NUM_SPREAD_IMAGES])
    networks, engine = prepare(images, config, hardware)
    del images  # the device has them; a memory-mapped array without references takes no memory
    progress = restore(networks, config, checkpoints)
    resumed_at = progress.steps_done
    log.info("Training on %s, %s", hardware.name, engine.name)
    if resumed_at:
        log.info("Going on from the checkpoint after %s of %s steps", f"{resumed_at:,}", f"{config.steps:,}")
    update_average = make_update_average(networks, config.batch_size, config.recipe.average_half_life_images)
    latents = sample_latents(
        config.num_snapshot_images, config.recipe.latent_dim, seed=config.seed, stream=Stream.SNAPSHOTS
    )

    with held_back_interrupts() as interrupt:
        while progress.steps_done < config.steps:
            start, started = progress.steps_done, time.perf_counter()
            stop = next_stop(start, config, engine.steps_a_call)
            rows = engine.advance(start, stop)
            refuse_non_finite_losses(rows, start, networks)
            if stop % AVERAGE_EVERY == 0:
                update_average(stop)
            snapshot = None
            if stop - 1 in config.snapshot_steps:
                snapshot = take_snapshot(networks, latents, stop)
                progress.snapshots[config.snapshot_steps.index(stop - 1)] = snapshot
            progress.record(rows, time.perf_counter() - started)
            if stop % CHECK_EVERY == 0:
                fakes = networks.generator(latents, training=False).numpy()
                collapse = find_collapse(fakes, real_spread, progress.history[:stop])
                report_collapse(collapse, progress, fatal=stop_on_collapse)
            interrupted = interrupt.received
            if checkpoints.due() or interrupted:
                save(networks, progress, checkpoints)
            if interrupted:
                break
            for watcher in watchers:
                watcher.on_step(stop, rows[-1])
                if snapshot is not None:
                    watcher.on_snapshot(stop - 1, snapshot, networks)
    if progress.steps_done < config.steps:
        raise KeyboardInterrupt  # whoever handles the signal let it pass, but this is no finished training
    save(networks, progress, checkpoints)  # until the results are stored

    estimate_statistics(
        networks.average,
        sample_latents(NUM_STATISTICS_LATENTS, config.recipe.latent_dim, seed=config.seed, stream=Stream.STATISTICS),
    )
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


def prepare(images: np.ndarray, config: TrainConfig, hardware: Hardware) -> tuple[Networks, Engine]:
    """Networks with initial weights, and how they are trained on this hardware."""
    if hardware.strategy is not None:
        from gan.parallel import build_replicated, make_parallel_step

        networks = build_replicated(config, hardware.strategy)
        step = make_parallel_step(networks, to_device(images), config, hardware.strategy)
        name = f"each batch split over {hardware.strategy.num_replicas_in_sync} devices"
        return networks, Engine(name, 1, make_advance(step, 1))
    networks = Networks.build(config.recipe, config.seed)
    step = make_train_step(networks, to_device(images), config)
    steps_a_call = STEPS_A_CALL[hardware.kind] if config.steps >= UNROLL_FROM_STEPS else 1
    name = "one XLA program a step" if steps_a_call == 1 else f"one XLA program for {steps_a_call} steps"
    return networks, Engine(name, steps_a_call, make_advance(step, steps_a_call))


def to_device(images: np.ndarray) -> tf.Tensor:
    """Images as a tensor that stays on the device; `tf.constant` alone would keep a second copy on the host."""
    return tf.identity(tf.constant(images))


def make_advance(train_step: TrainStep, steps_a_call: int) -> Advance:
    """A function that runs a range of steps: in one program if there are `steps_a_call` of them, else one by one."""

    @tf.function(jit_compile=True, autograph=False)
    def run_all(start: tf.Tensor) -> tf.Tensor:
        return tf.stack([train_step(start + index) for index in range(steps_a_call)])

    def advance(start: int, stop: int) -> np.ndarray:
        if steps_a_call > 1 and stop - start == steps_a_call:
            return np.asarray(run_all(tf.constant(start, tf.int64)))
        return np.stack([train_step(tf.constant(step, tf.int64)) for step in range(start, stop)])

    return advance


def next_stop(start: int, config: TrainConfig, steps_a_call: int) -> int:
    """Where a call that begins at `start` ends: at a multiple of `steps_a_call`, or before at a snapshot or the end."""
    next_snapshot = next(step for step in config.snapshot_steps if step >= start)
    return min(start - start % steps_a_call + steps_a_call, next_snapshot + 1)


def take_snapshot(networks: Networks, latents: np.ndarray, steps_done: int) -> np.ndarray:
    """Images of the fixed latents as pixels, uint8 (n, 28, 28).

    Raises:
        TrainingError: If the step before has spoiled the weights: its losses were still finite.
    """
    fakes = networks.generator(latents, training=False).numpy()
    if not np.isfinite(fakes).all():
        refuse_non_finite_weights(networks, steps_done)
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
