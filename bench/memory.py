"""Measure the memory that a training with checkpoints holds: python -m bench.memory prints JSON."""

import os
import tempfile
from pathlib import Path

import numpy as np

from bench.contenders import load_images
from gan.config import TrainConfig
from gan.models.backend import use_device
from gan.recipes import ARTICLE
from gan.storage.plain_json import to_json
from gan.training.checkpoints import Checkpoints
from gan.training.loop import Callback, train

STEPS = (1_000, 10_000)


class Resident(Callback):
    """Records the resident memory after the steps in STEPS."""

    def __init__(self) -> None:
        """Start without records."""
        self.found: dict[int, int] = {}

    def on_step(self, steps_done: int, row: np.ndarray) -> None:
        """Record the resident memory after a step in STEPS."""
        if steps_done in STEPS:
            self.found[steps_done] = resident_bytes()


def resident_bytes() -> int:
    """Return the resident memory of this process, in bytes (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Train the default configuration of `article` and print the records."""
    watcher = Resident()
    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig(recipe=ARTICLE, steps=ARTICLE.steps, batch_size=ARTICLE.batch_size)
        training = train(load_images(), config, Checkpoints(Path(folder)), use_device("auto"), callbacks=[watcher])
    print(to_json({"resident_bytes": watcher.found, "facts": training.facts}, indent=None))  # noqa: T201


if __name__ == "__main__":
    main()
