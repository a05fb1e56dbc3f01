"""Formatting of numbers, shares and durations for readers."""

from decimal import Decimal
from math import isfinite
from typing import Any

import numpy as np

from gan.storage.plain_json import SETTING_DIGITS, round_significant

SMALLEST_PLAIN, LARGEST_PLAIN = 1e-9, 1e16
NOT_DEFINED = "not defined"  # text for None, NaN and infinity


def plain_number(value: float | np.floating[Any], digits: int = SETTING_DIGITS) -> str:
    """Write a finite number in decimal notation with a decimal point; use an exponent only below 1e-9 or from 1e16 up.

    `digits` is the maximal number of significant digits, so that 0.1 + 0.2 is written as 0.3.
    """
    if not isfinite(value):
        raise ValueError(f"plain_number got {value}; it expects a finite number. Write null with a reason instead.")
    rounded = round_significant(value, digits)
    is_plain = rounded == 0 or SMALLEST_PLAIN <= abs(rounded) < LARGEST_PLAIN
    return format(Decimal(repr(rounded)), "f") if is_plain else repr(rounded)


def describe_number(value: float | None) -> str:
    """Format a number with three significant digits, a thousands separator and a minus sign."""
    if value is None or not isfinite(value):
        return NOT_DEFINED
    size = abs(value)
    digits = f"{size:,.0f}" if 100 <= size < LARGEST_PLAIN else describe_setting(size, 3)
    return f"−{digits}" if value < 0 else digits


def describe_setting(value: float, digits: int = SETTING_DIGITS) -> str:
    """Format a number like `plain_number`, without a trailing ".0"."""
    return plain_number(value, digits).removesuffix(".0")


def describe_deviation(value: float) -> str:
    """Format a standard deviation with two digits, since an estimate from few seeds is itself uncertain."""
    return f"± {value:,.0f}" if 10 <= value < LARGEST_PLAIN else f"± {describe_setting(value, 2)}"


def describe_mean(mean: float | None, deviation: float | None) -> str:
    """Format a mean over seeds with its standard deviation, if there is one."""
    return describe_number(mean) if deviation is None else f"{describe_number(mean)} {describe_deviation(deviation)}"


def describe_change(value: float | None) -> str:
    """Format a number with its sign; 0 has none."""
    is_positive = value is not None and isfinite(value) and value > 0
    return f"{'+' if is_positive else ''}{describe_number(value)}"


def describe_interval(low: float | None, high: float | None) -> str:
    """Format both ends of an interval with their signs; "not defined" if either end is not defined."""
    ends = describe_change(low), describe_change(high)
    return NOT_DEFINED if NOT_DEFINED in ends else " to ".join(ends)


def describe_share(share: float | None) -> str:
    """Format a share, 0 to 1, as a percentage with up to three significant digits."""
    if share is None or not isfinite(share):
        return NOT_DEFINED
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 99.95 else f"{describe_setting(percent, 3)} %"


def describe_seconds(seconds: float | None) -> str:
    """Format a duration in seconds, minutes or hours."""
    if seconds is None or not isfinite(seconds):
        return NOT_DEFINED
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
