import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pipeline import PROJECT

import gan.runs.publish
from gan.errors import SettingsError, StoreError
from gan.runs.publish import (
    check_run_name,
    publish_run,
    published_files,
    restore_runs,
    staged_run,
    write_json,
    write_manifest,
)
from gan.storage.files import sha256_of
from gan.storage.links import LATEST, set_link
from gan.storage.locks import IN_USE, is_locked


def publish(root, name: str, content: str, config=None) -> None:
    with staged_run(root, name) as folder:
        (folder / "report.html").write_text(content)
        write_json(folder / "config.json", config or {"seed": 0})
        write_manifest(folder, {"run": name})
    set_link(root, LATEST, f"runs/{name}")


def test_a_run_appears_whole_with_a_manifest_of_every_file(tmp_path) -> None:
    publish(tmp_path, "first", "one")
    folder = tmp_path / "runs" / "first"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert [file["path"] for file in manifest["files"]] == ["config.json", "report.html"]
    for file in manifest["files"]:
        assert file["sha256"] == sha256_of(folder / file["path"])
        assert file["size"] == (folder / file["path"]).stat().st_size
    assert {ref.key for ref in published_files(folder, "first")} == {
        f"runs/first/{name}" for name in ("config.json", "manifest.json", "report.html")
    }


def test_references_to_a_run_are_to_its_own_files_though_another_process_replaces_it_at_once(
    tmp_path, monkeypatch
) -> None:
    def replace_and_lose(staging: Path, target: Path) -> None:
        replace_folder(staging, target)
        (target / "report.html").write_text("of another process")

    replace_folder = gan.runs.publish._replace_folder
    monkeypatch.setattr("gan.runs.publish._replace_folder", replace_and_lose)
    source = tmp_path / "source"
    source.write_text("own")
    refs = publish_run(tmp_path, "first", {"report.html": source}, {"seed": 0}, {"timings_seconds": {}}, {})
    assert {ref.key: ref.sha256 for ref in refs}["runs/first/report.html"] == sha256_of(source)


def test_a_run_gets_its_place_under_the_exclusive_lock(tmp_path, monkeypatch) -> None:
    is_held, replace_folder = [], gan.runs.publish._replace_folder

    def watch(staging: Path, target: Path) -> None:
        is_held.append(is_locked(tmp_path / IN_USE / "moment"))
        replace_folder(staging, target)

    monkeypatch.setattr("gan.runs.publish._replace_folder", watch)
    publish(tmp_path, "first", "one")
    assert is_held == [True]


def test_latest_can_be_pointed_elsewhere_at_any_time(tmp_path) -> None:
    publish(tmp_path, "first", "one")
    publish(tmp_path, "second", "two")
    assert (tmp_path / "latest" / "report.html").read_text() == "two"
    assert not (tmp_path / "latest").readlink().is_absolute(), "the link is relative, so that the folder can be moved"


def test_a_run_is_replaced_as_a_whole(tmp_path) -> None:
    publish(tmp_path, "first", "one")
    (tmp_path / "runs" / "first" / "stray").touch()
    publish(tmp_path, "first", "renewed")
    assert sorted(path.name for path in (tmp_path / "runs" / "first").iterdir()) == [
        "config.json",
        "manifest.json",
        "report.html",
    ]
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["first"]


def test_a_failure_leaves_the_earlier_run_and_nothing_else(tmp_path) -> None:
    publish(tmp_path, "first", "one")

    def fail() -> None:
        with staged_run(tmp_path, "first") as folder:
            (folder / "report.html").write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match=r"could not be published in .*: No space left on device"):
        fail()
    assert (tmp_path / "latest" / "report.html").read_text() == "one"
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["first"]


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "-x", "x" * 101, "a b", "<b>", "a\n"])
def test_names_that_are_not_valid_folder_names_are_refused(tmp_path, name) -> None:
    with pytest.raises(SettingsError, match="cannot be a folder name"):
        check_run_name(tmp_path, name, {})


def test_a_name_taken_by_other_settings_is_refused_and_by_the_same_ones_is_not(tmp_path) -> None:
    publish(tmp_path, "first", "one", config={"seed": 0, "train": {"steps": 3}})
    check_run_name(tmp_path, "first", {"seed": 0, "train": {"steps": 3}})
    with pytest.raises(SettingsError, match=r"taken by a run with other settings \(train\)"):
        check_run_name(tmp_path, "first", {"seed": 0, "train": {"steps": 4}})


@pytest.mark.parametrize("damaged", ["{", "[]", "null", None])
def test_a_damaged_run_may_be_renewed(tmp_path, damaged) -> None:
    publish(tmp_path, "first", "one")
    config = tmp_path / "runs" / "first" / "config.json"
    config.unlink() if damaged is None else config.write_text(damaged)
    check_run_name(tmp_path, "first", {"seed": 1})
    publish(tmp_path, "first", "renewed", config={"seed": 1})
    assert (tmp_path / "latest" / "report.html").read_text() == "renewed"


