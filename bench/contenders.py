"""The contenders of the benchmark, each in its own process.

python -m bench.contenders NAME reads numbers of steps from standard input, one per line, trains for that many steps,
and prints the seconds they took.
"""

import sys
import time
from collections.abc import Callable

import numpy as np

from bench import BATCH, LATENTS, Steps, repeat


def load_images() -> np.ndarray:
    """Return noise of the size and range of the training split. The content does not affect the time of a step."""
    return np.random.default_rng(0).uniform(-1, 1, (60_000, 28, 28, 1)).astype(np.float32)


def ours() -> Steps:
    """Ours."""
    from gan.config import TrainConfig
    from gan.models.backend import use_device
    from gan.training.engine import build_engine, next_stop

    config = TrainConfig(steps=10**6, sample_every=10**6)
    engine = build_engine(load_images(), config, use_device("auto"))
    done = 0

    def run(num: int) -> None:
        nonlocal done
        last = done + num
        while done < last:
            stop = min(last, next_stop(done, config, engine.steps_per_call))
            engine.run_steps(done, stop)
            done = stop

    return run


def article() -> Steps:
    """The article's code on Keras 2."""
    from bench.article import Article

    images, rng, networks = load_images(), np.random.default_rng(0), Article()

    def step() -> None:
        real_images = images[rng.integers(0, len(images), BATCH)]
        latents, fresh_latents = rng.normal(0, 1, (2, BATCH, LATENTS))
        networks.iterate(real_images, latents, fresh_latents)

    return repeat(step)


def torch_eager() -> Steps:
    """PyTorch, eager, fused Adam."""
    from bench.torch_peer import torch_steps

    return torch_steps(load_images(), compiled=False)


def torch_compiled() -> Steps:
    """PyTorch, torch.compile, fused Adam."""
    from bench.torch_peer import torch_steps

    return torch_steps(load_images(), compiled=True)


def jax_jitted() -> Steps:
    """JAX, one jitted step a call."""
    from bench.jax_peer import jax_steps

    return jax_steps(load_images())


def contenders() -> dict[str, Callable[[], Steps]]:
    """Return all contenders by name, including the parts of the floor."""
    from bench import floor

    training = (ours, article, torch_eager, torch_compiled, jax_jitted)
    parts = (floor.numpy_products, floor.torch_products, floor.xla_products, floor.torch_adam, floor.xla_adam)
    return {contender.__name__: contender for contender in (*training, *parts)}


def main(name: str) -> None:
    """Run one contender until standard input ends."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # for the output of libraries
    run = contenders()[name]()
    for line in sys.stdin:
        started = time.perf_counter()
        run(int(line))
        print(time.perf_counter() - started, file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
