"""What travels between stages: small frozen records of references to stored files."""

from collections.abc import Iterator
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from gan.judging.bootstrap import Difference
from gan.judging.definitions import AskedClasses, Metric
from gan.judging.gate import Decision
from gan.judging.measured import Measured
from gan.storage.store import FileRef


class StageRecord(BaseModel):
    """The result of a stage.

    `seconds` and `facts` say how it came about this time (how long, where from, on what device); they are for people,
    and are no part of what the result is: two records that differ only in them are equal to every later stage.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    CIRCUMSTANCES: ClassVar[frozenset[str]] = frozenset({"seconds", "facts"})

    seconds: float = Field(0.0, description="wall time of the stage when it ran")
    facts: dict[str, str | int | float] = Field(default_factory=dict, description="what was noted when it ran")

    def identity(self) -> dict[str, Any]:
        """What the result is, as plain JSON values."""
        return self.model_dump(mode="json", exclude=set(self.CIRCUMSTANCES))

    def files(self) -> Iterator[FileRef]:
        """Every file that the record refers to."""
        for name in type(self).model_fields:
            yield from _refs(getattr(self, name))


def _refs(value: object) -> Iterator[FileRef]:
    if isinstance(value, FileRef):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _refs(item)


class RawData(StageRecord):
    """The four files of a data set, unpacked (IDX)."""

    dataset: str
    train_images: FileRef
    train_labels: FileRef
    test_images: FileRef
    test_labels: FileRef


class NormalizedData(StageRecord):
    """Images as float32 `.npy`, (n, 28, 28, 1), in [-1, 1]; labels as uint8 `.npy`, (n,)."""

    dataset: str
    title: str = Field(description="what people call the data set")
    credit: str = Field(description="title and authors, as far as they are known")
    class_names: tuple[str, ...] = Field(description="by label")
    train_images: FileRef
    train_labels: FileRef
    test_images: FileRef
    test_labels: FileRef
    summary: FileRef = Field(description="JSON: count, images a class, mean and deviation of each split; the warnings")
    warnings: tuple[str, ...] = Field((), description="what looks wrong in the data, with the figures")


class FittedExtractor(StageRecord):
    """The classifier whose features images are compared by."""

    weights: FileRef = Field(description=".keras")
    warnings: tuple[str, ...] = Field((), description="what its accuracy says against the data, with the figures")


class Reference(StageRecord):
    """An earlier run that this one is compared with."""

    name: str
    generator: FileRef
    samples: FileRef = Field(description=".npz, key images")
    average_samples: FileRef


class Champion(StageRecord):
    """The run whose generator is used now, and which a new one has to beat."""

    name: str
    average: FileRef | None = Field(description=".keras, the averaged weights; None if it is not whole any more")
    average_samples: FileRef | None = Field(description=".npz, key images")
    obstacle: str = Field("", description="why nothing can be compared with it, if that is so")


class TrainedGan(StageRecord):
    """A trained generator and what was recorded on the way."""

    generator: FileRef = Field(description=".keras, the last weights")
    average: FileRef = Field(description=".keras, the averaged weights")
    history: FileRef = Field(description="CSV: step, d_loss, d_accuracy, g_loss")
    snapshot_steps: tuple[int, ...]
    snapshots: FileRef = Field(description="uint8 .npy, (num_snapshots, num_images, 28, 28), of fixed latents")
    warnings: tuple[str, ...] = Field(description="signs of collapse, with the figures")


class Pictures(StageRecord):
    """What is drawn of data, training and generator; PNG but for the animation (WebP)."""

    real_examples: FileRef
    grids: tuple[FileRef, ...] = Field(description="3 x 3, one for each snapshot")
    final_grid: FileRef = Field(description="3 x 3, of the last snapshot")
    samples_grid: FileRef = Field(description="8 x 8, of the last snapshot")
    animation: FileRef
    interpolation: FileRef


class ClassShare(BaseModel):
    """How often a class is predicted, 0 to 1."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    real: Measured
    generated: Measured


class Comparison(StageRecord):
    """Real against generated."""

    metrics: tuple[Metric, ...]
    differences: tuple[Difference, ...] = Field(description="from the reference, last weights; empty if there is none")
    average_differences: tuple[Difference, ...] = Field(description="the same of the averaged weights")
    verdict: str
    gate: Decision
    class_shares: tuple[ClassShare, ...]
    asked_classes: AskedClasses | None = Field(description="None for a generator that takes no classes")
    samples: FileRef = Field(
        description=".npz, key images, uint8, (n, 28, 28); with classes also key labels, uint8, (n,)"
    )
    average_samples: FileRef = Field(description="the same latents through the averaged weights")
    history: FileRef = Field(description="CSV: step, d_loss, d_accuracy, g_loss, frechet_distance, recall")
    real_grid: FileRef = Field(description="8 x 8 test images")
    generated_grid: FileRef = Field(description="8 x 8 samples, drawn at the same size")
    average_grid: FileRef = Field(description="the same latents through the averaged weights")
    pairs: FileRef = Field(description="eight test images above the first eight samples")
    class_rows: FileRef = Field(description="of every class a real and a generated row")
    neighbours: FileRef = Field(description="generated images above their nearest training images")
    history_quality: str = Field(description="what the history's distances and recalls are of: images and features")
    quality: FileRef = Field(description="chart of Fréchet distance and recall over training")
    curves: FileRef = Field(description="chart of losses and accuracy")
    report_html: FileRef
    report_markdown: FileRef


class PublishedRun(StageRecord):
    """A run in `runs/<name>`; the keys of its files start with that folder."""

    name: str = Field(pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$", description="one folder below runs/, whoever says so")
    published: tuple[FileRef, ...]
