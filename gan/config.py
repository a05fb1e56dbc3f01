"""Settings of each stage: frozen, checked when made, plain values only.

Equal settings give equal cache keys, so nothing here may hold a path, a name of a run, or a time.
"""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, model_validator

from gan.recipes import ARTICLE, Recipe

Device = Literal["auto", "cpu", "gpu"]
"""What to compute on. Results of a CPU and a GPU differ by rounding, and count as the same."""

TrainOn = Literal["here", "gpu"]
"""Where training is done: in the process that needs it, or as a run of its own on a worker that has a GPU."""

MAX_SNAPSHOTS = 250
"""A grid is drawn for every snapshot; more than this many would be a film, not an overview."""


class TrainConfig(BaseModel):
    """One training run; everything that decides which weights come out of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: Recipe = Field(ARTICLE, description="networks, loss and optimizer")
    steps: PositiveInt = Field(ARTICLE.steps, le=2**28, description="iterations of the recipe's algorithm")
    batch_size: PositiveInt = Field(ARTICLE.batch_size, le=8192, description="images a step")
    seed: NonNegativeInt = Field(0, lt=2**31, description="seeds weights, batches and latents")
    sample_every: PositiveInt = Field(1000, description="steps between two snapshots of the fixed latents")
    num_snapshot_images: PositiveInt = Field(
        2000, ge=9, description="images a snapshot, of latents that never change; training is judged on the way by them"
    )

    @model_validator(mode="after")
    def _bound_snapshots(self) -> Self:
        if len(self.snapshot_steps) > MAX_SNAPSHOTS:
            raise ValueError(
                f"{self.steps:,} steps with a snapshot every {self.sample_every:,} make "
                f"{len(self.snapshot_steps):,} snapshots; at most {MAX_SNAPSHOTS} are kept. "
                f"Give --sample-every {-(-self.steps // (MAX_SNAPSHOTS - 1)):,} or more."
            )
        return self

    @property
    def snapshot_steps(self) -> tuple[int, ...]:
        """Steps after which a snapshot is taken, from 0; the first and the last are always among them."""
        last = self.steps - 1
        return tuple(sorted({*range(0, self.steps, self.sample_every), last}))


class ExecutionConfig(BaseModel):
    """How a training is carried out: how fast, and what is seen of it. What comes out of it is not decided here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: Device = "auto"
    data_parallel: bool = Field(False, description="split each batch over all GPUs of the machine")
    stop_on_collapse: bool = Field(False, description="end with an error where there would be a warning")
    tensorboard: bool = Field(False, description="write event files")
    train_on: TrainOn = "here"
    worker_timeout: PositiveInt = Field(600, description="seconds within which a GPU worker must take the training")

    @property
    def device_here(self) -> Device:
        """What this process computes on, training or not; a GPU that is insisted on may be the worker's."""
        return "auto" if self.train_on == "gpu" and self.device == "gpu" else self.device


class SampleConfig(BaseModel):
    """The images that a trained generator is judged by."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_images: PositiveInt = Field(10_000, ge=100, le=60_000, description="images drawn from the generator")
    seed: NonNegativeInt = Field(0, lt=2**31, description="seeds the latents and the choice of real images")


class DataConfig(BaseModel):
    """A data set by what it holds, wherever it lies."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    class_names: tuple[str, ...] = Field(description="by label")
    sha256: dict[str, str] = Field(description="of each unpacked file, by its name")


class RunConfig(BaseModel):
    """One run of the pipeline: what is trained, how it is judged, and the name it is published under."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="folder below runs/")
    train: TrainConfig
    samples: SampleConfig
    data: DataConfig | None = Field(None, description="a data set of one's own; empty: Fashion-MNIST")

    def content(self) -> dict[str, Any]:
        """Everything but the name, as plain JSON values: two runs with the same content are the same run."""
        content = self.model_dump(mode="json", exclude={"name"} if self.data else {"name", "data"})
        recipe = content["train"]["recipe"]
        if not self.train.recipe.num_kinds:  # as before there were recipes with classes
            del recipe["num_classes"], recipe["mismatch_weight"]
        if not self.train.recipe.num_groups:  # or with groups
            del recipe["num_groups"]
        if recipe["average_ramp_up"] == Recipe.model_fields["average_ramp_up"].default:  # or a card said this
            del recipe["average_ramp_up"]
        return content
