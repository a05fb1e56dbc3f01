"""The NVIDIA GPUs of this machine, as its driver lists them. No library for training is imported."""

import os
import subprocess
from functools import cache

SECONDS_TO_ANSWER = 30


@cache
def count_gpus() -> int:
    """Return how many GPUs `nvidia-smi -L` lists; 0 without a driver, or with one that does not answer."""
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=SECONDS_TO_ANSWER)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return 0 if listed.returncode else sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def gpus_are_hidden() -> bool:
    """Return whether CUDA_VISIBLE_DEVICES asks for no GPU."""
    return os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
