"""Strict JSON that any program can parse, with numbers free of rounding artefacts."""

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any

import numpy as np

SETTING_DIGITS = 15
"""Decimal numbers of up to 15 significant digits survive conversion to a double and back (IEEE 754)."""


def to_json(content: object, *, indent: int | None = 2) -> str:
    """Write plain values, NumPy scalars and arrays as strict JSON; `indent` None writes one line.

    The text has no final newline; keys keep their order, and floating-point numbers have up to 15 digits.

    Raises:
        ValueError: If a number is not finite; the message says where it is.
        TypeError: If a value has another type.
    """
    return json.dumps(_to_plain(content, "content"), indent=indent, ensure_ascii=False, allow_nan=False)


def _to_plain(value: object, place: str) -> object:
    if isinstance(value, Mapping):
        return {key: _to_plain(item, f"{place}.{key}") for key, item in value.items()}
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, list | tuple | np.ndarray):
        return [_to_plain(item, f"{place}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, np.bool_ | np.integer):
        return value.item()
    if isinstance(value, float | np.floating):
        if not isfinite(value):
            raise ValueError(
                f"JSON has no number for {value} at {place}.\nWrite null there, and beside it the reason why the "
                "number is not defined."
            )
        return round_significant(value, SETTING_DIGITS)
    return value


def round_significant(value: float | np.floating[Any], digits: int = SETTING_DIGITS) -> float:
    """Round a number to significant digits; a float32 counts as the shortest decimal number that gives it."""
    shortest = float(value if isinstance(value, float) else str(value))  # np.float64 is a float, np.float32 is not
    return float(f"{shortest:.{digits}g}") + 0.0  # adding zero turns -0.0 into 0.0
