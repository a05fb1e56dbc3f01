"""Event files for TensorBoard: losses, accuracy, gradient norms, and the grid of every snapshot."""

from pathlib import Path

import numpy as np

from gan.backend import tf
from gan.config import TrainConfig
from gan.history import HISTORY_COLUMNS
from gan.losses import fake_loss, generator_loss, real_loss
from gan.networks import Networks
from gan.rendering import draw_grid
from gan.trainer import Watcher
from gan.training import Draw, draw_indices, draw_latents_by_xla

WRITE_EVERY = 10
NUM_SHOWN = 64


class EventFiles(Watcher):
    """Watches a training for TensorBoard. Nothing of it changes the training, to the bit."""

    def __init__(self, folder: Path, images: np.ndarray, config: TrainConfig) -> None:
        """Take a folder; a training that goes on adds a file to those of before.

        Args:
            folder: Of this training alone.
            images: The training split, float32 (n, 28, 28, 1).
            config: Of the training.
        """
        self._writer = tf.summary.create_file_writer(str(folder))
        self._images, self._config = images, config
        self._last_written = 0

    def on_step(self, steps_done: int, row: np.ndarray) -> None:
        """Losses and accuracy, every WRITE_EVERY steps or at the end of the call that passes them."""
        if steps_done - self._last_written >= WRITE_EVERY:
            self._last_written = steps_done
            with self._writer.as_default(step=steps_done):
                for name, value in zip(HISTORY_COLUMNS, row, strict=True):
                    tf.summary.scalar(f"training/{name}", value)

    def on_snapshot(self, step: int, pixels: np.ndarray, networks: Networks) -> None:
        """The grid, and the norms of the gradients on the batch that is next."""
        grid = np.asarray(draw_grid(pixels[:NUM_SHOWN], 8, scale=3))
        with self._writer.as_default(step=step + 1):
            tf.summary.image("fixed latents", grid[np.newaxis, ..., np.newaxis])
            for name, norm in gradient_norms(networks, self._images, self._config, step + 1).items():
                tf.summary.scalar(f"gradient_norm/{name}", norm)
        self._writer.flush()


def gradient_norms(networks: Networks, images: np.ndarray, config: TrainConfig, step: int) -> dict[str, tf.Tensor]:
    """Euclidean norms of the gradients of each network's loss on the batch and the latents of a step.

    Neither weights nor moving statistics change. (Within a step the discriminator has moved when the generator's
    gradient is taken; here both are of the same weights.)
    """
    generator, discriminator = networks.generator, networks.discriminator
    at, shape = tf.constant(step, tf.int64), (config.batch_size, config.recipe.latent_dim)
    real_images = tf.constant(images[draw_indices(config.seed, at, config.batch_size, len(images)).numpy()])
    fake_images = generator(draw_latents_by_xla(config.seed, at, Draw.DISCRIMINATOR_LATENTS, shape), training=False)
    with tf.GradientTape() as tape:
        loss = real_loss(discriminator(real_images)) + fake_loss(discriminator(fake_images))
    d_gradients = tape.gradient(loss, discriminator.trainable_variables)
    latents = draw_latents_by_xla(config.seed, at, Draw.GENERATOR_LATENTS, shape)
    with tf.GradientTape() as tape:
        fakes, _ = generator.stateless_call(
            generator.trainable_variables, generator.non_trainable_variables, latents, training=True
        )
        loss = generator_loss(discriminator(fakes))
    g_gradients = tape.gradient(loss, generator.trainable_variables)
    return {"discriminator": tf.linalg.global_norm(d_gradients), "generator": tf.linalg.global_norm(g_gradients)}
