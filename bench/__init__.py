"""How fast training is, beside its peers and the machine's limit: python -m bench (make bench)."""

from collections.abc import Callable

BATCH, LATENTS = 128, 100

Steps = Callable[[int], None]
"""Trains so many steps, and returns when they are really done."""


def repeat(step: Callable[[], object]) -> Steps:
    """So many calls of a function that does one step."""

    def run(num: int) -> None:
        for _ in range(num):
            step()

    return run
