"""What differs between two runs: settings, code, versions, device."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pipeline import PROJECT

from gan.runs.changes import OF_LABELS, ConditionChange, changes, commits_between, conditions_of, published_conditions
from gan.runs.manifest import code_version

CONFIG: dict[str, Any] = {
    "train": {
        "recipe": {"name": "conv", "learning_rate": 2e-4, "generator_units": [64, 32]},
        "steps": 100,
        "seed": 0,
    },
    "samples": {"num_images": 10_000, "seed": 0},
    "data": None,
}
MANIFEST: dict[str, Any] = {
    "device": "CPU",
    "code": {"commit": "a" * 40, "modified": False},
    "python": "3.12.1",
    "libraries": {"numpy": "2.1.0"},
}


def test_a_change_of_each_kind_is_named_once() -> None:
    now = conditions_of(
        {**CONFIG, "train": {**CONFIG["train"], "seed": 1, "recipe": {**CONFIG["train"]["recipe"], "momentum": 0.5}}},
        {**MANIFEST, "code": {"commit": "b" * 40, "modified": True}, "libraries": {"numpy": "2.2.0"}, "device": "GPU"},
    )
    assert changes(conditions_of(CONFIG, MANIFEST), now) == [
        ConditionChange("seed", "0", "1"),
        ConditionChange("momentum", "", "0.5"),
        ConditionChange("device", "CPU", "GPU"),
        ConditionChange("commit", "a" * 12, f"{'b' * 12} with changes"),
        ConditionChange("numpy", "2.1.0", "2.2.0"),
    ]
    assert changes(now, now) == []


def test_corrected_labels_and_class_names_of_own_data_are_named() -> None:
    def with_data(labels: str, *names: str) -> dict[str, str]:
        config = {**CONFIG, "data": {"name": "mine", "class_names": [*names]}}
        digests = {"train": {"labels": labels}, "test": {"labels": "c" * 64}}
        return conditions_of(config, {**MANIFEST, "data": {"name": "mine", "sha256": digests}})

    before, after = with_data("a" * 64, "Bag", "Boot"), with_data("b" * 64, "Bag", "Shoe")
    found = changes(before, after)
    assert [change.name for change in found] == ["training labels", "class names"]
    assert all(len(change.before) == len(change.now) == 8 for change in found)
    by_earlier_version = {name: value for name, value in before.items() if name not in OF_LABELS}
    assert changes(by_earlier_version, after) == [], "which did not record them"


def test_steps_of_the_run_are_listed_once_and_numbers_are_written_for_readers() -> None:
    longer = {**CONFIG, "train": {**CONFIG["train"], "steps": 10_001, "seed": 20261129}}
    longer["train"]["recipe"] = {**CONFIG["train"]["recipe"], "name": "mlp", "steps": 5, "learning_rate": 1e-7}
    assert changes(conditions_of(CONFIG, MANIFEST), conditions_of(longer, MANIFEST)) == [
        ConditionChange("steps", "100", "10,001"),
        ConditionChange("seed", "0", "20261129"),
        ConditionChange("recipe", "conv", "mlp"),
        ConditionChange("learning rate", "0.0002", "0.0000001"),
    ]


def test_nothing_is_said_about_a_run_of_which_nothing_is_known() -> None:
    known = conditions_of(CONFIG, MANIFEST)
    assert changes({}, known) == changes(known, {}) == []


def test_what_is_gone_is_named_too() -> None:
    without = {**MANIFEST, "device": None}
    assert changes(conditions_of(CONFIG, MANIFEST), conditions_of(CONFIG, without)) == [
        ConditionChange("device", "CPU", "")
    ]


def test_folders_that_cannot_be_read_have_no_conditions(tmp_path: Path) -> None:
    assert published_conditions(tmp_path) == {}
    for name, content in (("config.json", "[]"), ("manifest.json", "{}")):
        (tmp_path / name).write_text(content)
    assert published_conditions(tmp_path) == {}
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "manifest.json").write_text(json.dumps(MANIFEST))
    assert published_conditions(tmp_path) == conditions_of(CONFIG, MANIFEST)


def test_commits_between_two_versions_of_the_code() -> None:
    log = subprocess.run(["git", "log", "--format=%H"], cwd=PROJECT, capture_output=True, text=True, check=True)
    hashes = log.stdout.split()
    if len(hashes) < 4:
        pytest.skip("a shallow clone")
    first, *_, fourth = hashes[:4]
    assert code_version()["commit"] == first
    found = commits_between(fourth[:12], f"{first[:12]} with changes")
    assert found
    assert first.startswith(found[0].split()[0])
    assert len(found) <= 20


def test_a_commit_of_another_repository_is_not_taken_for_ours(tmp_path: Path, monkeypatch) -> None:
    ours = code_version()
    other = tmp_path / "other"
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.invalid"]
    subprocess.run(["git", "init", "--quiet", other], check=True)
    subprocess.run(["git", *identity, "commit", "--quiet", "--allow-empty", "-m", "x"], cwd=other, check=True)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))  # as in a git hook
    assert code_version() == ours
    (other / "fashion-gan").mkdir()
    monkeypatch.setattr("gan.runs.manifest.PROJECT_ROOT", other / "fashion-gan")
    assert code_version() == {"commit": None, "modified": None}


def test_unknown_or_hostile_commits_give_no_log() -> None:
    assert commits_between("", "a" * 12) == ()
    assert commits_between("a" * 12, "a" * 12) == ()
    assert commits_between("a" * 12, "b" * 12) == ()
    assert commits_between("--output=/tmp/x", "b" * 12) == ()
