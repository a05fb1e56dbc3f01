"""JSON that any program can parse: finite numbers only, in plain decimal notation, without floating-point artefacts."""

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
        The text, in the order given, without a newline at the end.

    Raises:
        ValueError: If a number is not finite; the message names it.
        TypeError: If a value is of any other kind.
    """
    return _write(content, "", indent, "content")


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
    shortest = float(value if isinstance(value, float) else str(value))  # np.float64 is a float, np.float32 is not
    rounded = float(f"{shortest:.{digits}g}") + 0.0  # adding zero turns -0.0 into 0.0
    is_plain = rounded == 0 or SMALLEST_PLAIN <= abs(rounded) < LARGEST_PLAIN
    return format(Decimal(repr(rounded)), "f") if is_plain else repr(rounded)


def _write(value: object, margin: str, indent: int | None, place: str) -> str:
    inner = margin + " " * (indent or 0)
    if isinstance(value, np.ndarray):
        value = list(value)
    if isinstance(value, np.bool_ | np.integer):
        value = value.item()
    if isinstance(value, float | np.floating):
        if not isfinite(value):
            raise ValueError(
                f"JSON has no number for {value} at {place}.\nWrite null there, and beside it the reason why it is not "
                "defined."
            )
        return plain_number(value)
    if isinstance(value, Mapping):
        names = [json.dumps(str(key), ensure_ascii=False) for key in value]
        items = [_write(item, inner, indent, f"{place}.{key}") for key, item in value.items()]
        pairs = [f"{name}: {item}" for name, item in zip(names, items, strict=True)]
        return _enclose("{", pairs, "}", margin, indent)
    if isinstance(value, list | tuple):
        items = [_write(item, inner, indent, f"{place}[{index}]") for index, item in enumerate(value)]
        return _enclose("[", items, "]", margin, indent)
    return json.dumps(value, ensure_ascii=False)


def _enclose(opening: str, items: list[str], closing: str, margin: str, indent: int | None) -> str:
    if not items:
        return opening + closing
    if indent is None:
        return f"{opening}{', '.join(items)}{closing}"
    inner = f"\n{margin}{' ' * indent}"
    return f"{opening}{inner}{f',{inner}'.join(items)}\n{margin}{closing}"
