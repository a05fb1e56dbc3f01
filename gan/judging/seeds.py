"""Differences between training configurations, over the randomness of their seeds."""

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

CONFIDENCE = 0.95


class SeedDifference(NamedTuple):
    """The difference of two means over seeds, with its confidence interval."""

    value: float
    low: float
    high: float


def compare_seeds(values: Sequence[float], others: Sequence[float], *, num_intervals: int) -> SeedDifference | None:
    """Return how much the mean of `values` is above that of `others`, with Welch's interval (Welch 1947).

    The standard deviations need not be equal. Values count as normally distributed.

    Args:
        values: A number for each seed of one configuration.
        others: The same for another configuration; the seeds may differ.
        num_intervals: So many intervals are meant to hold together with the probability CONFIDENCE (Bonferroni).

    Returns:
        None with fewer than two seeds on a side, or if all values on both sides are equal.
    """
    from scipy.stats import ttest_ind  # a second to import

    if min(len(values), len(others)) < 2 or len({*values}) == len({*others}) == 1:
        return None
    confidence = 1 - (1 - CONFIDENCE) / num_intervals
    found = ttest_ind(values, others, equal_var=False).confidence_interval(confidence)
    return SeedDifference(fmean(values) - fmean(others), float(found.low), float(found.high))
