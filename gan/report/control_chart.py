"""Control charts: a number of each run over time, with the band of usual values."""

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from typing import Literal

from gan.report.usual import ControlLimits, control_limits
from gan.runs.catalog import Entry

MAX_IN_CHART = 90
WIDTH, HEIGHT, MARGIN = 720, 150, 8  # of a chart, in units of its viewBox


@dataclass(frozen=True)
class Point:
    """A run on a control chart."""

    entry: Entry
    x: float
    y: float
    value: str
    mark: Literal["broken", "worse", "better", "run"]  # worse or better than usual, or broken
    became_champion: bool
    new_code: bool  # other code than that of the run before


@dataclass(frozen=True)
class Chart:
    """A control chart of one number over the runs of a recipe, the oldest first, in units of the viewBox."""

    title: str
    points: Sequence[Point]
    band: str  # points of the polygon of usual values; empty if there are too few runs
    low: str
    high: str


def control_chart(
    title: str,
    runs: Sequence[Entry],
    champions: Set[tuple[str, str | None]],
    value_of: Callable[[Entry], float | None],
    describe: Callable[[float | None], str],
    *,
    low_is_good: bool,
) -> Chart:
    """Return the chart of a number.

    Args:
        title: Name of the number.
        runs: The runs of a recipe that can be compared, the oldest first; the last MAX_IN_CHART are shown.
        champions: Identities of the runs that became champion.
        value_of: Returns the number of a run; None if the run has none.
        describe: Formats the number.
        low_is_good: Whether a run with a lower number is the better one.
    """
    first = max(0, len(runs) - MAX_IN_CHART)
    shown = runs[first:]
    numbers = [value_of(each) if each.is_ordinary else None for each in runs]
    limits = [control_limits(numbers[:place]) for place in range(first, len(runs))]
    found = [(place, entry, value) for place, entry in enumerate(shown) if (value := value_of(entry)) is not None]
    ends = [end for limit in limits if limit for end in (limit.low, limit.high)]
    # Other runs are drawn at the edge: one collapse must not flatten the curve of all nights.
    ordinary = [value for value in numbers[first:] if value is not None]
    low, high = _range([*(ordinary or [value for *_, value in found]), *ends])

    def place_x(place: int) -> float:
        return round(MARGIN + (WIDTH - 2 * MARGIN) * place / max(1, len(shown) - 1), 1)

    def place_y(value: float) -> float:
        inside = min(high, max(low, value))
        return round(HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (inside - low) / (high - low), 1)

    points = [
        Point(
            entry=entry,
            x=place_x(place),
            y=place_y(value),
            value=describe(value),
            mark=_mark(entry, value, limits[place], low_is_good=low_is_good),
            became_champion=entry.identity in champions,
            new_code=place > 0 and entry.code != shown[place - 1].code,
        )
        for place, entry, value in found
    ]
    known = [(place_x(place), limit) for place, limit in enumerate(limits) if limit]
    outline = [(x, limit.low) for x, limit in known] + [(x, limit.high) for x, limit in reversed(known)]
    band = " ".join(f"{x},{place_y(value)}" for x, value in outline)
    return Chart(title, points, band, low=describe(low), high=describe(high))


def _mark(
    entry: Entry, value: float, limits: ControlLimits | None, *, low_is_good: bool
) -> Literal["broken", "worse", "better", "run"]:
    if entry.is_broken:
        return "broken"
    if limits is None or limits.low <= value <= limits.high:
        return "run"
    if (value < limits.low) != low_is_good:
        return "worse"
    return "better" if entry.is_ordinary else "run"


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of an axis: 0, or a little below the least value, and a little above the largest one."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return max(0.0, low - room), high + room
