"""What differs between two runs: settings, code, versions of Python and of libraries, device."""

import hashlib
import json
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from gan.formatting import describe_setting
from gan.runs.manifest import run_git
from gan.runs.publish import CONFIG_FILE, MANIFEST_FILE

MAX_COMMITS = 20
OF_LABELS = ("training labels", "test labels", "class names")
"""Conditions that are shown as digests, and count only if both runs have them: those of earlier versions have none."""

COMMIT_LENGTH = 12  # digits of a commit that are shown; " with changes" may follow
LEAST_DAY = 10**7  # seeds such as 20261129 have no thousands separator
OF_THE_RUN = frozenset({"name", "steps", "batch_size", "paper"})
"""Fields of a recipe that are not listed: the run's own steps and batch size count, and the others are words."""

JUDGING_BUDGETS = "extractor_epochs", "two_sample_epochs"

COMMIT = re.compile(r"[0-9a-f]{7,64}")


class ConditionChange(NamedTuple):
    """A condition in which two runs differ."""

    name: str
    before: str  # empty if there was none
    now: str


def conditions_of(config: Mapping[str, Any], manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return the conditions that a run was made under, as text by name.

    Args:
        config: The content of `config.json`: all settings.
        manifest: The content of `manifest.json`: device, code, versions.
    """
    train, data, code = config.get("train", {}), config.get("data") or {}, manifest.get("code") or {}
    arrays = manifest.get("data", {}).get("sha256", {})
    labels = (arrays.get(split, {}).get("labels", "") for split in ("train", "test"))
    recipe = {"recipe": train.get("recipe", {}).get("name"), **train.get("recipe", {})}
    commit = str(code.get("commit") or "")[:COMMIT_LENGTH]
    conditions = {
        **dict(_flat({name: value for name, value in train.items() if name != "recipe"})),
        **dict(_flat({name: value for name, value in recipe.items() if name not in OF_THE_RUN})),
        "samples": str(config.get("samples", {}).get("num_images", "")),
        **dict(_flat({name: config.get(name) for name in JUDGING_BUDGETS})),
        "data": str(data.get("name", "")),
        **dict(zip(OF_LABELS, (_short_digest(content) for content in (*labels, data.get("class_names"))), strict=True)),
        "device": str(manifest.get("device") or ""),
        "commit": f"{commit} with changes" if commit and code.get("modified") else commit,
        "python": str(manifest.get("python") or ""),
        **dict(_flat(manifest.get("libraries") or {})),
    }
    return {name: value for name, value in conditions.items() if value}


def _short_digest(content: object) -> str:
    """Return eight digits that differ if a JSON value differs; nothing for nothing."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:8] if content else ""


def published_conditions(folder: Path) -> dict[str, str]:
    """Return the conditions of a published run; none if its files cannot be read. They are untrusted input."""
    try:
        config, manifest = (json.loads((folder / name).read_bytes()) for name in (CONFIG_FILE, MANIFEST_FILE))
        return conditions_of(config, manifest)
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[ConditionChange]:
    """Return what differs, in the order of `now`, then what is gone; nothing if one side is unknown."""
    if not before or not now:
        return []
    names = [*now, *(name for name in before if name not in now)]
    found = (ConditionChange(name, before.get(name, ""), now.get(name, "")) for name in names)
    return [
        change
        for change in found
        if change.before != change.now and (change.name not in OF_LABELS or (change.before and change.now))
    ]


def commits_between(before: str, now: str) -> Sequence[str]:
    """Return subjects of the commits from one commit to another, the newest first; none outside of git."""
    ends = [match[0] for end in (before, now) if (match := COMMIT.match(end))]
    if len(ends) < 2 or ends[0] == ends[1]:
        return ()
    try:
        log = run_git("log", "--oneline", "--no-decorate", f"-{MAX_COMMITS}", "..".join(ends), "--")
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(filter(None, log.split("\n")))


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield names and values as text; those of a list in one text."""
    for name, value in values.items():
        if value is not None:
            items = value if isinstance(value, list) else [value]
            yield str(name).replace("_", " "), ", ".join(map(_as_text, items))


def _as_text(value: object) -> str:
    if isinstance(value, float) and isfinite(value):
        return describe_setting(value)
    return f"{value:,}" if type(value) is int and abs(value) < LEAST_DAY else str(value)
