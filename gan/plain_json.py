"""Numbers as they are written: JSON that any program can parse, decimal notation for people, no rounding artefacts."""

import json
from collections.abc import Mapping
from decimal import Decimal
from math import isfinite
from typing import Any

import numpy as np

SETTING_DIGITS = 15
"""Every number of up to 15 significant digits is the same number again when it is read (IEEE 754 double precision)."""

SMALLEST_PLAIN, LARGEST_PLAIN = 1e-9, 1e16


def to_json(content: object, *, indent: int | None = 2) -> str:
    """Write plain values as strict JSON.

    Args:
        content: Mappings, lists, tuples, strings, numbers, booleans and None; NumPy scalars and arrays as well.
        indent: Spaces a level; None writes everything on one line.

    Returns:
        The text, in the order given, without a newline at the end. Floating-point numbers have up to 15 digits.

    Raises:
        ValueError: If a number is not finite; the message says where it is.
        TypeError: If a value is of any other kind.
    """
    return json.dumps(_plain(content, "content"), indent=indent, ensure_ascii=False, allow_nan=False)


def _plain(value: object, place: str) -> object:
    """The same value in Python's own types, numbers without floating-point artefacts."""
    if isinstance(value, Mapping):
        return {key: _plain(item, f"{place}.{key}") for key, item in value.items()}
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item, f"{place}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, np.bool_ | np.integer):
        return value.item()
    if isinstance(value, float | np.floating):
        if not isfinite(value):
            raise ValueError(
                f"JSON has no number for {value} at {place}.\nWrite null there, and beside it the reason why it is not "
                "defined."
            )
        return _without_artefacts(value, SETTING_DIGITS)
    return value


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
