"""Narrow the types of optional values, for tests."""

from typing import TypeVar

T = TypeVar("T")


def not_none(value: T | None) -> T:
    """Return the value, which the test expects to exist."""
    assert value is not None
    return value
