"""Training, to be read beside the recipe `article`: the step, then the loop around it.

Everything random is a function of (seed, step): a training that is killed and goes on from a checkpoint draws the
same batches and latents, and ends with the same weights, as one that was never interrupted on the same device.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from gan.backend import keras, tf, use_device
from gan.checkpoints import Checkpoints
from gan.config import Device, TrainConfig
from gan.datasets.pixels import denormalize_images
from gan.errors import TrainingError
from gan.history import HISTORY_COLUMNS
from gan.interrupts import held_back_interrupts
from gan.losses import fake_accuracy, fake_loss, generator_loss, real_accuracy, real_loss
from gan.networks import build_discriminator, build_generator
from gan.recipes import Recipe
from gan.sampling import sample_latents

TrainStep = Callable[[tf.Tensor], tf.Tensor]
"""One iteration of the algorithm: takes the step (int64 scalar), gives its row of the history (float32 (3,))."""

OnStep = Callable[[int, np.ndarray], None]
"""Called after each step with the number of steps done and that step's row of the history."""


class Draw(IntEnum):
    """What is drawn at random within a step; each has a stream of its own."""

    REAL_INDICES = 0
    DISCRIMINATOR_LATENTS = 1
    GENERATOR_LATENTS = 2


@dataclass
class Networks:
    """What training changes: two networks, each with its own optimizer."""

    generator: keras.Model
    discriminator: keras.Model
    g_optimizer: keras.optimizers.Optimizer
    d_optimizer: keras.optimizers.Optimizer

    @classmethod
    def build(cls, recipe: Recipe, seed: int) -> "Networks":
        """Networks with initial weights and optimizers with empty slots."""
        networks = cls(
            build_generator(recipe, seed),
            build_discriminator(recipe, seed),
            build_optimizer(recipe),
            build_optimizer(recipe),
        )
        networks.g_optimizer.build(networks.generator.trainable_variables)
        networks.d_optimizer.build(networks.discriminator.trainable_variables)
        return networks

    @property
    def variables(self) -> list[keras.Variable]:
        """All state, in an order that never changes."""
        return [
            *self.generator.variables,
            *self.discriminator.variables,
            *self.g_optimizer.variables,
            *self.d_optimizer.variables,
        ]


def build_optimizer(recipe: Recipe) -> keras.optimizers.Optimizer:
    """Adam (Kingma and Ba 2015, arXiv:1412.6980) as the recipe sets it."""
    return keras.optimizers.Adam(recipe.learning_rate, recipe.adam_beta_1, recipe.adam_beta_2, recipe.adam_epsilon)


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


@dataclass
class Progress:
    """How far a training is, and what it has recorded."""

    history: np.ndarray  # float32 (steps, 3), HISTORY_COLUMNS; rows of steps to come are zero
    snapshots: np.ndarray  # uint8 (num_snapshots, num_snapshot_images, 28, 28); those to come are zero
    steps_done: int = 0
    seconds: float = 0.0  # of all steps, over all interruptions
    session_seconds: list[float] = field(default_factory=list)  # of each step since the process started

    @classmethod
    def empty(cls, config: TrainConfig) -> "Progress":
        """Nothing done yet."""
        return cls(
            history=np.zeros((config.steps, len(HISTORY_COLUMNS)), np.float32),
            snapshots=np.zeros((len(config.snapshot_steps), config.num_snapshot_images, 28, 28), np.uint8),
        )

    def record(self, row: np.ndarray, seconds: float) -> None:
        """Take down a finished step: its row of the history and how long it took."""
        self.history[self.steps_done] = row
        self.steps_done += 1
        self.seconds += seconds
        self.session_seconds.append(seconds)

    def timings(self) -> dict[str, float]:
        """What was measured; the first step of a process is mostly compilation and stands apart."""
        facts = {"training_seconds": round(self.seconds, 1)}
        if self.session_seconds:
            first, *others = self.session_seconds
            facts["first_step_seconds"] = round(first, 2)
            facts["milliseconds_per_step"] = round(1000 * float(np.median(others or [first])), 2)
        return facts


