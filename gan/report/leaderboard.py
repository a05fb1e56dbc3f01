"""The leaderboard of a sweep: the metrics of every training configuration over its seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import log
from pathlib import Path

from gan.formatting import (
    describe_change,
    describe_deviation,
    describe_interval,
    describe_value,
    list_names,
)
from gan.judging.definitions import SHARES
from gan.judging.faults import doubts_recall
from gan.judging.seeds import SeedDifference

MEASURES = ("frechet_distance", "recall", "coverage", "precision", "two_sample_accuracy", "near_copies")
"""Metrics of the averaged weights, which the gate also uses; rows are sorted by the first."""

AVERAGE_GRID = "average_grid.png"
MIN_SEEDS = 3  # with fewer seeds, a mean is not meaningful


@dataclass(frozen=True)
class Result:
    """A published run of a sweep."""

    variant: str  # recipe, and the hyperparameters that were changed
    seed: int
    run: str
    folder: Path
    values: dict[str, float | None]  # by name of MEASURES; None if not defined
    titles: dict[str, str]  # of the metrics, by name
    n: int
    extractor: str
    generator: str  # SHA-256 of the averaged generator
    seconds: float | None  # of training
    undefined: dict[str, str] = field(default_factory=dict)  # reasons why a metric is not defined, by name
    data_warnings: tuple[str, ...] = ()
    floors: Mapping[str, float | None] = field(default_factory=dict)  # values of real images, by name
    is_broken: bool = False  # its training showed signs of collapse, or its images cannot be used for another reason
    commit: str | None = None  # of the code that published it
    device: str | None = None  # that trained it

    @property
    def distance(self) -> float | None:
        """Fréchet distance, by which runs are ranked."""
        return self.values[MEASURES[0]]


@dataclass(frozen=True)
class Failure:
    """A training that failed."""

    variant: str
    seed: int
    reason: str

    @property
    def described(self) -> str:
        """Configuration, seed and reason in one line."""
        return f"{self.variant}, seed {self.seed}: {self.reason}"


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation over seeds; not defined unless the value of every seed is."""

    mean: float | None
    deviation: float | None  # None for a single seed
    undefined: str = ""  # the reason if the mean is None
    is_share: bool = False

    @property
    def described_mean(self) -> str:
        """The mean as text."""
        return describe_value(self.mean, is_share=self.is_share)

    @property
    def described_deviation(self) -> str:
        """The standard deviation as text; empty if there is none."""
        if self.deviation is None:
            return ""
        return f"{describe_deviation(100 * self.deviation)} %" if self.is_share else describe_deviation(self.deviation)

    @property
    def described(self) -> str:
        """Mean and standard deviation as text."""
        return f"{self.described_mean} {self.described_deviation}".rstrip()


@dataclass(frozen=True)
class Row:
    """A training configuration, over its seeds."""

    variant: str
    seeds: tuple[int, ...]
    num_failed: int
    measures: dict[str, Spread]
    seconds: Spread
    best: Result
    results: tuple[Result, ...]  # one for each seed
    gap: SeedDifference | None = None  # of the mean Fréchet distance from that of the first row; None if not known

    @property
    def distance(self) -> Spread:
        """The Fréchet distance, by which rows are ranked."""
        return self.measures[MEASURES[0]]

    @property
    def num_broken(self) -> int:
        """Number of runs that cannot be used."""
        return sum(result.is_broken for result in self.results)

    @property
    def faults(self) -> str:
        """How many of its trainings failed, and how many runs are broken; empty for none."""
        total = len(self.results) + self.num_failed
        counts = {"failed": self.num_failed, "broken": self.num_broken}
        return ", ".join(f"{num} of {total} {what}" for what, num in counts.items() if num)

    @property
    def described_seeds(self) -> str:
        """The seeds, and the number of failed and of broken ones."""
        return "; ".join(filter(None, (", ".join(map(str, self.seeds)), self.faults)))

    @property
    def described_gap(self) -> str:
        """The difference from the first row with its interval; empty if it is not known."""
        if self.gap is None:
            return ""
        return f"{describe_change(self.gap.value)} ({describe_interval(self.gap.low, self.gap.high)})"

    @property
    def is_recall_doubtful(self) -> bool:
        """Whether recall measures no variety, because the precision is too low."""
        return doubts_recall(self.measures["precision"].mean, self.best.floors.get("precision"))


