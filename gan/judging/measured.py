"""Measured numbers: rounded to what the images carry, and null with a reason where a number is not defined."""

from collections.abc import Mapping
from math import isfinite
from typing import Annotated, Any, ClassVar, TypeGuard

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

DIGITS, DECIMALS = 6, 9
"""Significant digits and decimal places that are kept. The standard error of a share of 10,000 images is up to 0.005:
its third digit is already uncertain. What is smaller than 1e-9 is the rounding error of the computation."""

NOT_FINITE = "the recorded number was not finite"
"""Reason of a number that was recorded by a version which kept no reasons."""


def rounded(value: float) -> float:
    """Round a measured number to DIGITS significant digits and DECIMALS decimal places; NaN and infinity stay."""
    return float(f"{round(float(value), DECIMALS):.{DIGITS}g}") + 0.0  # adding zero turns -0.0 into 0.0


Measured = Annotated[float, AfterValidator(rounded)]
"""A measured number that is always defined."""

Number = Measured | None
"""A measured number, or None where it is not defined."""


def is_defined(value: float | None) -> TypeGuard[float]:
    """Whether there is a number, and it is finite."""
    return value is not None and isfinite(value)


def reasoned(why: str, **numbers: float | None) -> dict[str, Any]:
    """Arguments for `MeasuredNumbers`: None in place of each number that is not finite, with the reason.

    Args:
        why: The reason, a clause without a full stop.
        numbers: By name; None for a number that does not exist and so needs no reason.
    """
    undefined = {name: why for name, value in numbers.items() if value is not None and not isfinite(value)}
    return {**numbers, **dict.fromkeys(undefined), "undefined": undefined}


class MeasuredNumbers(BaseModel):
    """A record of measured numbers. Each is finite, or None with the reason in `undefined`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    OPTIONAL: ClassVar[frozenset[str]] = frozenset()  # may be None without a reason: they need not exist

    undefined: dict[str, str] = Field(
        default_factory=dict, description="by name of each number that is null: why it is not defined"
    )

    @property
    def why(self) -> str:
        """The reasons why numbers are not defined, each once; empty if all are defined."""
        return "; ".join(dict.fromkeys(self.undefined.values()))

    @model_validator(mode="before")
    @classmethod
    def _read_earlier_records(cls, given: Any) -> Any:
        """Earlier versions recorded NaN and Infinity themselves."""
        if not isinstance(given, Mapping):
            return given
        numbers = {name: value for name, value in given.items() if isinstance(value, float)}
        found = reasoned(NOT_FINITE, **numbers)
        undefined = found.pop("undefined")
        return {**given, **found, "undefined": {**undefined, **given.get("undefined", {})}} if undefined else given

    @model_validator(mode="after")
    def _check_reasons(self) -> "MeasuredNumbers":
        for name in type(self).model_fields:
            if getattr(self, name) is None and name not in self.OPTIONAL and not self.undefined.get(name):
                raise ValueError(f"{name} is null without a reason; expected one in undefined")
        return self

    @model_serializer(mode="wrap")
    def _reasons_last(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Reasons stand behind the numbers, and only where there are any."""
        content: dict[str, Any] = serialize(self)
        undefined = content.pop("undefined", None)
        return {**content, "undefined": undefined} if undefined else content
