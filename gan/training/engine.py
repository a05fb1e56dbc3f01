"""How steps are run on some hardware: how many in one call of one XLA program, or split over several devices."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gan.config import TrainConfig
from gan.models.backend import Hardware, tf
from gan.models.networks import Networks
from gan.training.article import make_train_step
from gan.training.groups import group_bounds
from gan.training.parallel import build_replicated, make_parallel_step
from gan.training.relativistic import make_relativistic_step
from gan.training.step import TrainStep, is_compiled_by_xla

Advance = Callable[[int, int], np.ndarray]
"""Runs the steps from a first one up to a last one, excluded; gives their rows of the history, float32 (n, 3)."""

STEPS_A_CALL = {"CPU": 4, "GPU": 8}
"""Steps unrolled in one XLA program: on a CPU parts of one step fill the gaps of the next, a GPU waits less often."""

UNROLL_FROM_STEPS = 4000
"""Shorter trainings do without: the larger program takes 6 s more to compile, and saves 2 ms a step."""


@dataclass(frozen=True)
class Engine:
    """How steps are run on some hardware."""

    name: str  # for people
    steps_a_call: int
    advance: Advance


def prepare(
    images: np.ndarray, config: TrainConfig, hardware: Hardware, kinds: np.ndarray | None = None
) -> tuple[Networks, Engine]:
    """Networks with initial weights, and how they are trained on this hardware.

    Args:
        images: The training split, float32 (n, 28, 28, 1) in [-1, 1].
        config: Of the training.
        hardware: What `use_device` has chosen.
        kinds: int (n,), of the images (`gan.training.groups.find_kinds`); None for recipes without.
    """
    if hardware.strategy is not None:
        networks = build_replicated(config, hardware.strategy)
        step = make_parallel_step(networks, to_device(images), config, hardware.strategy)
        name = f"each batch split over {hardware.strategy.num_replicas_in_sync} devices"
        return networks, Engine(name, 1, make_advance(step, 1))
    num_groups = config.recipe.num_groups
    bounds = group_bounds(kinds, num_groups) if kinds is not None and num_groups else ()
    networks = Networks.build(config.recipe, config.seed, group_bounds=bounds)
    period = config.recipe.penalty_every
    step = _make_step(networks, to_device(images), config, kinds)
    if not is_compiled_by_xla(config.recipe):
        return networks, Engine("one TensorFlow graph a step", 1, make_advance(step, 1, period))
    steps_a_call = STEPS_A_CALL[hardware.kind] if config.steps >= UNROLL_FROM_STEPS else 1
    name = "one XLA program a step" if steps_a_call == 1 else f"one XLA program for {steps_a_call} steps"
    return networks, Engine(name, steps_a_call, make_advance(step, steps_a_call, period))


def _make_step(networks: Networks, images: tf.Tensor, config: TrainConfig, kinds: np.ndarray | None) -> TrainStep:
    """An iteration of the recipe's algorithm."""
    if config.recipe.algorithm == "article":
        return make_train_step(networks, images, config)
    return make_relativistic_step(networks, images, config, kinds)


def to_device(images: np.ndarray) -> tf.Tensor:
    """Images as a tensor that stays on the device; `tf.constant` alone would keep a second copy on the host."""
    return tf.identity(tf.constant(images))


def make_advance(train_step: TrainStep, steps_a_call: int, period: int = 1) -> Advance:
    """A function that runs a range of steps: in one program if there are `steps_a_call` of them, else one by one.

    Args:
        train_step: One iteration.
        steps_a_call: Steps in one program, which begin at a multiple of it; 1, or a multiple of the period.
        period: After so many steps the phases begin again.
    """

    @tf.function(jit_compile=True, autograph=False)
    def run_all(start: tf.Tensor) -> tf.Tensor:
        return tf.stack([train_step(start + index, index % period) for index in range(steps_a_call)])

    def advance(start: int, stop: int) -> np.ndarray:
        if steps_a_call > 1 and stop - start == steps_a_call:
            return np.asarray(run_all(tf.constant(start, tf.int64)))
        return np.stack([train_step(tf.constant(step, tf.int64), step % period) for step in range(start, stop)])

    return advance


def next_stop(start: int, config: TrainConfig, steps_a_call: int) -> int:
    """Where a call that begins at `start` ends: at a multiple of `steps_a_call`, or before at a snapshot or the end."""
    next_snapshot = next(step for step in config.snapshot_steps if step >= start)
    return min(start - start % steps_a_call + steps_a_call, next_snapshot + 1)
