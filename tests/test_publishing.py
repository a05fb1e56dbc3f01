import json

import pytest

from gan.errors import SettingsError, StoreError
from gan.publishing import LATEST, check_run_name, point_to_run, published_files, staged_run, write_json, write_manifest
from gan.store import sha256_of


def publish(root, name: str, content: str, config=None) -> None:
    with staged_run(root, name) as folder:
        (folder / "report.html").write_text(content)
        write_json(folder / "config.json", config or {"seed": 0})
        write_manifest(folder, {"run": name})
    point_to_run(root, LATEST, name)


def test_a_run_appears_whole_with_a_manifest_of_every_file(tmp_path) -> None:
    publish(tmp_path, "first", "one")
    folder = tmp_path / "runs" / "first"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert [file["path"] for file in manifest["files"]] == ["config.json", "report.html"]
    for file in manifest["files"]:
        assert file["sha256"] == sha256_of(folder / file["path"])
        assert file["size"] == (folder / file["path"]).stat().st_size
    assert {ref.key for ref in published_files(tmp_path, "first")} == {
        f"runs/first/{name}" for name in ("config.json", "manifest.json", "report.html")
    }


def test_latest_can_be_pointed_elsewhere_at_any_time(tmp_path) -> None:
    publish(tmp_path, "first", "one")
    publish(tmp_path, "second", "two")
    assert (tmp_path / "latest" / "report.html").read_text() == "two"
    assert not (tmp_path / "latest").readlink().is_absolute(), "so that the folder can be moved"


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
def test_names_that_cannot_be_a_folders_are_refused(tmp_path, name) -> None:
    with pytest.raises(SettingsError, match="cannot be a folder's"):
        check_run_name(tmp_path, name, {})


def test_a_name_taken_by_other_settings_is_refused_and_by_the_same_ones_is_not(tmp_path) -> None:
    publish(tmp_path, "first", "one", config={"seed": 0, "train": {"steps": 3}})
    check_run_name(tmp_path, "first", {"seed": 0, "train": {"steps": 3}})
    with pytest.raises(SettingsError, match=r"taken by a run with other settings \(train\)"):
        check_run_name(tmp_path, "first", {"seed": 0, "train": {"steps": 4}})


def test_a_damaged_run_may_be_renewed(tmp_path) -> None:
    publish(tmp_path, "first", "one")
    (tmp_path / "runs" / "first" / "config.json").write_text("{")
    check_run_name(tmp_path, "first", {"seed": 1})


def test_a_replacement_that_fails_leaves_the_earlier_run(tmp_path) -> None:
    publish(tmp_path, "first", "one")

    def vanish() -> None:
        with staged_run(tmp_path, "first") as folder:
            folder.rmdir()

    with pytest.raises(StoreError, match="could not be published"):
        vanish()
    assert (tmp_path / "latest" / "report.html").read_text() == "one"
