"""An exponential moving average of the generator's weights, which smooths the oscillation of GAN training.

Yazici et al. 2019, arXiv:1806.04498; half-life in images and ramp-up as in Karras et al. 2020, arXiv:1912.04958.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gan.config import TrainConfig
from gan.models.backend import keras, tf
from gan.models.latents import GeneratorInputs
from gan.models.networks import Networks

AVERAGE_EVERY = 8
"""Steps between two updates of the average: a small part of its half-life. On a CPU, where the average is updated after
a call, it is a multiple of the steps per call."""


def ema_decay(config: TrainConfig, steps_done: int) -> float:
    """Return beta of the update after so many steps:  a <- beta a + (1 - beta) w,  beta = 0.5^(new images / half-life).

    The half-life is `recipe.average_half_life_images`, but at most the share `recipe.average_ramp_up` of the images
    seen so far. An update is due every AVERAGE_EVERY steps and after the last step; otherwise beta is 1, which leaves
    the average as it is.
    """
    new_steps = steps_done % AVERAGE_EVERY or AVERAGE_EVERY
    if new_steps < AVERAGE_EVERY and steps_done < config.steps:
        return 1.0
    recipe, size = config.recipe, config.batch_size
    half_life = min(recipe.average_half_life_images, recipe.average_ramp_up * steps_done * size)
    return float(0.5 ** (new_steps * size / half_life))


def update_ema(networks: Networks, beta: tf.Tensor) -> None:
    """Move the trainable weights of `networks.average` towards those of the generator; beta is a float32 scalar."""
    pairs = zip(networks.average.trainable_variables, networks.generator.trainable_variables, strict=True)
    for average, weight in pairs:
        average.assign(beta * average + (1 - beta) * weight)


def estimate_batch_norm_statistics(generator: keras.Model, inputs: GeneratorInputs) -> None:
    """Set the moving statistics of every BatchNormalization to the mean and variance of its inputs.

    Averaged weights need it: they give other activations than the weights whose statistics training has tracked. For
    each BatchNormalization, the layers before it process all inputs again, batch by batch, which needs little memory.
    """
    layers = [layer for layer in generator.layers if not isinstance(layer, keras.layers.InputLayer)]
    for index, layer in enumerate(layers):
        if isinstance(layer, keras.layers.BatchNormalization):
            mean, variance = _moments(layers[:index], inputs)
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(variance)


def _moments(layers: Sequence[keras.Layer], inputs: GeneratorInputs) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of each channel of the last layer's output over all images and positions; float64."""
    count, total, squares = 0, np.zeros(()), np.zeros(())
    for batch in inputs.batches():
        activations: Any = batch.arrays
        for layer in layers:
            activations = layer(activations, training=False)
        size, of_values, of_squares = _sums(activations, on_gpu="GPU" in activations.device)
        count, total, squares = count + size, total + of_values, squares + of_squares
    mean = np.asarray(total / count)
    return mean, squares / count - np.square(mean)


def _sums(activations: tf.Tensor, *, on_gpu: bool) -> tuple[int, np.ndarray, np.ndarray]:
    """Return the number of values of each channel, their sums, and the sums of their squares, float64 (num_channels,).

    A GPU adds them up itself, so that the activations need not be copied to the host. The results differ by rounding.
    """
    channels = activations.shape[-1]
    if on_gpu:
        values = tf.reshape(tf.cast(activations, tf.float64), (-1, channels))
        return values.shape[0], *(np.asarray(tf.reduce_sum(each, axis=0)) for each in (values, tf.square(values)))
    values = np.asarray(activations, np.float64).reshape(-1, channels)
    return len(values), values.sum(axis=0), np.square(values).sum(axis=0)
