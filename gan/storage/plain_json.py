"""Strict JSON that any program can parse, with numbers free of rounding artefacts."""

import json
from collections.abc import Mapping
from math import isfinite

import numpy as np

from gan.formatting import SETTING_DIGITS, round_significant


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
