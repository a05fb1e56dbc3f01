"""An exponential moving average of the generator's weights, which smooths the oscillation of GAN training.

Yazici et al. 2019, arXiv:1806.04498; half-life in images and ramp-up as in Karras et al. 2020, arXiv:1912.04958.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gan.models.backend import keras, tf
from gan.models.latents import GeneratorInputs
from gan.models.networks import Networks
from gan.recipes import Recipe

AVERAGE_EVERY = 8
"""Steps between two updates of the average: a small part of its half-life, and a multiple of the steps per call."""

NUM_STATISTICS_LATENTS = 10_000

UpdateAverage = Callable[[int, int], None]
"""Updates the average; takes the number of steps done, and the number of steps since the last update."""


def make_update_average(networks: Networks, recipe: Recipe, batch_size: int) -> UpdateAverage:
    """Compile the update of the average:  a <- beta a + (1 - beta) w,  beta = 0.5^(new images / half-life).

    The half-life is `recipe.average_half_life_images`, but at most the share `recipe.average_ramp_up` of the images
    seen so far. Every call changes `networks.average` in place.
    """
    pairs = list(zip(networks.average.trainable_variables, networks.generator.trainable_variables, strict=True))

    @tf.function(autograph=False)
    def move(beta: tf.Tensor) -> None:
        for average, weight in pairs:
            average.assign(beta * average + (1 - beta) * weight)

    def update_average(steps_done: int, new_steps: int) -> None:
        half_life = min(recipe.average_half_life_images, recipe.average_ramp_up * steps_done * batch_size)
        move(tf.constant(0.5 ** (new_steps * batch_size / half_life), pairs[0][0].dtype))

    return update_average


def estimate_batch_norm_statistics(generator: keras.Model, inputs: GeneratorInputs) -> None:
    """Set the moving statistics of every BatchNormalization to the mean and variance of its inputs.

    Averaged weights need it: they give other activations than the weights whose statistics training has tracked.

    Args:
        generator: A generator, a sequence of layers; its moving statistics are changed in place.
        inputs: Thousands of inputs. Each layer processes all batches again, which limits the memory needed.
    """
    layers = [layer for layer in generator.layers if not isinstance(layer, keras.layers.InputLayer)]
    for index, layer in enumerate(layers):
        if isinstance(layer, keras.layers.BatchNormalization):
            mean, variance = _moments(layers[:index], inputs)
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(variance)


def _moments(layers: Sequence[keras.Layer], inputs: GeneratorInputs) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of each channel of the last layer's output over all images and positions; float64."""
    count, total, squares = 0, 0.0, 0.0
    for batch in inputs.batches():
        activations: Any = batch.arrays
        for layer in layers:
            activations = layer(activations, training=False)
        values = np.asarray(activations, np.float64).reshape(-1, activations.shape[-1])
        count, total, squares = count + len(values), total + values.sum(axis=0), squares + np.square(values).sum(axis=0)
    mean = np.asarray(total / count)
    return mean, squares / count - np.square(mean)
