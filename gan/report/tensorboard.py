"""Event files for TensorBoard: losses, accuracy, gradient norms, and the grid of each snapshot."""

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
from gan.training.relativistic import both_gradients, make_conditioner

WRITE_EVERY, NUM_SHOWN = 10, 64

GradientPair = tuple[list[tf.Tensor], list[tf.Tensor]]
"""Gradients of each network's loss by its own weights: generator, discriminator."""


class EventFiles(Callback):
    """Writes the events of a training for TensorBoard; the result of the training stays the same, bit by bit."""

    def __init__(self, folder: Path, images: np.ndarray, config: TrainConfig) -> None:
        """Open a new event file in a folder of this training only; `images` is the training split, as float32."""
        self._writer = tf.summary.create_file_writer(str(folder))
        self._images, self._config = images, config
        self._last_written = 0
        self._on_gpu = bool(tf.config.get_visible_devices("GPU"))  # there, XLA draws the latents of every recipe

    def on_start(self, conditions: np.ndarray | None) -> None:
        """Keep the conditions of the training images."""
        self._condition = make_conditioner(self._config.recipe, conditions)

    def on_step(self, steps_done: int, row: np.ndarray) -> None:
        """Write losses and accuracy if WRITE_EVERY steps or more were done since the last time."""
        if steps_done - self._last_written >= WRITE_EVERY:
            self._last_written = steps_done
            with self._writer.as_default(step=steps_done):
                for name, value in zip(HISTORY_COLUMNS, row, strict=True):
                    tf.summary.scalar(f"training/{name}", value)

    def on_snapshot(self, step: int, pixels: np.ndarray, networks: Networks) -> None:
        """Write the grid, and the norms of the gradients on the next batch."""
        grid = np.asarray(draw_grid(pixels[:NUM_SHOWN], 8, scale=3))
        with self._writer.as_default(step=step + 1):
            tf.summary.image("fixed latents", grid[np.newaxis, ..., np.newaxis])
            gradients = self._gradients(networks, step + 1)
            for name, by_weight in zip(("generator", "discriminator"), gradients, strict=True):
                norm = tf.linalg.global_norm(by_weight)
                if np.isfinite(norm):  # squares of large gradients may overflow; the curve has a gap there
                    tf.summary.scalar(f"gradient_norm/{name}", norm)
        self._writer.flush()

    def _gradients(self, networks: Networks, step: int) -> GradientPair:
        """Compute the gradients on the batch and latents of a step, then restore the generator's moving statistics."""
        config, at = self._config, tf.constant(step, tf.int64)
        recipe, shape = config.recipe, (config.batch_size, config.recipe.latent_dim)
        rows = draw_indices(config.seed, at, config.batch_size, len(self._images)).numpy()
        real_images = tf.constant(self._images[rows])
        draw = draw_latents_by_xla if recipe.uses_xla or self._on_gpu else draw_latents
        latents = draw(config.seed, at, Draw.GENERATOR_LATENTS, shape)
        statistics = [variable.numpy() for variable in networks.generator.non_trainable_variables]
        if recipe.algorithm == "article":
            d_latents = draw_latents_by_xla(config.seed, at, Draw.DISCRIMINATOR_LATENTS, shape)
            found = _article_gradients(networks, real_images, d_latents, latents)
        else:
            inputs, conditions = self._condition(tf.constant(rows), latents)
            g_gradients, d_pass = both_gradients(networks, real_images, inputs, recipe.gradient_penalty, conditions)
            found = g_gradients, d_pass.by_weight
        for variable, value in zip(networks.generator.non_trainable_variables, statistics, strict=True):
            variable.assign(value)
        return found


def _article_gradients(
    networks: Networks, real_images: tf.Tensor, d_latents: tf.Tensor, g_latents: tf.Tensor
) -> GradientPair:
    """Compute both gradients at the same weights, although a step updates the discriminator first."""
    generator, discriminator = networks.generator, networks.discriminator
    fake_images = generator(d_latents, training=False)
    with tf.GradientTape() as tape:
        d_loss = real_loss(discriminator(real_images)) + fake_loss(discriminator(fake_images))
    d_gradients = tape.gradient(d_loss, discriminator.trainable_variables)
    with tf.GradientTape() as tape:
        g_loss = generator_loss(discriminator(generator(g_latents, training=True)))
    return tape.gradient(g_loss, generator.trainable_variables), d_gradients
