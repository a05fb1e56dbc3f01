"""Callbacks of a training: progress in the terminal or log, the Prefect UI, and TensorBoard.

They do not influence the result, so cache keys do not include this module, nor `progress`, which it re-exports.
"""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from queue import SimpleQueue
from typing import Self

import numpy as np

from gan.config import TrainConfig
from gan.data.pixels import denormalize_images
from gan.formatting import describe_number, describe_share
from gan.judging.features import Extractor
from gan.judging.judge import SnapshotJudge
from gan.models.networks import Networks
from gan.report.charts import as_png, draw_quality
from gan.report.markup import as_data_uri
from gan.report.rendering import spaced, tiles_png
from gan.report.tensorboard import EventFiles
from gan.storage.store import Store
from gan.system.progress import Update, progress
from gan.training.history import HISTORY_COLUMNS
from gan.training.loop import Callback
from tasks.live_artifact import LiveArtifact, description_of
from tasks.records import FittedExtractor, NormalizedData

__all__ = ["LiveView", "ProgressBar", "progress", "snapshot_judge", "tensorboard_callback"]

NUM_IN_A_ROW, MAX_ROWS = 10, 10

log = logging.getLogger(__name__)


class ProgressBar(Callback):
    """Shows a progress bar in a terminal, and occasional lines in a log."""

    def __init__(self, update: Update) -> None:
        """Use the function that `gan.system.progress.progress` yields."""
        self._update = update

    def on_step(self, steps_done: int, row: np.ndarray) -> None:
        """Show the number of steps and the losses."""
        d_loss, d_accuracy, g_loss = row
        self._update(steps_done, f"d_loss {d_loss:.3f}, d_accuracy {d_accuracy:.2f}, g_loss {g_loss:.3f}")


class LiveView(Callback):
    """Shows a running training in the Prefect UI: an artifact that grows with each snapshot.

    It contains rows of images of the fixed latents, of up to ten snapshots, and the curve of the snapshots' metrics. A
    thread judges, draws and sends them, so that the training does not wait. Snapshots that become due meanwhile are
    shown together.
    """

    def __init__(self, config: TrainConfig, device: str, judge: SnapshotJudge) -> None:
        """Take the configuration of the training, the name of its device, and the judge of its snapshots."""
        self._config, self._device, self._judge, self._artifact = config, device, judge, LiveArtifact()
        self._losses: dict[str, float] = {}
        self._shown = -1  # the newest step that was sent
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="live-view")
        self._due: SimpleQueue[tuple[int, np.ndarray]] = SimpleQueue()
        self._snapshots: list[tuple[int, tuple[float, float], np.ndarray]] = []  # step, metrics, a row of images

    def __enter__(self) -> Self:
        """Return the view."""
        return self

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        """Wait until the snapshots are shown; after an error, only until the one that is being shown."""
        self._thread.shutdown(cancel_futures=error_type is not None)

    def on_step(self, steps_done: int, row: np.ndarray) -> None:
        """Keep the latest losses."""
        self._losses = dict(zip(HISTORY_COLUMNS, row, strict=True))

    def on_resume(self, steps: Sequence[int], snapshots: np.ndarray) -> None:
        """Keep the snapshots of the checkpoint until the next one is shown."""
        for step, pixels in zip(steps, snapshots, strict=True):
            self._due.put((step, pixels))

    def on_snapshot(self, step: int, pixels: np.ndarray, networks: Networks) -> None:
        """Have the thread judge and show a snapshot."""
        self._due.put((step, pixels))
        self._thread.submit(copy_context().run, self._show_due, step)  # the context has the Prefect run

    def _show_due(self, step: int) -> None:
        """Judge the snapshots that are due, and show all so far; if the server does not respond, log a warning."""
        try:
            while not self._due.empty():
                taken_at, pixels = self._due.get()
                self._snapshots.append((taken_at, self._judge(pixels), pixels[:NUM_IN_A_ROW].copy()))
            if self._shown < (newest := self._snapshots[-1][0]):
                self._shown = newest  # also if the server does not answer, which takes minutes: not again for each
                self._artifact.show(self._markdown(), self._description())
        except Exception as error:  # any error of the server or the connection
            log.warning("Step %s is not shown in the UI: %s", f"{step:,}", type(error).__name__)

    def _done(self) -> str:
        step, (distance, recall), _ = self._snapshots[-1]
        quality = f"Fréchet distance {describe_number(distance)}, recall {describe_share(recall)}"
        return f"step {step:,} of {self._config.steps - 1:,}: {quality}"

    def _description(self) -> str:
        newest = self._snapshots[-1][2]
        return description_of(as_data_uri(tiles_png(newest[:9], 3), "png"), self._done())

    def _markdown(self) -> str:
        steps, quality, rows = zip(*self._snapshots, strict=True)
        losses = "".join(f", {name} {value:.3f}" for name, value in self._losses.items())
        shown = spaced(len(rows), MAX_ROWS)
        grid = tiles_png(np.concatenate([rows[index] for index in shown]), NUM_IN_A_ROW)
        steps_shown = ", ".join(f"{steps[index]:,}" for index in shown)
        chart = as_png(draw_quality(steps, np.array(quality), self._judge.description))
        return (
            f"# {self._config.recipe.name}, seed {self._config.seed}, {self._done()}\n\n"
            f"On {self._device}{losses}\n\n"
            f"![Fréchet distance and recall so far]({as_data_uri(chart, 'png')})\n\n"
            f"{self._judge.description}. Images of the same latents after the steps {steps_shown}:\n\n"
            f"![fixed latents, a row for each snapshot shown]({as_data_uri(grid, 'png')})"
        )


def snapshot_judge(
    store: Store, data: NormalizedData, extractor: FittedExtractor, config: TrainConfig
) -> SnapshotJudge:
    """Return the judge of snapshots, which computes the same metrics as the report."""
    network = Extractor.load(store.path(extractor.weights), data.dataset, extractor.weights.sha256)
    return SnapshotJudge(network, denormalize_images(store.load_array(data.test_images)), config.num_snapshot_images)


def tensorboard_callback(store: Store, name: str, data: NormalizedData, config: TrainConfig) -> Callback:
    """Return a callback that writes event files to `tensorboard/<name>` in the output folder."""
    folder = store.root / "tensorboard" / name
    log.info("View the training with: tensorboard --logdir %s", folder.parent)
    return EventFiles(folder, store.load_array(data.train_images), config)
