"""Measured numbers: rounded to their significant digits, and null with a reason where a number is not defined."""

from collections.abc import Mapping
from math import isfinite
from typing import Annotated, Any, ClassVar, TypeGuard

from pydantic import AfterValidator, BaseModel, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

DIGITS, DECIMALS = 6, 9
"""Significant digits and decimal places that are kept. The standard error of a share of 10,000 images is up to 0.005,
so the third digit of the share is already uncertain. Values below 1e-9 are rounding errors of the computation."""

NOT_FINITE = "the recorded number was not finite"
"""The reason for a NaN or infinity in a record of an earlier version, which recorded no reasons."""


def rounded(value: float) -> float:
    """Round a measured number to DIGITS significant digits and DECIMALS decimal places; keep NaN and infinity."""
    return float(f"{round(float(value), DECIMALS):.{DIGITS}g}") + 0.0  # adding zero turns -0.0 into 0.0


Measured = Annotated[float, AfterValidator(rounded)]
"""A measured number that is always defined."""

Number = Measured | None
"""A measured number, or None where it is not defined."""


def is_defined(value: float | None) -> TypeGuard[float]:
    """Return whether a number is neither None nor NaN nor infinite."""
    return value is not None and isfinite(value)


def finite_or_none(value: float | None) -> float | None:
    """Return None for NaN and infinity, which earlier versions wrote instead of null."""
    return value if is_defined(value) else None


def replace_undefined(reason: str, **numbers: float | None) -> dict[str, Any]:
    """Return numbers as arguments for `MeasuredNumbers`, with None and the reason for each that is not finite."""
    undefined = {name: reason for name, value in numbers.items() if value is not None and not isfinite(value)}
    return {**numbers, **dict.fromkeys(undefined), "undefined": undefined}


class MeasuredNumbers(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """A record of measured numbers. Each is finite, or None with the reason in `undefined`."""

    OPTIONAL: ClassVar[frozenset[str]] = frozenset()  # fields that may be None without a reason

    undefined: dict[str, str] = Field(
        default_factory=dict, description="by name of each number that is null: why it is not defined"
    )

    @property
    def why(self) -> str:
        """The distinct reasons in `undefined`; empty if all numbers are defined."""
        return "; ".join(dict.fromkeys(self.undefined.values()))

    @model_validator(mode="before")
    @classmethod
    def _read_earlier_records(cls, given: Any) -> Any:
        """Accept records of earlier versions, which may contain NaN and infinity."""
        if not isinstance(given, Mapping):
            return given
        found = replace_undefined(NOT_FINITE, **{k: value for k, value in given.items() if isinstance(value, float)})
        undefined = found.pop("undefined")
        return {**given, **found, "undefined": {**undefined, **given.get("undefined", {})}} if undefined else given

    @model_validator(mode="after")
    def _check_reasons(self) -> "MeasuredNumbers":
        for name in type(self).model_fields:
            if getattr(self, name) is None and name not in self.OPTIONAL and not self.undefined.get(name):
                raise ValueError(f"{name} is null without a reason; expected one in undefined")
        return self

    @model_serializer(mode="wrap")
    def _write_reasons_last(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Move `undefined` to the end, and omit it if it is empty."""
        content: dict[str, Any] = serialize(self)
        undefined = content.pop("undefined", None)
        return {**content, "undefined": undefined} if undefined else content
