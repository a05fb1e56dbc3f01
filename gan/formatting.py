"""Formatting of numbers, shares and durations for readers."""

from collections.abc import Sequence
from decimal import Decimal
from math import isfinite
from typing import Any

import numpy as np

from gan.storage.plain_json import SETTING_DIGITS, round_significant

SMALLEST_PLAIN, LARGEST_PLAIN = 1e-9, 1e16
MAX_NAMES = 3
NOT_DEFINED = "not defined"  # text for None, NaN and infinity


def describe_setting(value: float | np.floating[Any], digits: int = SETTING_DIGITS) -> str:
    """Format a finite number in decimal notation, without a trailing ".0"; use an exponent below 1e-9 or from 1e16 up.

    `digits` is the maximal number of significant digits, so that 0.1 + 0.2 is written as 0.3.
    """
    if not isfinite(value):
        raise ValueError(f"describe_setting got {value}; it expects a finite number. Write null with a reason instead.")
    rounded = round_significant(value, digits)
    is_plain = rounded == 0 or SMALLEST_PLAIN <= abs(rounded) < LARGEST_PLAIN
    return (format(Decimal(repr(rounded)), "f") if is_plain else repr(rounded)).removesuffix(".0")


def describe_number(value: float | None, digits: int = 3) -> str:
    """Format a number with that many significant digits, a thousands separator and a minus sign."""
    if value is None or not isfinite(value):
        return NOT_DEFINED
    size = abs(value)
    text = f"{size:,.0f}" if 10 ** (digits - 1) <= size < LARGEST_PLAIN else describe_setting(size, digits)
    return f"−{text}" if value < 0 else text


def describe_deviation(value: float) -> str:
    """Format a standard deviation with two digits, since an estimate from few seeds is itself uncertain."""
    return f"± {value:,.0f}" if 10 <= value < LARGEST_PLAIN else f"± {describe_setting(value, 2)}"


def describe_change(value: float | None, *, is_share: bool = False) -> str:
    """Format a difference with its sign and two digits: of differences the noise is larger than the third. 0 has none.

    A difference of shares is in percentage points, written as per cent.
    """
    is_positive = value is not None and isfinite(value) and value > 0
    return f"{'+' if is_positive else ''}{describe_value(value, is_share=is_share, digits=2)}"


def describe_interval(low: float | None, high: float | None, *, is_share: bool = False) -> str:
    """Format both ends of an interval with their signs; "not defined" if either end is not defined."""
    ends = describe_change(low, is_share=is_share), describe_change(high, is_share=is_share)
    return NOT_DEFINED if NOT_DEFINED in ends else f"{ends[0].removesuffix(' %')} to {ends[1]}"


def describe_value(value: float | None, *, is_share: bool, digits: int = 3) -> str:
    """Format the value of a metric: as a percentage if it is a share."""
    return describe_share(value, digits) if is_share else describe_number(value, digits)


def describe_share(share: float | None, digits: int | None = None) -> str:
    """Format a share, or a difference of shares, as a percentage with up to that many significant digits.

    None means two digits, and three from 99 % on: of 10,000 images, the third digit of other shares is noise. Three are
    for tables of metrics, and for values beside the limit that they exceed.
    """
    if share is None or not isfinite(share):
        return NOT_DEFINED
    if digits is None:
        digits = 3 if abs(share) >= 0.99 else 2
    return f"{describe_number(100 * share, digits)} %"


def describe_seconds(seconds: float | None) -> str:
    """Format a duration in seconds, minutes or hours."""
    if seconds is None or not isfinite(seconds):
        return NOT_DEFINED
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def list_names(names: Sequence[str]) -> str:
    """Return the first MAX_NAMES names, and how many more there are."""
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more
