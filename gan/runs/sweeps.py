"""What a sweep leaves in its folder beside its leaderboard: a summary, for lists of sweeps and for retention."""

from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ValidationError

SUMMARY = "sweep.json"


class SweepSummary(BaseModel, frozen=True, extra="ignore"):
    """What a list of sweeps shows of one."""

    title: str
    at: AwareDatetime
    winner: str | None = None  # the best run of its first row


def read_summary(folder: Path) -> SweepSummary | None:
    """Read the summary in a sweep's folder; None if there is none that can be read."""
    try:
        return SweepSummary.model_validate_json((folder / SUMMARY).read_bytes())
    except (OSError, ValidationError):
        return None


def winners(root: Path) -> set[str]:
    """Return the names of the runs that won the sweeps of an output folder."""
    found = (read_summary(path.parent) for path in (root / "sweeps").glob(f"*/{SUMMARY}"))
    return {summary.winner for summary in found if summary and summary.winner}
