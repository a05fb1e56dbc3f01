"""Callbacks of a training, for tests."""

import numpy as np

from gan.training.loop import Callback


class Stop(Exception):  # noqa: N818
    """Ends a training as a crash would."""


class OnStep(Callback):
    """Calls a function after every step."""

    def __init__(self, call) -> None:
        self.on_step = call


def stop_after(steps: int):
    def on_step(done: int, row: np.ndarray) -> None:
        if done == steps:
            raise Stop

    return on_step
