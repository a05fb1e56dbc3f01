"""Numbers as they are written: JSON that any program can parse, decimal notation for people, no rounding artefacts."""

import json
from collections.abc import Mapping
from math import isfinite

import numpy as np

from gan.formatting import SETTING_DIGITS, round_significant


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
        return round_significant(value, SETTING_DIGITS)
    return value
