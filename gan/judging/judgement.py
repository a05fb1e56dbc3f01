"""The result of judging a run: every number of a comparison, the verdict and the gate's decision."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field

from gan.judging.bootstrap import Difference
from gan.judging.class_shares import ClassShare
from gan.judging.definitions import AskedClasses, Metric, Separation
from gan.judging.gate import Decision


class Judgement(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Generated images compared with test images, with an earlier run and with the champion, in numbers."""

    badge: str = Field(description="what the run is worth, in two or three words")
    verdict: str
    metrics: tuple[Metric, ...]
    differences: tuple[Difference, ...] = Field((), description="from the reference, last weights")
    average_differences: tuple[Difference, ...] = Field((), description="from the reference, averaged weights")
    reference: str | None = Field(description="name of the earlier run; null if there is none")
    history_quality: str = Field(description="images and features that the history's distances and recalls are from")
    class_shares: tuple[ClassShare, ...]
    asked_classes: AskedClasses | None = Field(description="null for a generator without classes")
    separation: Separation
    gate: Decision

    def content(self) -> dict[str, Any]:
        """Return what `metrics.json` says of the judgement, as plain JSON values; `manifest.json` has the gate."""
        return {
            "badge": self.badge,
            "verdict": self.verdict,
            "metrics": {metric.name: metric.model_dump(exclude={"name"}) for metric in self.metrics},
            "differences": {"value": _by_name(self.differences), "average": _by_name(self.average_differences)},
            "reference": self.reference,
            "history_quality": self.history_quality,
            "class_shares": [row.model_dump() for row in self.class_shares],
            "asked_classes": self.asked_classes and self.asked_classes.model_dump(),
            "separation": self.separation.model_dump(),
        }


def _by_name(rows: Sequence[Difference]) -> dict[str, dict[str, Any]]:
    return {row.name: {**row.model_dump(exclude={"name"}), "verdict": row.verdict} for row in rows}
