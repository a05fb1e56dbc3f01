"""Trainings of tiny networks, and comparisons of their results, for tests."""

import numpy as np
from narrowing import not_none
from recording_callback import OnStep

import gan.training.loop
from gan.models.backend import Hardware
from gan.training.checkpoints import Checkpoints

CPU, GPU = Hardware("CPU", "CPU"), Hardware("GPU", "a GPU's engine on a CPU", has_tf32=True)


def weights(network) -> list[np.ndarray]:
    return [variable.numpy() for variable in network.variables]


def same(before: list[np.ndarray], after: list[np.ndarray]) -> list[bool]:
    return [np.array_equal(a, b) for a, b in zip(before, after, strict=True)]


def train(images, config, checkpoints, on_step=None, hardware=CPU, **options) -> gan.training.loop.TrainingResult:
    callbacks = [OnStep(on_step)] if on_step else []
    return gan.training.loop.train(images, config, checkpoints, hardware, callbacks=callbacks, **options)


class AlwaysDue(Checkpoints):
    def due(self) -> bool:
        return True


def every_step(folder) -> Checkpoints:
    return AlwaysDue(folder)


def newest_step(checkpoints: Checkpoints) -> int:
    step, _ = not_none(checkpoints.load_latest())
    return step


def equal_trainings(one, other) -> bool:
    return (
        one.history.tobytes() == other.history.tobytes()
        and one.snapshots.tobytes() == other.snapshots.tobytes()
        and one.average_snapshots.tobytes() == other.average_snapshots.tobytes()
        and all(same(weights(one.generator), weights(other.generator)))
        and all(same(weights(one.discriminator), weights(other.discriminator)))
        and all(same(weights(one.average), weights(other.average)))
        and one.warnings == other.warnings
    )
