"""Numbers, shares and durations as people read them."""

from decimal import Decimal
from math import isfinite
from typing import Any

import numpy as np

SETTING_DIGITS = 15
"""Every number of up to 15 significant digits is the same number again when it is read (IEEE 754 double precision)."""

SMALLEST_PLAIN, LARGEST_PLAIN = 1e-9, 1e16


def plain_number(value: float | np.floating[Any], digits: int = SETTING_DIGITS) -> str:
    """Write a number in decimal notation, as a person would.

    Args:
        value: Finite. A float32 counts as the shortest decimal number that gives it.
        digits: Significant digits, at most.

    Returns:
        The text with a decimal point; an exponent only if |value| < 1e-9 or >= 1e16.

    Raises:
        ValueError: If the number is not finite.
    """
    if not isfinite(value):
        raise ValueError(f"plain_number got {value}; it expects a finite number. Write null, and the reason.")
    rounded = _without_artefacts(value, digits)
    is_plain = rounded == 0 or SMALLEST_PLAIN <= abs(rounded) < LARGEST_PLAIN
    return format(Decimal(repr(rounded)), "f") if is_plain else repr(rounded)


def _without_artefacts(value: float | np.floating[Any], digits: int) -> float:
    """The nearest number of so many significant digits, so that 0.1 + 0.2 is 0.3; of a float32 its shortest form."""
    shortest = float(value if isinstance(value, float) else str(value))  # np.float64 is a float, np.float32 is not
    return float(f"{shortest:.{digits}g}") + 0.0  # adding zero turns -0.0 into 0.0


NOT_DEFINED = "not defined"
"""What stands in the place of a number that is null."""


def describe_number(value: float | None) -> str:
    """Three significant digits, thousands separated, no exponent; "not defined" for None, NaN and infinity."""
    if value is None or not isfinite(value):
        return NOT_DEFINED
    return f"{value:,.0f}" if 100 <= abs(value) < LARGEST_PLAIN else describe_setting(value, 3)


def describe_setting(value: float, digits: int = SETTING_DIGITS) -> str:
    """A number as a person would set it, such as 0.00001; see `gan.formatting.plain_number`."""
    return plain_number(value, digits).removesuffix(".0")


def describe_deviation(value: float) -> str:
    """A standard deviation, to stand behind a mean: two digits, since over few seeds it is itself uncertain."""
    return f"± {value:,.0f}" if 10 <= value < LARGEST_PLAIN else f"± {describe_setting(value, 2)}"


def describe_mean(mean: float | None, deviation: float | None) -> str:
    """A mean over seeds with its standard deviation; without one where it is of one seed."""
    return describe_number(mean) if deviation is None else f"{describe_number(mean)} {describe_deviation(deviation)}"


def describe_change(value: float | None) -> str:
    """A number with its sign; "not defined" for None, NaN and infinity."""
    if value is None or not isfinite(value):
        return NOT_DEFINED
    return f"{'+' if value >= 0 else '−'}{describe_number(abs(value))}"


def describe_interval(low: float | None, high: float | None) -> str:
    """Both ends with their signs; "not defined" if either is."""
    ends = describe_change(low), describe_change(high)
    return NOT_DEFINED if NOT_DEFINED in ends else " to ".join(ends)


def describe_share(share: float | None) -> str:
    """A share as a percentage of three digits at most; "not defined" for None, NaN and infinity."""
    if share is None or not isfinite(share):
        return NOT_DEFINED
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 99.95 else f"{describe_setting(percent, 3)} %"


def describe_seconds(seconds: float | None) -> str:
    """A duration as people say it; "not defined" for None, NaN and infinity."""
    if seconds is None or not isfinite(seconds):
        return NOT_DEFINED
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
