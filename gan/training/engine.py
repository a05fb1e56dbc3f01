"""Execution of training steps: few steps a call on a CPU, hundreds on a GPU.

On a CPU a call runs one step, or several unrolled in one XLA program. On a GPU it is a loop on the device: the program
contains the loop, the random draws and the average, so the device does not wait for Python between steps.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gan.config import TrainConfig
from gan.models.backend import Hardware, keras, tf, use_precision
from gan.models.networks import Networks
from gan.training.article import make_train_step
from gan.training.averaging import ema_decay, update_ema
from gan.training.groups import group_bounds
from gan.training.guards import CHECK_EVERY
from gan.training.relativistic import make_relativistic_step
from gan.training.train_step import Infer, TrainStep

RunSteps = Callable[[int, int], np.ndarray]
"""Runs the steps start <= step < stop, and updates the averaged generator where an update is due.

Returns the steps' rows of the history, float32 (stop - start, 3).
"""

STEPS_PER_CALL = 4
"""Steps unrolled in one XLA program on a CPU, where steps overlap and leave no core idle."""

UNROLL_FROM_STEPS = 4000
"""Shorter trainings are not unrolled: the larger program takes 6 s more to compile and saves 2 ms a step."""

STEPS_PER_LOOP = CHECK_EVERY
"""Most steps in a call with a loop on the device: every check for collapse needs the host."""


@dataclass(frozen=True)
class Engine:
    """Networks, the device that they are on, and the compiled function that trains them."""

    networks: Networks
    device: str  # human-readable
    name: str  # human-readable; part of a checkpoint's identity: a change makes checkpoints useless
    steps_per_call: int  # calls end at multiples of it, and at snapshots
    run_steps: RunSteps
    infer: Infer


def build_engine(images: np.ndarray, config: TrainConfig, hardware: Hardware, conditions: np.ndarray | None) -> Engine:
    """Build networks with initial weights, and compile their training for this hardware.

    Args:
        images: The training split, float32 (n, 28, 28, 1) in [-1, 1].
        config: Recipe, steps, batch size, seed.
        hardware: The result of `use_device`.
        conditions: Class or group of each image, int (n,); None for a recipe without conditioning.
    """
    # tf.constant alone would keep a second copy of the images on the host
    on_device, recipe = tf.identity(tf.constant(images)), config.recipe
    precision = use_precision(hardware, recipe.gpu_precision)
    bounds = group_bounds(conditions, recipe.num_groups) if conditions is not None and recipe.num_groups else ()
    networks = Networks.build(recipe, config.seed, group_bounds=bounds)
    if recipe.algorithm == "article":
        step = make_train_step(networks, on_device, config)
    else:
        step = make_relativistic_step(networks, on_device, config, conditions)
    if hardware.device_type == "GPU":
        run_steps = make_device_loop(step, networks, config)
        name = f"a loop on the device, {precision}"
        return Engine(networks, hardware.name, name, STEPS_PER_LOOP, run_steps, tf.function(infer, autograph=False))
    steps_per_call, name = 1, "one XLA program a step" if recipe.uses_xla else "one TensorFlow graph a step"
    if recipe.uses_xla and config.steps >= UNROLL_FROM_STEPS:
        steps_per_call, name = STEPS_PER_CALL, f"one XLA program for {STEPS_PER_CALL} steps"
    run_steps = with_average(make_run_steps(step, steps_per_call, recipe.penalty_every), networks, config)
    return Engine(networks, hardware.name, name, steps_per_call, run_steps, infer)


def infer(generator: keras.Model, inputs: np.ndarray | list[np.ndarray]) -> tf.Tensor:
    """Run a generator in inference mode (`Infer`), layer by layer.

    On a GPU, which would wait for Python between the layers, the engine compiles this function to a TensorFlow graph.
    """
    return generator(inputs, training=False)


def make_device_loop(train_step: TrainStep, networks: Networks, config: TrainConfig) -> RunSteps:
    """Return a function that runs up to STEPS_PER_LOOP steps, and updates the average, in one XLA program.

    The number of steps is an input of the program, so one program serves all calls. Do not use `start` or `stop` where
    XLA needs a constant, such as the bounds of a slice: each call would then compile the program again.
    """
    period = config.recipe.penalty_every

    @tf.function(jit_compile=True, autograph=False)
    def run_loop(start: tf.Tensor, stop: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
        def run_step(step: tf.Tensor, rows: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            if period == 1:
                row = train_step(step, True)
            else:
                row = tf.cond(step % period == 0, lambda: train_step(step, True), lambda: train_step(step, False))
            update_ema(networks, tf.gather(factors, step - start))
            return step + 1, rows.write(tf.cast(step - start, tf.int32), row)

        rows = tf.TensorArray(tf.float32, size=STEPS_PER_LOOP, element_shape=(3,))
        return tf.while_loop(lambda step, _: step < stop, run_step, (start, rows))[1].stack()

    def run_steps(start: int, stop: int) -> np.ndarray:
        factors = np.ones(STEPS_PER_LOOP, np.float32)
        factors[: stop - start] = [ema_decay(config, step + 1) for step in range(start, stop)]
        rows = run_loop(tf.constant(start, tf.int64), tf.constant(stop, tf.int64), tf.constant(factors))
        return np.asarray(rows)[: stop - start]

    return run_steps


def make_run_steps(train_step: TrainStep, steps_per_call: int, period: int) -> RunSteps:
    """Return a function that runs `steps_per_call` steps in one program, and any other number of steps one by one.

    It does not update the average. Callers start a full call at a multiple of `steps_per_call`. `period` is the number
    of steps from one penalty to the next. `steps_per_call` is 1 or a multiple of it.
    """

    @tf.function(jit_compile=True, autograph=False)
    def run_unrolled(start: tf.Tensor) -> tf.Tensor:
        return tf.stack([train_step(start + index, index % period == 0) for index in range(steps_per_call)])

    def run_steps(start: int, stop: int) -> np.ndarray:
        if steps_per_call > 1 and stop - start == steps_per_call:
            return np.asarray(run_unrolled(tf.constant(start, tf.int64)))
        return np.stack([train_step(tf.constant(step, tf.int64), step % period == 0) for step in range(start, stop)])

    return run_steps


def with_average(run_steps: RunSteps, networks: Networks, config: TrainConfig) -> RunSteps:
    """Return `run_steps` with an update of the average after each call, if one is due.

    No update may be due within a call, only at its end.
    """
    update = tf.function(lambda beta: update_ema(networks, beta), autograph=False)

    def run_steps_and_average(start: int, stop: int) -> np.ndarray:
        rows = run_steps(start, stop)
        if (beta := ema_decay(config, stop)) < 1:
            update(tf.constant(beta))
        return rows

    return run_steps_and_average


def next_stop(start: int, config: TrainConfig, steps_per_call: int) -> int:
    """Return where a call that starts at `start` stops: at a snapshot or the end, else at a multiple of a call."""
    next_snapshot = next(step for step in config.snapshot_steps if step >= start)
    return min(start - start % steps_per_call + steps_per_call, next_snapshot + 1)
