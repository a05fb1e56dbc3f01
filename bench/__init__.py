"""Measurements: speed (`make bench`), memory, quality, intervals, other judges, and checks of a GPU (docs/design.md).

Here is what the contenders of the speed comparison share.
"""

from collections.abc import Callable

from gan.system.gpus import count_gpus, gpus_are_hidden

BATCH, LATENTS = 128, 100

ON_GPU = count_gpus() > 0 and not gpus_are_hidden()
"""Whether the contenders are expected to use a GPU."""

Steps = Callable[[int], None]
"""Trains for a number of steps, and returns when they are complete."""


STEPS_PER_CALL = 200 if ON_GPU else 8
"""Steps that JAX runs in a call, a multiple of those of our engine. A turn has a multiple of it."""


def repeat(step: Callable[[], object]) -> Steps:
    """Return a function that calls `step` a given number of times."""

    def run(num: int) -> None:
        for _ in range(num):
            step()

    return run
