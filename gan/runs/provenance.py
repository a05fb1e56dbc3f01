"""What a published run was made from, for its report and its `manifest.json`."""

import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

from gan.config import RunConfig

FEATURE_EXTRACTOR = "feature extractor"


@dataclass(frozen=True)
class Provenance:
    """The data, the files and the circumstances of a run."""

    dataset: str
    source: str | int | float | None  # of the data set's files
    sha256: Mapping[str, Mapping[str, str]]  # of the normalized arrays, by split and kind
    networks: Mapping[str, str]  # SHA-256 by title
    extractor_accuracy: str | int | float | None  # share of the test images, if the pipeline has fitted the extractor
    training: Mapping[str, str | int | float]  # facts about the training
    seconds: Mapping[str, float]  # duration of each stage


def manifest_content(run: RunConfig, made_from: Provenance, *, libraries: Iterable[str]) -> dict[str, Any]:
    """Return the part of `manifest.json` that says what a run was made from.

    Args:
        run: Settings of the run.
        made_from: Its provenance.
        libraries: Names of the installed packages that its result depends on.
    """
    return {
        "run": run.name,
        "published": datetime.now(UTC).isoformat(timespec="seconds"),
        "recipe": run.train.recipe.name,
        "seed": run.train.seed,
        "device": made_from.training.get("device"),
        "data": {"name": made_from.dataset, "source": made_from.source, "sha256": made_from.sha256},
        "code": _commit(Path(__file__).parent),
        "python": python_version(),
        "libraries": {name: version(name) for name in sorted(libraries)},
    }


def _commit(folder: Path) -> dict[str, Any]:
    """Return the commit of the code, and whether files differ from it; nulls outside of git."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, check=True, timeout=20).stdout.decode(errors="replace")

    try:
        return {"commit": git("rev-parse", "HEAD").strip(), "modified": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "modified": None}