@dataclass(frozen=True)
class Leaderboard:
    """The content of the leaderboard page."""

    rows: Sequence[Row]
    failures: Sequence[Failure]
    title: str = ""  # what the sweep compares
    gate: Sequence[str] = ()  # decisions of the gate on the best runs
    command: str = ""  # which makes this leaderboard again
    made: str = ""  # when, by which code, on which devices

    def place(self, distance: float | None) -> float | None:
        """Return where a Fréchet distance is on a logarithmic scale of all of this page, 0 to 100; None for none."""
        found = [result.distance for row in self.rows for result in row.results] + [self.floor]
        known = [value for value in found if value is not None and value > 0]
        if distance is None or distance <= 0 or min(known) == max(known):
            return None
        return 100 * log(distance / min(known)) / log(max(known) / min(known))

    @property
    def floors(self) -> Mapping[str, float | None]:
        """Values of real images, by name of the metric."""
        return self.rows[0].best.floors if self.rows else {}

    @property
    def floor(self) -> float | None:
        """Fréchet distance of real images."""
        return self.floors.get(MEASURES[0])

    @property
    def described_floors(self) -> list[str]:
        """The values of real images as text, for the columns of `measures`; empty where there is none."""
        found = ((self.floors.get(name), name) for name, _ in self.measures)
        return ["" if value is None else describe_value(value, is_share=name in SHARES) for value, name in found]

    @property
    def verdict(self) -> str:
        """Say which configuration is the best, and whether the seeds show it."""
        first, *others = self.rows
        seeds = f"{len(first.seeds)} seed{'s' if len(first.seeds) > 1 else ''}"
        distance = f"a mean Fréchet distance of {first.distance.described_mean} over {seeds}"
        place = "is first, with" if others else "has"
        parts = [f"{first.variant} {place} {distance}; its best run is {first.best.run}."]
        reliable = [row for row in others if not row.faults]
        fewest = min(len(row.seeds) for row in (first, *reliable))
        if first.faults:
            alone = ", and no other combination is without such trainings" if others else ""
            parts.append(f"Its trainings: {first.faults}{alone}.")
        elif reliable and fewest < MIN_SEEDS:
            parts.append(f"With fewer than {MIN_SEEDS} seeds each, this ranks trainings, not combinations.")
        elif alike := [row.variant for row in reliable if row.gap is None or row.gap.low <= 0]:
            parts.append(f"These seeds do not tell it from {list_names(alike)}.")
        elif reliable:
            which = "the others" if reliable == others else "the others without failed or broken trainings"
            parts.append(f"It is better than {which}, beyond the noise of seeds.")
        parts += [
            f"{row.variant} has a lower mean, {row.distance.described_mean}, but of its trainings {row.faults}."
            for row in others
            if row.faults and not first.faults and is_less(row.distance.mean, first.distance.mean)
        ]
        return " ".join(parts)

    @property
    def measures(self) -> list[tuple[str, str]]:
        """Names and titles of the metrics that are columns."""
        return list(self.rows[0].best.titles.items()) if self.rows else []

    @property
    def described(self) -> str:
        """Number of images and features that the metrics are computed on."""
        best = self.rows[0].best
        return f"{best.n:,} real and as many generated images, {best.extractor} features (not an FID)"

    @property
    def data_warnings(self) -> tuple[str, ...]:
        """Warnings about the data, each once, since all runs use the same data."""
        return tuple(dict.fromkeys(warning for row in self.rows for warning in row.best.data_warnings))

    @property
    def winner(self) -> Result | None:
        """The best run of the best configuration; None if no training succeeded."""
        return self.rows[0].best if self.rows else None


def is_less(value: float | None, other: float | None) -> bool:
    """Return whether both values are defined and the first is the lower one."""
    return value is not None and other is not None and value < other
