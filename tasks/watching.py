"""Who watches a training: the terminal or log, the Prefect UI, and TensorBoard.

No part of what a training is: no cache key accounts for this module, so `tasks.train` takes even `progress` from here.
"""

import logging
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from prefect.artifacts import create_markdown_artifact

from gan.config import TrainConfig
from gan.event_files import EventFiles
from gan.history import HISTORY_COLUMNS
from gan.networks import Networks
from gan.progress import Update, progress
from gan.rendering import draw_grid, save_png
from gan.report.words import data_uri
from gan.store import Store
from gan.trainer import Watcher

__all__ = ["LiveGrid", "ProgressBar", "progress", "watch_in_tensorboard"]

NUM_SHOWN = 16

log = logging.getLogger(__name__)


class ProgressBar(Watcher):
    """A bar in a terminal, a line now and then in a log."""

    def __init__(self, update: Update) -> None:
        """Take what `gan.progress.progress` yields."""
        self._update = update

    def on_step(self, steps_done: int, row: np.ndarray) -> None:
        """Move on."""
        d_loss, d_accuracy, g_loss = row
        self._update(steps_done, f"d_loss {d_loss:.3f}, d_accuracy {d_accuracy:.2f}, g_loss {g_loss:.3f}")


class LiveGrid(Watcher):
    """The current grid in the Prefect UI while training goes on: one artifact, a new version at every snapshot."""

    KEY = "training-progress"

    def __init__(self, config: TrainConfig) -> None:
        """Take what is being trained."""
        self._config = config
        self._row = np.full(len(HISTORY_COLUMNS), np.nan)

    def on_step(self, steps_done: int, row: np.ndarray) -> None:
        """Keep the newest losses."""
        self._row = row

    def on_snapshot(self, step: int, pixels: np.ndarray, networks: Networks) -> None:
        """Show it; a server that does not answer costs a picture, not the training."""
        done = f"step {step:,} of {self._config.steps - 1:,}"
        losses = ", ".join(f"{name} {value:.3f}" for name, value in zip(HISTORY_COLUMNS, self._row, strict=True))
        try:
            with TemporaryDirectory() as folder:
                path = Path(folder) / "grid.png"
                save_png(draw_grid(pixels[:NUM_SHOWN], 4, scale=3), path)
                picture = data_uri(path)
            create_markdown_artifact(
                key=self.KEY,
                markdown=f"# {self._config.recipe.name}, seed {self._config.seed}: {done}\n\n{losses}\n\n"
                f"![fixed latents at {done}]({picture})",
                description=f"Fixed latents at {done}",
            )
        except Exception as error:  # whatever the server or the way to it has: training goes on
            log.warning("The grid of %s is not shown in the UI: %s", done, type(error).__name__)


def watch_in_tensorboard(store: Store, name: str, images: np.ndarray, config: TrainConfig) -> Watcher:
    """Event files in `tensorboard/<name>` of the output folder."""
    folder = store.root / "tensorboard" / name
    log.info("Look at it with: tensorboard --logdir %s", folder.parent)
    return EventFiles(folder, images, config)
