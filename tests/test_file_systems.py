"""File systems that lack operations: what a run needs is checked first, and the rest has a substitute."""

import errno
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from pipeline import SMALL, STAGES_OF_OWN_DATA

from gan.errors import SettingsError, StoreError
from gan.storage import file_system
from gan.storage.file_system import check_file_system, check_is_text
from gan.storage.links import CHAMPION, LATEST, check_links, follow_link, follow_text_link, set_link
from gan.storage.store import Store

NO_LINKS = """
#include <errno.h>
#include <sys/types.h>
#define REFUSED { errno = EPERM; return -1; }
int symlink(const char *target, const char *path) REFUSED
int symlinkat(const char *target, int folder, const char *path) REFUSED
int link(const char *target, const char *path) REFUSED
int linkat(int a, const char *target, int b, const char *path, int flags) REFUSED
int chmod(const char *path, mode_t mode) REFUSED
static int reasons[] = {EINVAL, EPERM, EIO}, refusals;
int flock(int file, int operation) { errno = reasons[refusals++ % 3]; return -1; }
"""


@pytest.fixture
def no_links(monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "symlink", refuse)


@pytest.fixture(scope="session")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a library that makes links, modes and locks fail in a process that preloads it, as on exFAT."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler here (on Debian: apt-get install gcc)")
    folder = tmp_path_factory.mktemp("refusing")
    (folder / "refusing.c").write_text(NO_LINKS)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", "refusing.so", "refusing.c"], cwd=folder, check=True)
    return folder / "refusing.so"


def test_without_links_a_text_file_holds_the_path_of_the_folder(tmp_path, no_links) -> None:
    for name in ("one", "two"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        set_link(tmp_path, LATEST, f"runs/{name}")
    assert (tmp_path / LATEST).read_text() == "runs/two\n"
    assert follow_link(tmp_path / LATEST) == follow_text_link(tmp_path / LATEST) == tmp_path / "runs" / "two"
    assert sorted(path.name for path in tmp_path.iterdir()) == [LATEST, "runs"]


def test_a_link_replaces_a_text_file_on_a_file_system_with_links(tmp_path, monkeypatch) -> None:
    (tmp_path / "runs" / "one").mkdir(parents=True)
    (tmp_path / LATEST).write_text("runs/two\n")
    set_link(tmp_path, LATEST, "runs/one")
    assert (tmp_path / LATEST).is_symlink()
    assert follow_link(tmp_path / LATEST) == tmp_path / "runs" / "one"
    assert follow_text_link(tmp_path / LATEST) == tmp_path / LATEST, "the system follows a link itself"


@pytest.mark.parametrize(
    "content", ["/etc", "runs/../../etc", "../runs/one", "runs/", "store/aa", "runs/one\nruns/two", "", "x" * 400]
)
def test_a_text_file_with_any_other_path_is_not_followed(tmp_path, content: str) -> None:
    (tmp_path / LATEST).write_text(content)
    assert follow_text_link(tmp_path / LATEST) == tmp_path / LATEST


@pytest.mark.parametrize("link", [LATEST, CHAMPION])
def test_a_folder_in_place_of_a_link_is_refused_before_any_work(tmp_path, link: str) -> None:
    check_links(tmp_path)
    (tmp_path / link).mkdir()
    with pytest.raises(StoreError, match=rf"(?s){link} is a folder; expected a link.*move it away"):
        Store.open(tmp_path)


@pytest.mark.parametrize("link", [LATEST, CHAMPION])
def test_a_link_that_leads_to_itself_is_refused_before_any_work(tmp_path, link: str) -> None:
    (tmp_path / link).symlink_to(link)
    with pytest.raises(StoreError, match=rf"(?s){link} cannot be followed.*Remove it"):
        Store.open(tmp_path)
    (tmp_path / link).unlink()
    (tmp_path / link).symlink_to("runs/gone")
    Store.open(tmp_path)


def test_a_file_in_place_of_the_output_folder_is_refused(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"(?s)cannot be written: .*(Not a directory|File exists).*that is a folder"):
        Store.open(tmp_path / "file")


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("Path.replace", "rename a file over another one"),
        ("Path.rename", "rename a folder"),
        ("Path.mkdir", "make files and folders"),
        ("Path.write_bytes", "make files and folders"),
        ("os.utime", "set the time of a file"),
        ("mmap.mmap", "map a file into memory"),
    ],
)
@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EPERM, "this user may write there"),
        (errno.ENOSPC, "Free some space there"),
        (errno.ENOSYS, "on another drive"),
    ],
)
def test_the_error_names_the_failed_file_operation_and_what_to_do(
    tmp_path, monkeypatch, what: str, words: str, number: int, advice: str
) -> None:
    check_file_system(tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(f"gan.storage.file_system.{what}", refuse)
    with pytest.raises(StoreError, match=rf"(?s)not possible to {words} there \({os.strerror(number)}\).*{advice}"):
        check_file_system(tmp_path)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_the_error_says_that_files_cannot_be_mapped(tmp_path, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENODEV, "No such device")

    monkeypatch.setattr(file_system.mmap, "mmap", refuse)
    with pytest.raises(StoreError, match=r"map a file into memory there \(No such device\)"):
        Store.open(tmp_path)


def test_a_path_that_is_not_utf8_is_refused(tmp_path, monkeypatch) -> None:
    folder = tmp_path / os.fsdecode(b"\xfc")
    with pytest.raises(SettingsError, match=r"(?s)\\udcfc is not text in UTF-8.*Rename it"):
        Store.open(folder)
    folder.mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(SettingsError, match="is not text in UTF-8"):
        check_is_text(Path("relative"))


@pytest.mark.drill
def test_runs_succeed_on_a_file_system_without_links_modes_and_locks(quick_checkout, data, refusing, tmp_path) -> None:
    few = (*SMALL, "--steps", 6, "--sample-every", 3, "--batch-size", 16, "--num-samples", 100, "--device", "cpu")
    folder = tmp_path / "artifacts"
    options = ("flows/train_flow.py", *few, "--dataset", "own", "--data-dir", data, "--output-dir", folder)
    without = {**quick_checkout.env, "LD_PRELOAD": str(refusing)}
    strange = type(quick_checkout)(quick_checkout.folder, without)
    assert "- Completed" in strange.run(*options, "--run-name", "one")
    assert (folder / LATEST).read_text() == "runs/one\n"
    again = strange.run(*options, "--run-name", "one")
    assert again.count("- Cached") == len(STAGES_OF_OWN_DATA)

    strange.run("-m", "gan.generate", folder / LATEST, "--num-images", 4, "--out", tmp_path / "four.png")
    strange.run("-m", "gan.champion", "promote", "one", "--output-dir", folder)
    assert (folder / CHAMPION).read_text().startswith("champions/one-")
    second = (*options, "--seed", 1, "--run-name", "two", "--compare-with", CHAMPION)
    strange.run(*second)
    manifest = json.loads((folder / "runs" / "two" / "manifest.json").read_text())
    assert manifest["reference"]["name"].startswith("one")
    assert manifest["champion"]["name"] == "one"

    quick_checkout.run(*second)
    assert (folder / LATEST).is_symlink(), "with links again it is one"
