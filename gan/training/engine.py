"""Execution of training steps: several steps in one XLA program, or one TensorFlow graph a step."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gan.config import TrainConfig
from gan.models.backend import Hardware, tf
from gan.models.networks import Networks
from gan.training.article import TrainStep, make_train_step
from gan.training.groups import group_bounds
from gan.training.relativistic import make_relativistic_step

RunSteps = Callable[[int, int], np.ndarray]
"""Runs the steps start <= step < stop; returns their rows of the history, float32 (stop - start, 3)."""

STEPS_PER_CALL = {"CPU": 4, "GPU": 8}
"""Steps unrolled in one XLA program. On a CPU, steps overlap and leave no core idle; a GPU waits for Python less."""

UNROLL_FROM_STEPS = 4000
"""Shorter trainings are not unrolled: the larger program takes 6 s more to compile and saves 2 ms a step."""


@dataclass(frozen=True)
class Engine:
    """Networks, the device that they are on, and the compiled function that trains them."""

    networks: Networks
    device: str  # human-readable
    name: str  # human-readable, such as "one XLA program a step"
    steps_per_call: int
    run_steps: RunSteps


def build_engine(
    images: np.ndarray, config: TrainConfig, hardware: Hardware, conditions: np.ndarray | None = None
) -> Engine:
    """Build networks with initial weights, and compile their training for this hardware.

    Args:
        images: The training split, float32 (n, 28, 28, 1) in [-1, 1].
        config: Recipe, steps, batch size, seed.
        hardware: The result of `use_device`.
        conditions: Class or group of each image, int (n,); None for a recipe without conditioning.
    """
    # tf.constant alone would keep a second copy of the images on the host
    on_device, recipe = tf.identity(tf.constant(images)), config.recipe
    bounds = group_bounds(conditions, recipe.num_groups) if conditions is not None and recipe.num_groups else ()
    networks = Networks.build(recipe, config.seed, group_bounds=bounds)
    if recipe.algorithm == "article":
        step = make_train_step(networks, on_device, config)
    else:
        step = make_relativistic_step(networks, on_device, config, conditions)
    steps_per_call, name = 1, "one XLA program a step" if recipe.uses_xla else "one TensorFlow graph a step"
    if recipe.uses_xla and config.steps >= UNROLL_FROM_STEPS:
        steps_per_call = STEPS_PER_CALL[hardware.device_type]
        name = f"one XLA program for {steps_per_call} steps"
    run_steps = make_run_steps(step, steps_per_call, recipe.penalty_every)
    return Engine(networks, hardware.name, name, steps_per_call, run_steps)


def make_run_steps(train_step: TrainStep, steps_per_call: int, period: int = 1) -> RunSteps:
    """Return a function that runs `steps_per_call` steps in one program, and any other number of steps one by one.

    Args:
        train_step: One iteration.
        steps_per_call: Steps in one program, which starts at a multiple of it; 1, or a multiple of the period.
        period: Number of phases of a step.
    """

    @tf.function(jit_compile=True, autograph=False)
    def run_unrolled(start: tf.Tensor) -> tf.Tensor:
        return tf.stack([train_step(start + index, index % period) for index in range(steps_per_call)])

    def run_steps(start: int, stop: int) -> np.ndarray:
        if steps_per_call > 1 and stop - start == steps_per_call:
            return np.asarray(run_unrolled(tf.constant(start, tf.int64)))
        return np.stack([train_step(tf.constant(step, tf.int64), step % period) for step in range(start, stop)])

    return run_steps


def next_stop(start: int, config: TrainConfig, steps_per_call: int) -> int:
    """Return where a call that starts at `start` stops: at a snapshot or the end, else at a multiple of a call."""
    next_snapshot = next(step for step in config.snapshot_steps if step >= start)
    return min(start - start % steps_per_call + steps_per_call, next_snapshot + 1)
