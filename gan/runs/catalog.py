"""What the published runs of an output folder say of themselves, for pages that list many runs.

The folders are untrusted input: they may be of an earlier version, altered, or half-deleted. A run that cannot be read
is left out.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from gan.judging.faults import BROKEN, FAR_FROM_REAL, doubts_recall
from gan.judging.gate import ON_FEW_IMAGES
from gan.judging.measured import finite_or_none
from gan.runs.manifest import AVERAGE_GENERATOR, PublishedData, PublishedFile
from gan.runs.publish import CONFIG_FILE, MANIFEST_FILE, METRICS_FILE, RUN_NAME


class _Code(BaseModel, extra="ignore"):
    commit: str | None = Field(None, pattern="^[0-9a-f]{7,64}$")
    modified: bool | None = None


class _Gate(BaseModel, extra="ignore"):
    passes: bool
    champion: str | None = None
    reasons: tuple[str, ...] = ()


class _Manifest(BaseModel, extra="ignore"):
    published: datetime
    recipe: str
    seed: int
    device: str | None = None
    code: _Code = _Code()
    gate: _Gate
    data: PublishedData
    files: tuple[PublishedFile, ...] = ()


Finite = Annotated[float | None, AfterValidator(finite_or_none)]


class _Metric(BaseModel, extra="ignore"):
    average: Finite
    floor: Finite = None
    n: int
    extractor: str


class _Train(BaseModel, extra="allow"):
    steps: int


class _Samples(BaseModel, extra="allow"):
    num_images: int | None = None


class _Config(BaseModel, extra="allow"):
    train: _Train
    samples: _Samples = _Samples()

    @property
    def digest(self) -> str:
        """Digest of the settings that runs must share to be compared.

        It leaves out the seeds, the snapshot settings, the samples, whose `n` is compared separately, and the
        recipe's paper.
        """
        train = self.train.model_dump(exclude={"seed", "sample_every", "num_snapshot_images"})
        if isinstance(card := train.get("recipe"), dict):
            train["recipe"] = {name: value for name, value in card.items() if name != "paper"}
        content = {**self.model_dump(exclude={"train", "samples"}), "train": train}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


class _Separation(BaseModel, extra="ignore"):
    accuracy: Finite


class _Training(BaseModel, extra="ignore"):
    training_seconds: Finite = None


class _Metrics(BaseModel, extra="ignore"):
    badge: str = ""
    verdict: str
    metrics: dict[str, _Metric]
    separation: _Separation | None = None  # runs of earlier versions have none
    training: _Training
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A published run, in the numbers of its averaged weights."""

    name: str
    generator: str | None  # SHA-256 of the averaged one
    published: datetime
    recipe: str
    seed: int
    steps: int
    settings: str  # digest of the settings that runs must share to be compared
    num_samples: int | None
    dataset: str
    images: tuple[str | None, ...]  # SHA-256 of both splits
    device: str | None
    commit: str | None
    modified: bool | None  # whether the code had changes that were in no commit
    passes: bool  # the gate
    reasons: tuple[str, ...]  # of the gate, a sentence each
    champion: str | None  # when the run was judged
    badge: str
    verdict: str
    distance: float | None  # Fréchet
    recall: float | None  # 0 to 1
    is_recall_doubtful: bool  # no measure of variety, because precision is too low
    coverage: float | None  # 0 to 1
    two_sample_accuracy: float | None  # of the network or the linear classifier, whichever is right more often, 0 to 1
    n: int
    extractor: str
    seconds: float | None  # of training
    warnings: tuple[str, ...]

    @property
    def identity(self) -> tuple[str, str | None]:
        """Run and generator, as in the history of the champion."""
        return self.name, self.generator

    @property
    def code(self) -> str | None:
        """Commit, and whether there were changes to it, as text."""
        return f"{self.commit} with changes" if self.commit and self.modified else self.commit

    @property
    def judged_by(self) -> str:
        """Number of images and features: numbers of runs with others cannot be compared."""
        return f"{self.n:,} real and as many generated images, {self.extractor} features"

    @property
    def comparison_key(self) -> tuple[str, int, str, str]:
        """Recipe, steps, settings, and how it was judged: the numbers of runs with equal ones can be compared."""
        return self.recipe, self.steps, self.settings, self.judged_by

    @property
    def is_broken(self) -> bool:
        """Whether its training showed signs of collapse, or its images cannot be used for another reason."""
        return bool(self.warnings) or self.badge == BROKEN

    @property
    def on_few_images(self) -> bool:
        """Whether it was judged on fewer images than the gate requires."""
        return any(reason.startswith(ON_FEW_IMAGES) for reason in self.reasons)

    @property
    def variety(self) -> float | None:
        """Recall, 0 to 1, where it measures variety."""
        return None if self.is_recall_doubtful else self.recall

    @property
    def main_fault(self) -> str:
        """The first reason of the gate that is about the images themselves; empty if there is none."""
        if self.passes:
            return ""
        return next((reason for reason in self.reasons if not reason.startswith(ON_FEW_IMAGES)), "")

    @property
    def is_ordinary(self) -> bool:
        """Whether its numbers count for what is usual."""
        return not self.is_broken and self.badge != FAR_FROM_REAL


def read_catalog(root: Path) -> list[Entry]:
    """Read all published runs of an output folder, the oldest first."""
    entries = [read_entry(folder) for folder in (root / "runs").glob("*") if RUN_NAME.fullmatch(folder.name)]
    return sorted((entry for entry in entries if entry), key=lambda entry: (entry.published, entry.name))


def settings_digest(content: Mapping[str, Any]) -> str:
    """Return the digest of the settings that runs must share to be compared, from the content of `config.json`."""
    return _Config.model_validate(content).digest


def read_entry(folder: Path) -> Entry | None:
    """Read a published run; return None if it cannot be read."""
    try:
        manifest = _Manifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
        content = _Metrics.model_validate_json((folder / METRICS_FILE).read_bytes())
        config = _Config.model_validate_json((folder / CONFIG_FILE).read_bytes())
        names = "frechet_distance", "recall", "coverage", "two_sample_accuracy"
        distance, recall, coverage, linear = (content.metrics[name] for name in names)
        precision = content.metrics.get("precision")
        accuracies = linear.average, content.separation.accuracy if content.separation else None
    except (OSError, ValidationError, KeyError):
        return None
    if manifest.published.tzinfo is None or not re.fullmatch(r"[\w.-]+", manifest.recipe):
        return None
    return Entry(
        name=folder.name,
        generator=next((file.sha256 for file in manifest.files if file.path == AVERAGE_GENERATOR), None),
        published=manifest.published,
        recipe=manifest.recipe,
        seed=manifest.seed,
        device=manifest.device,
        commit=manifest.code.commit,
        modified=manifest.code.modified,
        steps=config.train.steps,
        settings=config.digest,
        num_samples=config.samples.num_images,
        dataset=manifest.data.name,
        images=manifest.data.images,
        passes=manifest.gate.passes,
        reasons=manifest.gate.reasons,
        champion=manifest.gate.champion,
        badge=content.badge or ("Passes the gate" if manifest.gate.passes else "Does not pass the gate"),
        verdict=content.verdict,
        distance=distance.average,
        recall=recall.average,
        is_recall_doubtful=precision is not None and doubts_recall(precision.average, precision.floor),
        coverage=coverage.average,
        two_sample_accuracy=max((accuracy for accuracy in accuracies if accuracy is not None), default=None),
        n=distance.n,
        extractor=distance.extractor,
        seconds=content.training.training_seconds,
        warnings=content.warnings,
    )
