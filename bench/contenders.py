"""The contenders of the benchmark, each in its own process.

python -m bench.contenders NAME prints its library and device, then reads numbers of steps from standard input, one per
line, trains for that many steps, and prints the seconds they took.
"""

import json
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from bench import BATCH, LATENTS, ON_GPU, Steps, floor, repeat
from gan.recipes import RECIPES

RECIPE_PREFIX = "ours, "
"""Beginning of the names of contenders that train another recipe than the article."""


def load_images() -> np.ndarray:
    """Return noise of the size and range of the training split. The content does not affect the time of a step."""
    return np.random.default_rng(0).uniform(-1, 1, (60_000, 28, 28, 1)).astype(np.float32)


def ours(recipe: str = "article") -> Steps:
    """Ours."""
    from gan.config import TrainConfig
    from gan.models.backend import use_device
    from gan.training.engine import build_engine, next_stop

    card = RECIPES[recipe]
    config = TrainConfig(recipe=card, batch_size=card.batch_size, steps=10**6, sample_every=10**6)
    images, rng = load_images(), np.random.default_rng(0)
    conditions = rng.integers(0, card.num_conditions, len(images)) if card.num_conditions else None
    engine = build_engine(images, config, use_device("auto"), conditions)
    done = 0

    def run(num: int) -> None:
        nonlocal done
        last = done + num
        while done < last:
            stop = min(last, next_stop(done, config, engine.steps_per_call))
            engine.run_steps(done, stop)
            done = stop

    return run


def our_recipe(recipe: str) -> Callable[[], Steps]:
    """Return the contender of another recipe than the article."""
    make = partial(ours, recipe)
    make.__doc__ = f"Ours, {recipe}."
    return make


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

    return torch_steps(load_images())


def torch_compiled() -> Steps:
    """PyTorch, torch.compile, fused Adam."""
    from bench.torch_peer import torch_steps

    return torch_steps(load_images(), compiled=True)


def torch_graph() -> Steps:
    """PyTorch, one CUDA graph a step, fused Adam."""
    from bench.torch_peer import torch_graph_steps

    return torch_graph_steps(load_images())


def jax_scan(precision: str = "float32") -> Steps:
    """JAX, lax.scan."""
    from bench.jax_peer import jax_steps

    return jax_steps(load_images(), precision)


def jax_scan_tf32() -> Steps:
    """JAX, lax.scan, TF32."""
    return jax_scan("tensorfloat32")


def contenders() -> dict[str, Callable[[], Steps]]:
    """Return all contenders by name, including the parts of the floor; on a GPU all recipes, and peers for a GPU."""
    products = floor.torch_products, floor.xla_products
    if not ON_GPU:
        training: list[Callable[..., Steps]] = [ours, article, torch_eager, torch_compiled, jax_scan]
        parts = floor.numpy_products, *products, floor.torch_adam, floor.xla_adam
        return {contender.__name__: contender for contender in (*training, *parts)}
    training = [ours, torch_graph, jax_scan, jax_scan_tf32]
    parts_on_gpu = *products, floor.peak_products, floor.peak_copies
    recipes = {RECIPE_PREFIX + name: our_recipe(name) for name in RECIPES if name != "article"}
    return {contender.__name__: contender for contender in (*training, *parts_on_gpu)} | recipes


def library_and_device() -> tuple[str, str]:
    """Return the library that this process trains with, with its version, and the device that it uses."""
    if torch := sys.modules.get("torch"):
        return f"PyTorch {torch.__version__}", torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    if jax := sys.modules.get("jax"):
        device = jax.devices()[0]
        return f"JAX {jax.__version__}", "CPU" if device.platform == "cpu" else str(device.device_kind)
    if tf := sys.modules.get("tensorflow"):
        gpus = tf.config.get_visible_devices("GPU")
        details = tf.config.experimental.get_device_details(gpus[0]) if gpus else {}
        return f"TensorFlow {tf.__version__}", str(details.get("device_name", "GPU" if gpus else "CPU"))
    return f"NumPy {np.__version__}", "CPU"


def main(name: str) -> None:
    """Run one contender until standard input ends."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # for the output of libraries
    run = contenders()[name]()
    print(json.dumps(library_and_device()), file=answers, flush=True)
    for line in sys.stdin:
        started = time.perf_counter()
        run(int(line))
        print(time.perf_counter() - started, file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
