"""The NVIDIA GPUs of this machine, as its driver lists them. No library for training is imported."""

import shutil
import subprocess
from functools import cache


@cache
def count_gpus() -> int:
    """Return how many GPUs `nvidia-smi -L` lists; 0 without a driver."""
    if not shutil.which("nvidia-smi"):
        return 0
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True)
    return 0 if listed.returncode else sum(line.startswith("GPU ") for line in listed.stdout.splitlines())
