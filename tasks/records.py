"""Results of the stages: small frozen records that refer to stored files."""

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints

from gan.judging.gate import Quality
from gan.judging.judgement import Judgement
from gan.judging.measured import Measured
from gan.runs.manifest import FEATURE_EXTRACTOR, Provenance
from gan.storage.store import FileRef, Store

RunPath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$")]
"""Path of a file in a run's folder. It cannot lead out of the folder, also in a record from an untrusted bucket."""


class StageRecord(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """The result of a stage, or a group of such results.

    `seconds` and `facts` describe how the result was made: duration, source, device. They do not belong to the identity
    of the result: later stages treat two records that differ only in them as equal.
    """

    seconds: float = Field(0.0, description="wall time of the stage when it ran")
    facts: dict[str, str | int | float] = Field(default_factory=dict, description="what was recorded when it ran")

    def identity(self) -> dict[str, Any]:
        """Return the result as plain JSON values, without `seconds` and `facts` of this record and of nested ones."""
        return {name: plain(value) for name, value in self if name not in ("seconds", "facts")}

    def files(self) -> Iterator[FileRef]:
        """Yield every file that the record or a nested record refers to."""
        for _, value in self:
            yield from _refs(value)


def plain(value: object) -> Any:
    """Return plain JSON values that are equal for equal content."""
    if isinstance(value, StageRecord):
        return value.identity()
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def _refs(value: object) -> Iterator[FileRef]:
    if isinstance(value, FileRef):
        yield value
    elif isinstance(value, StageRecord):
        yield from value.files()
    elif isinstance(value, tuple | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _refs(item)


def put_files(store: Store, contents: Mapping[str, bytes]) -> dict[str, FileRef]:
    """Store files, given by their path in the run's folder."""
    return {path: store.put_bytes(content, PurePosixPath(path).suffix) for path, content in contents.items()}


class RawData(StageRecord):
    """The four files of a data set, unpacked (IDX)."""

    train_images: FileRef
    train_labels: FileRef
    test_images: FileRef
    test_labels: FileRef


class NormalizedData(StageRecord):
    """Images as float32 `.npy`, (n, 28, 28, 1), in [-1, 1]; labels as uint8 `.npy`, (n,)."""

    dataset: str
    title: str = Field(description="display name of the data set")
    credit: str = Field(description="title and authors, as far as they are known")
    class_names: tuple[str, ...] = Field(description="by label")
    train_images: FileRef
    train_labels: FileRef
    test_images: FileRef
    test_labels: FileRef
    summary: FileRef = Field(description="JSON: number of images, in all and for each class, mean, deviation, warnings")
    warnings: tuple[str, ...] = Field((), description="problems found in the data, with the figures")

    @property
    def num_classes(self) -> int:
        """Return the number of classes."""
        return len(self.class_names)


class FittedExtractor(StageRecord):
    """The classifier whose features images are compared by."""

    weights: FileRef = Field(description=".keras")
    warnings: tuple[str, ...] = Field((), description="problems of the data that fitting it has shown, with figures")


class TrainedGan(StageRecord):
    """A trained generator, and the records of its training."""

    generator: FileRef = Field(description=".keras, the last weights")
    average: FileRef = Field(description=".keras, the averaged weights")
    history: FileRef = Field(description="float32 .npy, (steps, 3): d_loss, d_accuracy, g_loss")
    snapshots: FileRef = Field(
        description="uint8 .npy, (num_snapshots, num_images, 28, 28), of fixed latents, at `TrainConfig.snapshot_steps`"
    )
    average_snapshots: FileRef = Field(description="the same by the averaged weights, at `TrainConfig.average_steps`")
    warnings: tuple[str, ...] = Field(description="signs of collapse, with the figures")


class Pictures(StageRecord):
    """Pictures of the data, the training and the generator as PNG, and the animation as WebP."""

    by_path: dict[RunPath, FileRef]


class TwoSampleRecord(StageRecord):
    """Result of the classifier two-sample test."""

    accuracy: Measured = Field(description="balanced accuracy on unseen images, 0 to 1; 0.5 is guessing")
    num_training: int = Field(description="images of each kind that the network was trained on")
    logits: FileRef = Field(
        description=".npy, float32 (n,): logit of real for each unseen generated image, or for the real image in its "
        "place (floor)"
    )


class RunRecords(StageRecord):
    """The results of all stages before the comparison."""

    raw: RawData
    data: NormalizedData
    extractor: FittedExtractor
    trained: TrainedGan
    pictures: Pictures
    floor: TwoSampleRecord = Field(description="real images against each other")
    separated: TwoSampleRecord = Field(description="images of the averaged generator against real ones")

    @property
    def data_warnings(self) -> tuple[str, ...]:
        """Return the problems found in the data."""
        return (*self.data.warnings, *self.extractor.warnings)

    def provenance(self) -> Provenance:
        """Return what the run was made from."""
        data, trained = self.data, self.trained
        return Provenance(
            dataset=data.dataset,
            source=self.raw.facts.get("source"),
            sha256={
                "train": {"images": data.train_images.sha256, "labels": data.train_labels.sha256},
                "test": {"images": data.test_images.sha256, "labels": data.test_labels.sha256},
            },
            networks={
                "generator": trained.generator.sha256,
                "averaged generator": trained.average.sha256,
                FEATURE_EXTRACTOR: self.extractor.weights.sha256,
            },
            extractor_accuracy=self.extractor.facts.get("test_accuracy"),
            training=trained.facts,
            seconds={name: record.seconds for name, record in self.by_stage.items()},
        )

    @property
    def by_stage(self) -> dict[str, StageRecord]:
        """Return the results of the stages, by their key in `manifest.json` and `metrics.json`."""
        return {
            "fetch": self.raw,
            "normalize": self.data,
            **({"fit": self.extractor} if self.extractor.facts else {}),  # those of a shipped one are of no stage
            "train": self.trained,
            "render": self.pictures,
            "floor": self.floor,
            "separate": self.separated,
        }


class Reference(StageRecord):
    """An earlier run that this one is compared with."""

    name: str
    average: FileRef = Field(description=".keras, the averaged weights")
    samples: FileRef = Field(description=".npz, key images")
    average_samples: FileRef
    conditions: dict[str, str] = Field({}, description="its settings, code, versions and device, as text by name")


class Champion(StageRecord):
    """The run whose generator is in use, and which a new run has to beat."""

    name: str
    average: FileRef | None = Field(description=".keras, the averaged weights; null if the champion is damaged")
    average_samples: FileRef | None = Field(description=".npz, key images")
    obstacle: str = Field("", description="why a comparison with it is impossible; empty if it is possible")
    reached: tuple[Quality, ...] = Field((), description="the best values that it and the champions before it reached")


class Opponents(StageRecord):
    """The earlier runs that a new run is compared with."""

    reference: Reference | None
    champion: Champion | None

    @property
    def suffix(self) -> str:
        """For the name of a task run: the gate may decide again, against another champion."""
        return f", gate against {self.champion.name}" if self.champion else ""


class Comparison(StageRecord):
    """Generated images compared with real ones: numbers, samples, pictures and the report."""

    judgement: Judgement
    by_path: dict[RunPath, FileRef]


class PublishedRun(StageRecord):
    """A run in `runs/<name>`. The keys of its files start with that folder."""

    name: str = Field(pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$", description="name of one folder below runs/")
    published: tuple[FileRef, ...]
