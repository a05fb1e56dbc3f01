"""Benchmarks: training compared with other implementations and the limit of the machine (make bench)."""

import shutil
import subprocess
from collections.abc import Callable
from functools import cache

BATCH, LATENTS = 128, 100

Steps = Callable[[int], None]
"""Trains for a number of steps, and returns when they are complete."""


@cache
def has_gpu() -> bool:
    """Return whether this machine has an NVIDIA GPU; no library for training is imported."""
    return bool(shutil.which("nvidia-smi")) and not subprocess.run(["nvidia-smi", "-L"], capture_output=True).returncode


STEPS_PER_CALL = 200 if has_gpu() else 8
"""Steps that our engine and JAX run in a call at most. A turn has a multiple of it."""


def repeat(step: Callable[[], object]) -> Steps:
    """Return a function that calls `step` a given number of times."""

    def run(num: int) -> None:
        for _ in range(num):
            step()

    return run
