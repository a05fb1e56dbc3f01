"""What a training has recorded, and how all of it goes into a checkpoint and comes back."""

from dataclasses import dataclass, field

import numpy as np

from gan.backend import release_free_memory
from gan.checkpoints import Checkpoints
from gan.config import TrainConfig
from gan.guards import refuse_non_finite_weights
from gan.history import HISTORY_COLUMNS
from gan.networks import Networks


@dataclass
class Progress:
    """How far a training is, and what it has recorded."""

    history: np.ndarray  # float32 (steps, 3), HISTORY_COLUMNS; rows of steps to come are zero
    snapshots: np.ndarray  # uint8 (num_snapshots, num_snapshot_images, 28, 28); those to come are zero
    steps_done: int = 0
    warnings: list[str] = field(default_factory=list)  # of collapse, for the report
    seconds: float = 0.0  # of all steps, over all interruptions
    checkpoint_seconds: float = 0.0  # of saving, over all interruptions
    session_seconds: list[float] = field(default_factory=list)  # of each step since the process started

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
        self.session_seconds += [seconds / len(rows)] * len(rows)

    def timings(self) -> dict[str, float]:
        """What was measured; the first step of a process is mostly compilation and stands apart."""
        facts = {
            "training_seconds": round(self.seconds, 1),
            "checkpoint_seconds": round(self.checkpoint_seconds, 2),
        }
        if self.session_seconds:
            first, *others = self.session_seconds
            facts["first_step_seconds"] = round(first, 2)
            facts["milliseconds_per_step"] = round(1000 * float(np.median(others or [first])), 2)
        return facts


def save(networks: Networks, progress: Progress, checkpoints: Checkpoints) -> None:
    """Write everything that training needs to go on from here.

    Raises:
        TrainingError: If a weight is not finite; nothing is written, and the last checkpoint before it stays.
    """
    refuse_non_finite_weights(networks, progress.steps_done)
    arrays = {f"variable_{index:03}": variable.numpy() for index, variable in enumerate(networks.variables)}
    arrays |= {
        "history": progress.history[: progress.steps_done],
        "snapshots": progress.snapshots,
        "warnings": np.array(progress.warnings, dtype=np.str_),
        "seconds": np.array([progress.seconds, progress.checkpoint_seconds]),
    }
    progress.checkpoint_seconds += checkpoints.save(progress.steps_done, arrays)
    release_free_memory()


def restore(networks: Networks, config: TrainConfig, checkpoints: Checkpoints) -> Progress:
    """Set the networks to the newest usable checkpoint; without one they stay as they are."""
    progress = Progress.empty(config)
    checkpoint = checkpoints.load_latest()
    if checkpoint is not None:
        progress.steps_done, arrays = checkpoint
        for index, variable in enumerate(networks.variables):
            variable.assign(arrays[f"variable_{index:03}"])
        progress.history[: progress.steps_done] = arrays["history"]
        progress.snapshots[:] = arrays["snapshots"]
        progress.warnings = [str(warning) for warning in arrays["warnings"]]
        progress.seconds, progress.checkpoint_seconds = (float(seconds) for seconds in arrays["seconds"])
    return progress
