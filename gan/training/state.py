"""What a training has recorded, and how all of it goes into a checkpoint and comes back."""

import hashlib
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gan.config import TrainConfig
from gan.errors import TrainingError
from gan.models.backend import release_free_memory
from gan.models.networks import Networks
from gan.recipes import Recipe
from gan.training.checkpoints import Arrays, Checkpoints
from gan.training.groups import find_kinds
from gan.training.guards import refuse_non_finite_weights
from gan.training.history import HISTORY_COLUMNS


@dataclass
class Progress:
    """How far a training is, and what it has recorded."""

    history: np.ndarray  # float32 (steps, 3), HISTORY_COLUMNS; rows of steps to come are zero
    snapshots: np.ndarray  # uint8 (num_snapshots, num_snapshot_images, 28, 28); those to come are zero
    steps_done: int = 0
    warnings: list[str] = field(default_factory=list)  # of collapse, for the report
    groups: np.ndarray | None = None  # int32 (n,), of the training images; None for a recipe without
    seconds: float = 0.0  # of all steps, and of finding groups, over all interruptions
    checkpoint_seconds: float = 0.0  # of saving, over all interruptions
    calls: list[tuple[int, float]] = field(default_factory=list)  # steps and seconds, since the process started

    @classmethod
    def empty(cls, config: TrainConfig) -> "Progress":
        """Nothing done yet."""
        return cls(
            history=np.zeros((config.steps, len(HISTORY_COLUMNS)), np.float32),
            snapshots=np.zeros((len(config.snapshot_steps), config.num_snapshot_images, 28, 28), np.uint8),
        )

    def record(self, rows: np.ndarray, seconds: float) -> None:
        """Take down finished steps: their rows of the history, and how long they took together."""
        self.history[self.steps_done : self.steps_done + len(rows)] = rows
        self.steps_done += len(rows)
        self.seconds += seconds
        self.calls.append((len(rows), seconds))

    def timings(self) -> dict[str, float]:
        """What was measured; the first call of a process is mostly compilation and stands apart.

        The time of a step is a median, so that what else the machine did for a while does not count, over eight calls
        each, so that penalties and updates of the average count as often as they come.
        """
        facts = {
            "training_seconds": round(self.seconds, 1),
            "checkpoint_seconds": round(self.checkpoint_seconds, 2),
        }
        if self.calls:
            facts["first_call_seconds"] = round(self.calls[0][1], 2)
            steps, seconds = np.array(self.calls[1:] or self.calls).T
            starts = np.arange(0, max(1, len(steps) - 7), 8)  # the last calls with those before, if they are fewer
            a_step = np.add.reduceat(seconds, starts) / np.add.reduceat(steps, starts)
            facts["milliseconds_per_step"] = round(1000 * float(np.median(a_step)), 2)
        return facts


def identity_of(images: np.ndarray, config: TrainConfig, engine_name: str) -> str:
    """What a checkpoint must agree with: settings, the way steps are run, and the beginning of the data."""
    digest = hashlib.sha256(f"{config.model_dump_json()} {engine_name} {images.shape}".encode())
    digest.update(images[:100].tobytes())
    return digest.hexdigest()


def save(networks: Networks, progress: Progress, checkpoints: Checkpoints, identity: str) -> None:
    """Write everything that training needs to go on from here.

    Raises:
        TrainingError: If a weight is not finite; nothing is written, and the last checkpoint before it stays.
    """
    began = time.monotonic()
    refuse_non_finite_weights(networks, progress.steps_done)
    arrays = {f"variable_{index:03}": variable.numpy() for index, variable in enumerate(networks.variables)}
    arrays |= {
        "identity": np.array(identity),
        "history": progress.history[: progress.steps_done],
        "snapshots": progress.snapshots,
        "warnings": np.array(progress.warnings, dtype=np.str_),
        "seconds": np.array([progress.seconds, progress.checkpoint_seconds]),
    }
    if progress.groups is not None:
        arrays["groups"] = progress.groups
    progress.checkpoint_seconds += checkpoints.save(progress.steps_done, arrays, began=began)
    release_free_memory()


def find_kinds_again(
    images: np.ndarray, recipe: Recipe, labels: np.ndarray | None, checkpoint: tuple[int, Arrays] | None
) -> np.ndarray | None:
    """`find_kinds` (`gan.training.groups`), or those of the checkpoint: another processor might find other groups."""
    groups = None if checkpoint is None else checkpoint[1].get("groups")
    if groups is not None and len(groups) == len(images):  # else it is another training's, which `restore` refuses
        return groups
    return find_kinds(images, recipe, labels)


def restore(
    networks: Networks, config: TrainConfig, checkpoint: tuple[int, Arrays] | None, identity: str, folder: Path
) -> Progress:
    """Set the networks to a checkpoint; without one they stay as they are.

    Args:
        networks: Changed in place.
        config: Of the training.
        checkpoint: As `Checkpoints.load_latest` gives it.
        identity: What it must agree with.
        folder: Where it lies.

    Raises:
        TrainingError: If the checkpoint is of another training.
    """
    progress = Progress.empty(config)
    if checkpoint is not None:
        progress.steps_done, arrays = checkpoint
        if str(arrays["identity"]) != identity:
            raise TrainingError(
                f"The checkpoints in {folder} are of another training: other settings, data or engine.\n"
                "Give this training a folder of its own, or delete them."
            )
        for index, variable in enumerate(networks.variables):
            variable.assign(arrays[f"variable_{index:03}"])
        progress.history[: progress.steps_done] = arrays["history"]
        progress.snapshots[:] = arrays["snapshots"]
        progress.warnings = [str(warning) for warning in arrays["warnings"]]
        progress.seconds, progress.checkpoint_seconds = (float(seconds) for seconds in arrays["seconds"])
    return progress