def test_files_and_folders_that_are_not_runs_are_never_replaced(tmp_path) -> None:
    runs = tmp_path / "runs"
    (runs / "notes").mkdir(parents=True)
    (runs / "notes" / "mine.txt").write_text("mine")
    (runs / "file").write_text("mine as well")
    (runs / "on-a-drive").symlink_to("/nowhere/at/all")
    (runs / "empty").mkdir()
    for name in ("notes", "file", "on-a-drive"):
        with pytest.raises(SettingsError, match=r"which is not a published run.*\n.*move it out of runs/"):
            check_run_name(tmp_path, name, {"seed": 0})
        with pytest.raises(SettingsError, match="which is not a published run"):
            publish(tmp_path, name, "one")
    publish(tmp_path, "empty", "one")
    assert (runs / "notes" / "mine.txt").read_text() == "mine"
    assert (runs / "file").read_text() == "mine as well"
    assert sorted(path.name for path in runs.iterdir()) == ["empty", "file", "notes", "on-a-drive"]


def test_the_later_of_two_concurrent_runs_with_the_same_name_is_refused(tmp_path) -> None:
    def be_late() -> None:
        with staged_run(tmp_path, "first") as folder:
            write_json(folder / "config.json", {"seed": 1})
            publish(tmp_path, "first", "one")

    with pytest.raises(SettingsError, match=r"taken by a run with other settings \(seed\)"):
        be_late()
    assert (tmp_path / "latest" / "report.html").read_text() == "one"
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["first"]


PUBLISH_TOO = """
import sys
from pathlib import Path
from gan.errors import SettingsError
from gan.runs.publish import staged_run, write_json
try:
    with staged_run(Path(sys.argv[1]), "first") as folder:
        write_json(folder / "config.json", {"seed": int(sys.argv[2])})
        print("ready", flush=True)
        sys.stdin.read()
except SettingsError:
    sys.exit(9)
"""


def test_only_one_of_many_processes_publishes_under_a_name(tmp_path) -> None:
    """All processes continue at once, after each has filled its folder."""
    command = [sys.executable, "-c", PUBLISH_TOO, str(tmp_path)]
    processes = [
        subprocess.Popen([*command, str(seed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=PROJECT)
        for seed in range(5)
    ]
    for process in processes:
        assert process.stdout.readline() == b"ready\n"
    for process in processes:
        process.stdin.close()
    codes = []
    for process in processes:
        with process:
            codes.append(process.wait(60))
    assert sorted(codes) == [0, 9, 9, 9, 9]
    config = json.loads((tmp_path / "runs" / "first" / "config.json").read_text())
    assert config == {"seed": codes.index(0)}


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    """Publish a run twice, and kill the second process between the two renames; return the output folder."""
    root = tmp_path_factory.mktemp("killed") / "artifacts"
    publish(root, "first", "one")
    script = (
        "import os, pathlib, sys\n"
        "from test_publishing import publish\n"
        "rename = pathlib.Path.rename\n"
        "def die(path, target):\n"
        "    if str(path).endswith('.partial'):\n"
        "        os.kill(os.getpid(), 9)\n"
        "    rename(path, target)\n"
        "pathlib.Path.rename = die\n"
        "publish(pathlib.Path(sys.argv[1]), 'first', 'renewed')\n"
    )
    env = {**os.environ, "PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'tests'}"}
    done = subprocess.run([sys.executable, "-c", script, root], env=env, cwd=PROJECT, check=False)
    assert done.returncode == -9
    assert not (root / "runs" / "first").exists()
    return root


@pytest.fixture
def hidden(killed, tmp_path) -> Path:
    """Copy that folder to `tmp_path`; return where the earlier run is."""
    shutil.copytree(killed, tmp_path, symlinks=True, dirs_exist_ok=True)
    (hidden,) = (tmp_path / "runs").glob(".first.*.old")
    return hidden


def test_nothing_is_created_if_there_is_nothing_to_restore(tmp_path) -> None:
    restore_runs(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_run_hidden_by_a_kill_is_restored(tmp_path, hidden) -> None:
    restore_runs(tmp_path)
    assert (tmp_path / "latest" / "report.html").read_text() == "one"
    assert not list((tmp_path / "runs").glob(".*.old"))


def test_a_hidden_run_still_reserves_its_name(tmp_path, hidden) -> None:
    with pytest.raises(SettingsError, match="other settings"):
        publish(tmp_path, "first", "another", config={"seed": 1})
    assert (tmp_path / "latest" / "report.html").read_text() == "one"


def test_a_hidden_folder_is_not_restored_if_its_place_is_taken_or_it_is_not_a_run(tmp_path, hidden) -> None:
    shutil.copytree(hidden, tmp_path / "runs" / "first")
    no_run = tmp_path / "runs" / ".second.abc.old"
    no_run.mkdir()
    restore_runs(tmp_path)
    assert hidden.exists()
    assert no_run.exists()


def test_the_newest_of_two_hidden_runs_is_restored(tmp_path, hidden) -> None:
    older = shutil.copytree(hidden, hidden.with_name(".first.zzz.old"))
    (older / "report.html").write_text("older")
    os.utime(older, (1_000_000_000, 1_000_000_000))
    restore_runs(tmp_path)
    assert (tmp_path / "latest" / "report.html").read_text() == "one"


def test_a_replacement_that_fails_leaves_the_earlier_run(tmp_path, monkeypatch) -> None:
    publish(tmp_path, "first", "one")
    rename = Path.rename

    def refuse(path: Path, target: Path) -> None:
        if path.suffix == ".partial":
            raise OSError(5, "Input/output error")
        rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(StoreError, match="could not be published"):
        publish(tmp_path, "first", "renewed")
    assert (tmp_path / "latest" / "report.html").read_text() == "one"
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["first"]