@dataclass
class Training:
    """What a finished training gives."""

    generator: keras.Model
    discriminator: keras.Model
    history: np.ndarray  # float32 (steps, 3), HISTORY_COLUMNS
    snapshot_steps: tuple[int, ...]
    snapshots: np.ndarray  # uint8 (num_snapshots, num_snapshot_images, 28, 28)
    facts: dict[str, str | int | float] = field(default_factory=dict)  # what was measured; differs from run to run


def train(
    images: np.ndarray,
    config: TrainConfig,
    checkpoints: Checkpoints,
    *,
    device: Device = "auto",
    on_step: OnStep | None = None,
) -> Training:
    """Train a generator; go on from the last checkpoint if there is one.

    Args:
        images: The training split, float32, shape (n, 28, 28, 1), values in [-1, 1].
        config: Recipe, steps, batch size, seed, snapshots.
        checkpoints: Where unfinished work is kept; written as time goes by, and when training is interrupted.
        device: What to train on.
        on_step: Told of every step.

    Raises:
        TrainingError: If the device is not there, or a loss is not finite; the last checkpoint before it is kept.
    """
    device_name = use_device(device)
    networks = Networks.build(config.recipe, config.seed)
    progress = restore(networks, config, checkpoints)
    resumed_at = progress.steps_done
    train_step = make_train_step(networks, tf.constant(images), config)
    snapshot_latents = sample_latents(config.num_snapshot_images, config.recipe.latent_dim, seed=config.seed)
    snapshot_index = {step: index for index, step in enumerate(config.snapshot_steps)}

    with held_back_interrupts() as interrupt:
        for step in range(resumed_at, config.steps):
            started = time.perf_counter()
            row = train_step(tf.constant(step, tf.int64)).numpy()
            if not np.isfinite(row).all():
                raise _not_finite(step, row, checkpoints)
            if step in snapshot_index:
                fakes = networks.generator(snapshot_latents, training=False).numpy()
                progress.snapshots[snapshot_index[step]] = denormalize_images(fakes)
            progress.record(row, time.perf_counter() - started)
            if checkpoints.due() or interrupt.received:
                save(networks, progress, checkpoints)
            if interrupt.received:
                break
            if on_step:
                on_step(step + 1, row)
    if progress.steps_done < config.steps:
        raise KeyboardInterrupt  # whoever handles the signal let it pass, but this is no finished training
    save(networks, progress, checkpoints)  # until the results are stored

    return Training(
        generator=networks.generator,
        discriminator=networks.discriminator,
        history=progress.history,
        snapshot_steps=config.snapshot_steps,
        snapshots=progress.snapshots,
        facts={"device": device_name, "resumed_at_step": resumed_at, **progress.timings()},
    )


def save(networks: Networks, progress: Progress, checkpoints: Checkpoints) -> None:
    """Write everything that training needs to go on from here."""
    arrays = {f"variable_{index:03}": variable.numpy() for index, variable in enumerate(networks.variables)}
    arrays |= {
        "history": progress.history[: progress.steps_done],
        "snapshots": progress.snapshots,
        "seconds": np.float64(progress.seconds),
    }
    checkpoints.save(progress.steps_done, arrays)


def restore(networks: Networks, config: TrainConfig, checkpoints: Checkpoints) -> Progress:
    """Set the networks to the newest usable checkpoint; without one they stay as they are."""
    progress = Progress.empty(config)
    checkpoint = checkpoints.load_latest()
    if checkpoint is not None:
        progress.steps_done, arrays = checkpoint
        for index, variable in enumerate(networks.variables):
            variable.assign(arrays[f"variable_{index:03}"])
        progress.history[: progress.steps_done] = arrays["history"]
        progress.snapshots[:] = arrays["snapshots"]
        progress.seconds = float(arrays["seconds"])
    return progress


def _not_finite(step: int, row: np.ndarray, checkpoints: Checkpoints) -> TrainingError:
    values = ", ".join(f"{name} {value}" for name, value in zip(HISTORY_COLUMNS, row, strict=True))
    kept = checkpoints.latest_step()
    return TrainingError(
        f"Training stopped at step {step:,}: a loss is not finite ({values}).\n"
        "The same settings would fail at the same step again. Lower the learning rate or choose another seed. "
        + (f"The last good checkpoint, after {kept:,} steps, is kept in {checkpoints.folder}." if kept else "")
    )
