"""Callbacks of a training, for tests."""

from collections.abc import Callable

import numpy as np

from gan.training.loop import Callback


class Stop(Exception):  # noqa: N818
    """Ends a training as a crash would."""


class OnStep(Callback):
    """Calls a function after every step."""

    def __init__(self, call: Callable[[int, np.ndarray], object]) -> None:
        self.call = call

    def on_step(self, steps_done: int, row: np.ndarray) -> None:
        self.call(steps_done, row)


def stop_after(steps: int) -> Callable[[int, np.ndarray], None]:
    def on_step(done: int, row: np.ndarray) -> None:
        if done == steps:
            raise Stop

    return on_step
