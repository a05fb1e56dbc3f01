"""Settings of the stages: frozen, validated when they are created, plain values only.

Equal settings give equal cache keys. Only `RunConfig` has a name; no other class holds a path, a run's name or a time.
"""

import shlex
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from gan.recipe import Recipe

PROJECT_ROOT = Path(__file__).resolve().parent.parent
"""The folder of the code, with README.md."""

DEFAULT_OUTPUT_DIR = Path("artifacts")
"""The folder for the store and the published runs, in the working directory."""

Device = Literal["auto", "cpu", "gpu"]
"""Device to compute on. It is not in the cache key, since it only changes rounding. A training amplifies that: the
metrics of a CPU and a GPU differ about as much as those of two seeds."""

TrainOn = Literal["here", "gpu"]
"""Where to train: in this process, or in a separate run on a GPU worker."""

SEED_LIMIT = 2**31
Seed = Annotated[NonNegativeInt, Field(lt=SEED_LIMIT)]
Steps = Annotated[PositiveInt, Field(le=2**28)]
BatchSize = Annotated[PositiveInt, Field(le=8192)]
MIN_SAMPLES, MAX_SAMPLES = 100, 60_000
NumSamples = Annotated[PositiveInt, Field(ge=MIN_SAMPLES, le=MAX_SAMPLES)]
Epochs = PositiveInt | None
"""Epochs of a network that judges; None for the default, which is left out of `config.json`, as in earlier versions."""

MAX_SNAPSHOTS = 250
"""Upper limit, because a grid is drawn for every snapshot."""

MAX_AVERAGE_SNAPSHOTS = 8
"""Upper limit for the averaged weights: each snapshot costs time, and room in checkpoints."""


def output_option(root: Path) -> str:
    """Return the option that names an output folder, quoted for a shell; also within double quotes, as for make."""
    return f"--output-dir {shlex.quote(str(root))}"


class TrainConfig(BaseModel, frozen=True, extra="forbid"):
    """Everything that decides the weights of one training."""

    recipe: Recipe = Field(description="networks, loss and optimizer")
    steps: Steps = Field(description="iterations of the recipe's algorithm")
    batch_size: BatchSize = Field(description="images a step")
    seed: Seed = Field(0, description="seeds weights, batches and latents")
    sample_every: PositiveInt = Field(1000, description="steps between two snapshots of the fixed latents")
    num_snapshot_images: PositiveInt = Field(
        2000, ge=9, description="images in a snapshot, of fixed latents; the training's progress is measured on them"
    )

    @model_validator(mode="after")
    def _bound_snapshots(self) -> Self:
        intervals, rest = divmod(self.steps - 1, self.sample_every)
        num_snapshots = 1 + intervals + (rest > 0)  # without a list of them, which could need gigabytes
        if num_snapshots > MAX_SNAPSHOTS:
            raise ValueError(
                f"{self.steps:,} steps with a snapshot every {self.sample_every:,} make {num_snapshots:,} snapshots; "
                f"at most {MAX_SNAPSHOTS} are kept. "
                f"Give --sample-every {-(-self.steps // (MAX_SNAPSHOTS - 1)):,} or more."
            )
        return self

    @property
    def snapshot_steps(self) -> tuple[int, ...]:
        """Return the steps after which a snapshot is taken, counted from 0, always with the first and the last."""
        return tuple(sorted({*range(0, self.steps, self.sample_every), self.steps - 1}))

    @property
    def average_steps(self) -> tuple[int, ...]:
        """Return the steps after which the averaged weights have a snapshot too: evenly spaced, with the last."""
        steps = self.snapshot_steps
        stride = -(-len(steps) // MAX_AVERAGE_SNAPSHOTS)
        return steps[::-stride][::-1]


class ExecutionConfig(BaseModel, frozen=True, extra="forbid"):
    """How a training is executed: device, speed and monitoring. These settings are not in its cache key."""

    device: Device = "auto"
    stop_on_collapse: bool = Field(False, description="end with an error in place of a warning of collapse")
    tensorboard: bool = Field(False, description="write event files")
    train_on: TrainOn = "here"
    checkpoint_seconds: NonNegativeFloat | None = Field(None, description="seconds between two checkpoints")
    worker_timeout: PositiveInt = Field(600, description="seconds within which a GPU worker must start the training")

    @property
    def device_here(self) -> Device:
        """Return the device of this process. With `train_on="gpu"` a required GPU is the worker's, not this one's."""
        return "auto" if self.train_on == "gpu" and self.device == "gpu" else self.device


class SampleConfig(BaseModel, frozen=True, extra="forbid"):
    """The generated images that a run is judged by."""

    num_images: NumSamples = Field(10_000, description="images drawn from the generator")
    seed: Seed = Field(0, description="seeds the latents and the choice of real images")


class DataConfig(BaseModel, frozen=True, extra="forbid"):
    """A data set, identified by its content."""

    name: str
    class_names: tuple[str, ...] = Field(description="by label")
    sha256: dict[str, str] = Field(description="of each unpacked file, by its name")


def is_none(value: object) -> bool:
    """Return whether a value is None; pydantic's `exclude_if` asks it."""
    return value is None


class RunContent(BaseModel, frozen=True, extra="forbid"):
    """Everything that decides the result of a run, as in `config.json`: equal contents are the same run."""

    train: TrainConfig
    samples: SampleConfig
    data: DataConfig | None = Field(None, description="the user's own data set; null: Fashion-MNIST")
    extractor_epochs: Epochs = Field(None, description="of fitting the extractor for own data", exclude_if=is_none)
    two_sample_epochs: Epochs = Field(None, description="of the stages floor and separate", exclude_if=is_none)


class RunConfig(RunContent):
    """One run of the pipeline: its content, and the name it is published under."""

    name: str = Field(description="folder below runs/")

    def content(self) -> RunContent:
        """Return all settings but the name."""
        return RunContent(**{name: getattr(self, name) for name in RunContent.model_fields})
