"""The computations that every training step needs: its matrix products and its Adam updates.

On a CPU each is timed separately in several libraries, at its real shapes. On a GPU, where small operations wait for
their launch, the parts are the arithmetic at the rate of large products, and the memory traffic of Adam at the rate of
large copies. The sum of the (fastest) times is the floor, an estimate and no strict bound of the time of a step.
"""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench import BATCH, Steps, repeat

GENERATOR, DISCRIMINATOR = (100, 256, 512, 1024, 784), (784, 512, 256, 1)

LARGE_SIZE, LARGE_VALUES = 2048, 2**26
"""Rows of a large matrix, and values of a large vector: 256 MiB, more than the cache of a GPU."""

ADAM_VALUES = 7
"""Values that Adam reads (weight, gradient, two moments) or writes (weight, two moments) for each weight."""

Product = tuple[int, int, int]
"""Rows, inner dimension, columns."""


def products() -> list[Product]:
    """Return the shapes of the matrix products of one iteration of the article (2.40 GFLOP)."""
    g, d = _layers(GENERATOR), _layers(DISCRIMINATOR)
    generate, judge = [_forward(*layer) for layer in g], [_forward(*layer) for layer in d]
    d_update = [
        *judge,
        *(_for_weights(*layer) for layer in d),
        *(_for_inputs(*layer) for layer in d[1:]),
    ]
    g_update = [
        *generate,
        *judge,
        *(_for_inputs(*layer) for layer in d),
        *(_for_weights(*layer) for layer in g),
        *(_for_inputs(*layer) for layer in g[1:]),
    ]
    return [*generate, *d_update, *d_update, *g_update]


def updates() -> list[int]:
    """Return the number of trainable weights in each of the three Adam updates of an iteration."""
    g, d = (sum(i * o + o for i, o in _layers(widths)) for widths in (GENERATOR, DISCRIMINATOR))
    return [d, d, g + 2 * sum(GENERATOR[1:-1])]  # including scale and offset of BatchNormalization


def numpy_products() -> Steps:
    """Matrix products in NumPy."""
    rng = np.random.default_rng(0)
    operands = [
        (rng.standard_normal((m, k), np.float32), rng.standard_normal((k, n), np.float32), np.empty((m, n), np.float32))
        for m, k, n in products()
    ]

    return repeat(lambda: _multiply(np.matmul, operands))


def torch_products() -> Steps:
    """Matrix products in PyTorch."""
    import torch

    from bench.torch_peer import DEVICE, repeat_on_device

    torch.set_default_device(DEVICE)
    operands = [(torch.randn(m, k), torch.randn(k, n), torch.empty(m, n)) for m, k, n in products()]
    return repeat_on_device(lambda: _multiply(torch.mm, operands))


def xla_products() -> Steps:
    """Matrix products in XLA."""
    from gan.models.backend import tf, use_device

    use_device("auto")  # in float32, as ours
    operands = [(tf.ones((m, k)), tf.ones((k, n))) for m, k, n in products()]

    @tf.function(jit_compile=True, autograph=False)
    def all_products() -> list[tf.Tensor]:
        return [tf.matmul(a, b) for a, b in operands]

    return repeat(lambda: all_products()[-1].numpy())


def torch_adam() -> Steps:
    """Adam in PyTorch."""
    import torch

    from bench.torch_peer import DEVICE, repeat_on_device

    torch.set_default_device(DEVICE)
    optimizers = []
    for size in updates():
        weight = torch.zeros(size, requires_grad=True)
        weight.grad = torch.ones(size)
        optimizers.append(torch.optim.Adam([weight], fused=True, capturable=DEVICE == "cuda"))

    def step() -> None:
        for optimizer in optimizers:
            optimizer.step()

    return repeat_on_device(step)


def xla_adam() -> Steps:
    """Adam in XLA."""
    from gan.models.backend import keras, tf, use_device

    use_device("auto")
    parts = []
    for size in updates():
        weight, optimizer = keras.Variable(np.zeros(size, np.float32)), keras.optimizers.Adam()
        optimizer.build([weight])
        parts.append((optimizer, weight, tf.Variable(tf.ones(size))))

    @tf.function(jit_compile=True, autograph=False)
    def update() -> tf.Tensor:
        for optimizer, weight, gradient in parts:
            optimizer.apply([gradient], [weight])
        return parts[0][0].iterations

    return repeat(lambda: np.asarray(update()))


def peak_products() -> Steps:
    """The products' arithmetic, at the rate of large ones in XLA."""
    from gan.models.backend import tf, use_device

    use_device("auto")  # in float32, as the article
    large = tf.eye(LARGE_SIZE)  # keeps the values finite
    per_step = sum(m * k * n for m, k, n in products()) / LARGE_SIZE**3
    return _in_loop(lambda values: tf.matmul(values, large), large, per_step)


def peak_copies() -> Steps:
    """Adam's memory traffic, at the rate of large copies in XLA."""
    from gan.models.backend import tf, use_device

    use_device("auto")
    per_step = ADAM_VALUES * sum(updates()) / (2 * LARGE_VALUES)  # each value is read and written
    return _in_loop(lambda values: values + 1, tf.zeros(LARGE_VALUES), per_step)


def _in_loop(operation: Callable[[Any], Any], values: Any, per_step: float) -> Steps:
    """Return a function that runs an operation `per_step` times a step, in one XLA program."""
    from gan.models.backend import tf

    @tf.function(jit_compile=True, autograph=False)
    def run_loop(times: tf.Tensor) -> tf.Tensor:
        return tf.while_loop(
            lambda done, _: done < times, lambda done, each: (done + 1, operation(each)), (tf.constant(0), values)
        )[1][0]

    def run(num: int) -> None:
        np.asarray(run_loop(tf.constant(max(1, round(num * per_step)))))  # waits for the result

    return run


def _multiply(multiply: Callable[..., Any], operands: list[tuple[Any, Any, Any]]) -> None:
    for a, b, out in operands:
        multiply(a, b, out=out)


def _layers(widths: tuple[int, ...]) -> list[tuple[int, int]]:
    return list(itertools.pairwise(widths))


def _forward(inputs: int, outputs: int) -> Product:
    return BATCH, inputs, outputs


def _for_weights(inputs: int, outputs: int) -> Product:
    return inputs, BATCH, outputs


def _for_inputs(inputs: int, outputs: int) -> Product:
    return BATCH, outputs, inputs
