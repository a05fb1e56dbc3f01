"""What the published runs of an output folder say of themselves, for pages that list many runs.

The folders are untrusted input: they may be of an earlier version, altered, or half-deleted. A run that cannot be read
is left out.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from gan.judging.gate import BROKEN
from gan.judging.measured import finite_or_none
from gan.runs.manifest import AVERAGE_GENERATOR, PublishedFile
from gan.runs.publish import CONFIG_FILE, MANIFEST_FILE, METRICS_FILE, RUN_NAME

MIN_USUAL = 3
"""Fewest earlier runs from which control limits are computed."""

SIGMAS = 3
"""Half-width of the control limits, in standard deviations."""

LEAST_DEVIATION = 0.01
"""Least standard deviation, relative to the mean. Runs of equal seeds have equal numbers, so their deviation is 0."""


class _Code(BaseModel, extra="ignore"):
    commit: str | None = Field(None, pattern="^[0-9a-f]{7,64}$")


class _Gate(BaseModel, extra="ignore"):
    passes: bool
    champion: str | None = None


class _Manifest(BaseModel, extra="ignore"):
    published: datetime
    recipe: str
    seed: int
    device: str | None = None
    code: _Code = _Code()
    gate: _Gate
    files: tuple[PublishedFile, ...] = ()


Finite = Annotated[float | None, AfterValidator(finite_or_none)]


class _Metric(BaseModel, extra="ignore"):
    average: Finite
    n: int
    extractor: str


class _Train(BaseModel, extra="allow"):
    steps: int


class _Config(BaseModel, extra="allow"):
    train: _Train

    @property
    def digest(self) -> str:
        """Digest of the settings that runs must share to be compared.

        It leaves out the seeds, the snapshot settings and the samples; `n` is compared separately.
        """
        train = self.train.model_dump(exclude={"seed", "sample_every", "num_snapshot_images"})
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
    device: str | None
    commit: str | None
    passes: bool  # the gate
    champion: str | None  # when the run was judged
    badge: str
    verdict: str
    distance: float | None  # Fréchet
    recall: float | None  # 0 to 1
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
    def comparison_key(self) -> tuple[str, int, str, str]:
        """Recipe, steps, settings, and how it was judged: the numbers of runs with equal ones can be compared."""
        return (
            self.recipe,
            self.steps,
            self.settings,
            f"{self.n:,} real and as many generated images, {self.extractor} features",
        )

    @property
    def is_broken(self) -> bool:
        """Whether its training showed signs of collapse, or its images cannot be used for another reason."""
        return bool(self.warnings) or self.badge == BROKEN


@dataclass(frozen=True)
class ControlLimits:
    """Mean of a number over earlier runs, and the limits within which a value is usual."""

    mean: float
    low: float
    high: float


def read_catalog(root: Path) -> list[Entry]:
    """Read all published runs of an output folder, the oldest first."""
    entries = [_read(folder) for folder in (root / "runs").glob("*") if RUN_NAME.fullmatch(folder.name)]
    return sorted((entry for entry in entries if entry), key=lambda entry: (entry.published, entry.name))


def _read(folder: Path) -> Entry | None:
    try:
        manifest = _Manifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
        content = _Metrics.model_validate_json((folder / METRICS_FILE).read_bytes())
        config = _Config.model_validate_json((folder / CONFIG_FILE).read_bytes())
        names = "frechet_distance", "recall", "coverage", "two_sample_accuracy"
        distance, recall, coverage, linear = (content.metrics[name] for name in names)
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
        steps=config.train.steps,
        settings=config.digest,
        passes=manifest.gate.passes,
        champion=manifest.gate.champion,
        badge=content.badge or ("Passes the gate" if manifest.gate.passes else "Does not pass the gate"),
        verdict=content.verdict,
        distance=distance.average,
        recall=recall.average,
        coverage=coverage.average,
        two_sample_accuracy=max((accuracy for accuracy in accuracies if accuracy is not None), default=None),
        n=distance.n,
        extractor=distance.extractor,
        seconds=content.training.training_seconds,
        warnings=content.warnings,
    )


def control_limits(values: Iterable[float | None]) -> ControlLimits | None:
    """Return mean and 3-sigma limits of earlier values (Shewhart 1931); None if there are too few."""
    known = [value for value in values if value is not None]
    if len(known) < MIN_USUAL:
        return None
    mean = fmean(known)
    deviation = max(stdev(known), LEAST_DEVIATION * abs(mean))
    return ControlLimits(mean, mean - SIGMAS * deviation, mean + SIGMAS * deviation)


def earlier_comparable_runs(entry: Entry, entries: Sequence[Entry]) -> list[Entry]:
    """Return the runs that were published before a run and can be compared with it, except broken ones."""
    order = [each for each in entries if each.comparison_key == entry.comparison_key]
    return [each for each in order[: order.index(entry)] if not each.is_broken]
