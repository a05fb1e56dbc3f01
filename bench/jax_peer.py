"""The article's training in JAX: lax.scan over as many steps as our engine runs in a call, with donated buffers."""

import itertools
import os
from functools import partial
from typing import Any

os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # removed by gan; otherwise JAX takes most of a GPU's memory

import jax
import jax.numpy as jnp
import numpy as np

from bench import BATCH, LATENTS, STEPS_PER_CALL, Steps

RATE, BETA_1, BETA_2, EPSILON, MOMENTUM, BN_EPSILON = 2e-4, 0.5, 0.999, 1e-7, 0.8, 1e-3

Tree = Any


def jax_steps(images: np.ndarray, precision: str = "float32") -> Steps:
    """Return a function that trains like the article: the same networks, losses, updates and order.

    `precision` is that of matrix products on a GPU, where JAX's default is TF32.
    """
    jax.config.update("jax_default_matmul_precision", precision)
    real = jnp.asarray(images.reshape(len(images), -1))
    keys = jax.random.split(jax.random.key(0), 2)
    generator = _dense(keys[0], (LATENTS, 256, 512, 1024, 784))
    for layer, width in zip(generator, (256, 512, 1024), strict=False):
        layer |= {"gamma": jnp.ones(width), "beta": jnp.zeros(width)}
    statistics = [(jnp.zeros(width), jnp.ones(width)) for width in (256, 512, 1024)]
    discriminator = _dense(keys[1], (784, 512, 256, 1))
    state = (generator, statistics, discriminator, _slots(generator), _slots(discriminator))
    scan = partial(jax.jit, static_argnums=2, donate_argnums=0)(
        lambda state, start, num: jax.lax.scan(lambda s, i: _step(s, real, i), state, start + jnp.arange(num))
    )
    done = 0

    def run(num: int) -> None:
        nonlocal state, done
        last = done + num
        while done < last:
            steps = STEPS_PER_CALL if last - done >= STEPS_PER_CALL else 1
            state, losses = scan(state, done, steps)
            done += steps
            np.asarray(losses)

    return run


def _dense(key: jax.Array, widths: tuple[int, ...]) -> list[dict[str, jax.Array]]:
    initialize = jax.nn.initializers.glorot_uniform()
    pairs = list(itertools.pairwise(widths))
    keys = jax.random.split(key, len(pairs))
    return [{"w": initialize(k, pair), "b": jnp.zeros(pair[1])} for k, pair in zip(keys, pairs, strict=True)]


def _slots(weights: Tree) -> tuple[Tree, Tree, int]:
    return jax.tree.map(jnp.zeros_like, weights), jax.tree.map(jnp.zeros_like, weights), 0


def _adam(weights: Tree, gradients: Tree, slots: Tree) -> tuple[Tree, Tree]:
    first, second, count = slots
    count = count + 1
    rate = RATE * jnp.sqrt(1 - BETA_2**count) / (1 - BETA_1**count)
    first = jax.tree.map(lambda m, g: BETA_1 * m + (1 - BETA_1) * g, first, gradients)
    second = jax.tree.map(lambda v, g: BETA_2 * v + (1 - BETA_2) * g * g, second, gradients)
    weights = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + EPSILON), weights, first, second)
    return weights, (first, second, count)


def _generate(weights: Tree, statistics: Tree, latents: jax.Array, *, training: bool) -> tuple[jax.Array, Tree]:
    activations, moved = latents, []
    for layer, (mean, variance) in zip(weights, statistics, strict=False):
        activations = jax.nn.leaky_relu(activations @ layer["w"] + layer["b"], 0.2)
        if training:
            batch = activations.mean(0), activations.var(0)
            moved.append((MOMENTUM * mean + (1 - MOMENTUM) * batch[0], MOMENTUM * variance + (1 - MOMENTUM) * batch[1]))
            mean, variance = batch
        scale = layer["gamma"] * jax.lax.rsqrt(variance + BN_EPSILON)
        activations = (activations - mean) * scale + layer["beta"]
    return jnp.tanh(activations @ weights[-1]["w"] + weights[-1]["b"]), moved


def _discriminate(weights: Tree, images: jax.Array) -> jax.Array:
    activations = images
    for layer in weights[:-1]:
        activations = jax.nn.leaky_relu(activations @ layer["w"] + layer["b"], 0.2)
    return activations @ weights[-1]["w"] + weights[-1]["b"]


def _step(state: Tree, real: jax.Array, step: int) -> tuple[Tree, jax.Array]:
    generator, statistics, discriminator, g_slots, d_slots = state
    keys = jax.random.split(jax.random.fold_in(jax.random.key(1), step), 3)
    batch = real[jax.random.randint(keys[0], (BATCH,), 0, len(real))]
    fakes, _ = _generate(generator, statistics, jax.random.normal(keys[1], (BATCH, LATENTS)), training=False)
    losses = []
    for images, sign in ((batch, -1), (fakes, 1)):
        loss, gradients = jax.value_and_grad(
            lambda weights, images, sign: jax.nn.softplus(sign * _discriminate(weights, images)).mean()
        )(discriminator, images, sign)
        discriminator, d_slots = _adam(discriminator, gradients, d_slots)
        losses.append(loss)

    def generator_loss(weights: Tree, latents: jax.Array) -> tuple[jax.Array, Tree]:
        images, moved = _generate(weights, statistics, latents, training=True)
        return jax.nn.softplus(-_discriminate(discriminator, images)).mean(), moved

    (loss, moved), gradients = jax.value_and_grad(generator_loss, has_aux=True)(
        generator, jax.random.normal(keys[2], (BATCH, LATENTS))
    )
    generator, g_slots = _adam(generator, gradients, g_slots)
    return (generator, moved, discriminator, g_slots, d_slots), jnp.stack([*losses, loss])
