"""The state of a training besides its networks, and its conversion to and from a checkpoint."""

import hashlib
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gan.config import TrainConfig
from gan.errors import TrainingError
from gan.models.backend import release_free_memory
from gan.models.networks import Networks
from gan.training.checkpoints import Arrays, Checkpoints
from gan.training.guards import refuse_non_finite_weights
from gan.training.history import HISTORY_COLUMNS


@dataclass
class TrainingState:
    """The number of steps done, and everything that they have recorded."""

    history: np.ndarray  # float32 (steps, 3), HISTORY_COLUMNS; rows of future steps are zero
    snapshots: np.ndarray  # uint8 (num_snapshots, num_snapshot_images, 28, 28); future ones are zero
    average_snapshots: np.ndarray  # of the averaged weights, uint8 (num_average_steps, num_snapshot_images, 28, 28)
    steps_done: int = 0
    warnings: list[str] = field(default_factory=list)  # of collapse, for the report
    groups: np.ndarray | None = None  # int32 (n,), group of each training image; None for a recipe without groups
    seconds: float = 0.0  # of steps, snapshots and clustering, in all processes of this training
    checkpoint_seconds: float = 0.0  # of saving, in all processes of this training
    snapshot_seconds: float = 0.0  # of snapshots, in all processes of this training
    calls: list[tuple[int, float]] = field(default_factory=list)  # steps and seconds of each call in this process

    @classmethod
    def empty(cls, config: TrainConfig) -> "TrainingState":
        """Return the state before the first step."""
        return cls(
            history=np.zeros((config.steps, len(HISTORY_COLUMNS)), np.float32),
            snapshots=np.zeros((len(config.snapshot_steps), config.num_snapshot_images, 28, 28), np.uint8),
            average_snapshots=np.zeros((len(config.average_steps), config.num_snapshot_images, 28, 28), np.uint8),
        )

    def record(self, rows: np.ndarray, seconds: float) -> None:
        """Record finished steps: their rows of the history, and the seconds that they took together."""
        self.history[self.steps_done : self.steps_done + len(rows)] = rows
        self.steps_done += len(rows)
        self.seconds += seconds
        self.calls.append((len(rows), seconds))

    def record_snapshot(self, seconds: float) -> None:
        """Record the seconds that a snapshot took."""
        self.seconds += seconds
        self.snapshot_seconds += seconds

    def timings(self) -> dict[str, float]:
        """Return the measured times; the first call of a process is separate, since it is mostly compilation.

        The time of a step is the median over groups of eight calls. A median ignores interference by other programs;
        in eight calls, penalties and updates of the average occur as often as they do on average.
        """
        facts = {
            "training_seconds": round(self.seconds, 1),
            "checkpoint_seconds": round(self.checkpoint_seconds, 2),
            "snapshot_seconds": round(self.snapshot_seconds, 2),
        }
        if self.calls:
            facts["first_call_seconds"] = round(self.calls[0][1], 2)
            steps, seconds = np.array(self.calls[1:] or self.calls).T
            starts = np.arange(0, max(1, len(steps) - 7), 8)  # fewer than eight calls at the end join the group before
            per_step = np.add.reduceat(seconds, starts) / np.add.reduceat(steps, starts)
            facts["milliseconds_per_step"] = round(1000 * float(np.median(per_step)), 4)
        return facts


def training_identity(images: np.ndarray, config: TrainConfig, engine_name: str) -> str:
    """Return a SHA-256 of the settings, the engine and the first images, with which a checkpoint must agree."""
    digest = hashlib.sha256(f"{config.model_dump_json()} {engine_name} {images.shape}".encode())
    digest.update(images[:100].tobytes())
    return digest.hexdigest()


def save_checkpoint(
    networks: Networks, config: TrainConfig, state: TrainingState, checkpoints: Checkpoints, identity: str
) -> None:
    """Save everything that is needed to resume training; raise a TrainingError if a weight is not finite."""
    began = time.monotonic()
    refuse_non_finite_weights(networks, state.steps_done)
    arrays = {f"variable_{index:03}": variable.numpy() for index, variable in enumerate(networks.variables)}
    arrays |= {
        "identity": np.array(identity),
        "history": state.history[: state.steps_done],
        "snapshots": state.snapshots[: sum(step < state.steps_done for step in config.snapshot_steps)],
        "average_snapshots": state.average_snapshots[: sum(step < state.steps_done for step in config.average_steps)],
        "warnings": np.array(state.warnings, dtype=np.str_),
        "seconds": np.array([state.seconds, state.checkpoint_seconds, state.snapshot_seconds]),
    }
    if state.groups is not None:
        arrays["groups"] = state.groups
    state.checkpoint_seconds += checkpoints.save(state.steps_done, arrays, began=began)
    release_free_memory()


def restore(
    networks: Networks, config: TrainConfig, checkpoint: tuple[int, Arrays] | None, identity: str, folder: Path
) -> TrainingState:
    """Set the networks to the state of a checkpoint; without one they keep their initial weights.

    Raises:
        TrainingError: If the checkpoint, which is in `folder`, belongs to a training with another identity.
    """
    state = TrainingState.empty(config)
    if checkpoint is not None:
        state.steps_done, arrays = checkpoint
        if str(arrays["identity"]) != identity:
            raise TrainingError(
                f"The checkpoints in {folder} belong to another training: other settings, data or engine.\n"
                "Use another folder for this training, or delete them."
            )
        for index, variable in enumerate(networks.variables):
            variable.assign(arrays[f"variable_{index:03}"])
        state.history[: state.steps_done] = arrays["history"]
        for name, kept in (("snapshots", state.snapshots), ("average_snapshots", state.average_snapshots)):
            kept[: len(arrays[name])] = arrays[name]
        state.warnings = [str(warning) for warning in arrays["warnings"]]
        state.seconds, state.checkpoint_seconds, state.snapshot_seconds = map(float, arrays["seconds"])
    return state
