"""An exponential moving average of the generator's weights: where training circles around, the average is its centre.

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
"""Steps between two updates of the average: a small part of its half-life, a multiple of the steps run in one call."""

NUM_STATISTICS_LATENTS = 10_000

UpdateAverage = Callable[[int, int], None]
"""Moves the average towards the generator's weights; takes the steps done, and how many of them are new to it."""


def make_update_average(networks: Networks, recipe: Recipe, batch_size: int) -> UpdateAverage:
    """Compile the update of the average:  a <- beta a + (1 - beta) w,  beta = 0.5^(new images / half-life).

    Args:
        networks: Its average is changed in place by every call.
        recipe: The half-life is average_half_life_images, at most the share average_ramp_up of the images seen.
        batch_size: Images a step.
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


def estimate_statistics(generator: keras.Model, inputs: GeneratorInputs) -> None:
    """Set the moving statistics of every BatchNormalization to the mean and variance of what reaches it.

    Averaged weights give other activations than the weights whose statistics training has followed.

    Args:
        generator: A sequence of layers; its moving statistics are changed in place.
        inputs: Thousands; they go through in batches, again for each layer, so that wide maps take no more memory.
    """
    layers = [layer for layer in generator.layers if not isinstance(layer, keras.layers.InputLayer)]
    for index, layer in enumerate(layers):
        if isinstance(layer, keras.layers.BatchNormalization):
            mean, variance = _moments(layers[:index], inputs)
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(variance)


def _moments(layers: Sequence[keras.Layer], inputs: GeneratorInputs) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of what layers make of inputs, by channel: float64 (channels,), over all images and places."""
    count, total, squares = 0, 0.0, 0.0
    for batch in inputs.batches():
        activations: Any = batch.arrays
        for layer in layers:
            activations = layer(activations, training=False)
        values = np.asarray(activations, np.float64).reshape(-1, activations.shape[-1])
        count, total, squares = count + len(values), total + values.sum(axis=0), squares + np.square(values).sum(axis=0)
    mean = np.asarray(total / count)
    return mean, squares / count - np.square(mean)
