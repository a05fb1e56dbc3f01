"""What is usual: control limits of a number over the earlier runs that a run can be compared with."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from gan.runs.catalog import Entry

MIN_USUAL, MAX_USUAL = 5, 30
"""Fewest and most earlier runs that say what is usual. A lasting change counts as usual after half of MAX_USUAL."""

MEDIAN_RANGE = 0.954
"""Median difference of two normal values with standard deviation 1 (without its sign)."""

LEAST_DEVIATION = 0.01
"""Least standard deviation, relative to the median. Runs of equal seeds have equal numbers, so their deviation is 0."""


@dataclass(frozen=True)
class ControlLimits:
    """Median of a number over earlier runs, and the limits within which a value is usual."""

    median: float
    low: float
    high: float


def control_limits(values: Iterable[float | None]) -> ControlLimits | None:
    """Return median and control limits of the last MAX_USUAL values (Shewhart 1931); None if there are too few.

    The standard deviation is computed from the median difference of successive values. So neither a few runs that are
    much worse nor a lasting change widen the limits until they hide what they should show. With few values it is
    uncertain, so the limits are further apart: of normal values 0.4 to 0.7 % are above them and as many below, whether
    there are 5 or 30 (10^6 simulated sets each).

    Args:
        values: Those of earlier runs, the oldest first; None where a run has none.
    """
    known = [value for value in values if value is not None][-MAX_USUAL:]
    if len(known) < MIN_USUAL:
        return None
    middle = median(known)
    typical = median(abs(value - before) for before, value in pairwise(known))
    deviation = max(typical / MEDIAN_RANGE, LEAST_DEVIATION * abs(middle))
    half_width = (2.6 + 19 / len(known)) * deviation
    return ControlLimits(middle, middle - half_width, middle + half_width)


def earlier_comparable_runs(entry: Entry, entries: Sequence[Entry]) -> list[Entry]:
    """Return the runs that were published before a run and can be compared with it, except broken ones."""
    order = [each for each in entries if each.comparison_key == entry.comparison_key]
    return [each for each in order[: order.index(entry)] if not each.is_broken]
