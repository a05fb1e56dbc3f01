"""Event files for TensorBoard: losses, accuracy, gradient norms, and the grid of every snapshot."""

from pathlib import Path

import numpy as np

from gan.config import TrainConfig
from gan.models.backend import tf
from gan.models.networks import Networks
from gan.report.rendering import draw_grid
from gan.training.draws import Draw, draw_indices, draw_latents, draw_latents_by_xla
from gan.training.history import HISTORY_COLUMNS
from gan.training.loop import Callback
from gan.training.losses import fake_loss, generator_loss, real_loss
from gan.training.relativistic import both_gradients, make_ask
from gan.training.step import is_compiled_by_xla

WRITE_EVERY = 10
NUM_SHOWN = 64

GradientPair = tuple[list[tf.Tensor], list[tf.Tensor]]
"""Of the generator's loss by its weights, and of the discriminator's by its own."""


class EventFiles(Callback):
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

    def on_start(self, kinds: np.ndarray | None) -> None:
        """Keep what the networks are told."""
        self._ask = make_ask(self._config.recipe, kinds)

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
            for name, gradients in zip(
                ("generator", "discriminator"), self._gradients(networks, step + 1), strict=True
            ):
                norm = tf.linalg.global_norm(gradients)
                if np.isfinite(norm):  # squares of large gradients may overflow; a curve has a gap there
                    tf.summary.scalar(f"gradient_norm/{name}", norm)
        self._writer.flush()

    def _gradients(self, networks: Networks, step: int) -> GradientPair:
        """Of each network's loss on the batch and the latents of a step; nothing in the networks changes."""
        config, at = self._config, tf.constant(step, tf.int64)
        recipe, shape = config.recipe, (config.batch_size, config.recipe.latent_dim)
        rows = draw_indices(config.seed, at, config.batch_size, len(self._images)).numpy()
        real_images = tf.constant(self._images[rows])
        draw = draw_latents_by_xla if is_compiled_by_xla(recipe) else draw_latents
        latents = draw(config.seed, at, Draw.GENERATOR_LATENTS, shape)
        statistics = [variable.numpy() for variable in networks.generator.non_trainable_variables]
        if recipe.algorithm == "article":
            fixed_latents = draw_latents_by_xla(config.seed, at, Draw.DISCRIMINATOR_LATENTS, shape)
            found = _article_gradients(networks, real_images, fixed_latents, latents)
        else:
            inputs, told = self._ask(tf.constant(rows), latents)
            by_generator, seen = both_gradients(networks, real_images, inputs, recipe.gradient_penalty, told)
            found = by_generator, seen.by_weight
        for variable, value in zip(networks.generator.non_trainable_variables, statistics, strict=True):
            variable.assign(value)
        return found


def _article_gradients(
    networks: Networks, real_images: tf.Tensor, d_latents: tf.Tensor, g_latents: tf.Tensor
) -> GradientPair:
    """Both of the same weights; within a step the discriminator has moved when the generator's gradient is taken."""
    generator, discriminator = networks.generator, networks.discriminator
    fake_images = generator(d_latents, training=False)
    with tf.GradientTape() as tape:
        d_loss = real_loss(discriminator(real_images)) + fake_loss(discriminator(fake_images))
    d_gradients = tape.gradient(d_loss, discriminator.trainable_variables)
    with tf.GradientTape() as tape:
        g_loss = generator_loss(discriminator(generator(g_latents, training=True)))
    return tape.gradient(g_loss, generator.trainable_variables), d_gradients
