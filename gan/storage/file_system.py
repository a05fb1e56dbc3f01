"""What the file system of an output folder must be able to do, tried before any work is done."""

import errno
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gan.errors import SettingsError, StoreError


def check_file_system(folder: Path) -> None:
    """Try what a run does with files in a folder. It takes milliseconds, and leaves nothing behind.

    Links and locks are not tried: `gan.storage.links` and `gan.storage.locks` do without them.

    Args:
        folder: An existing folder.

    Raises:
        StoreError: If the folder cannot be written, or its file system cannot do what a run needs.
    """
    with (
        _explained(folder, "make files and folders"),
        tempfile.TemporaryDirectory(prefix=".probe.", dir=folder) as name,
    ):
        probe = Path(name)
        earlier, later = probe / "earlier", probe / "later"
        for path in (earlier, later):
            path.write_bytes(b"content")
            (probe / f"{path.name}-folder").mkdir()
        with _explained(folder, "rename a file over another one"):
            later.replace(earlier)
        with _explained(folder, "rename a folder"):
            (probe / "later-folder").rename(probe / "renamed-folder")
        with _explained(folder, "set the time of a file"):
            os.utime(earlier)
        with _explained(folder, "map a file into memory"), earlier.open("rb") as file:
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ).close()


def check_is_text(path: Path) -> None:
    """Refuse a path that is not text: neither a manifest nor the orchestrator's server, which use JSON, can hold it.

    Args:
        path: Absolute, or relative to the working directory, which counts as well.

    Raises:
        SettingsError: If it holds bytes that are not UTF-8.
    """
    name = str(path.absolute())
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise SettingsError(
            f"The path {name.encode(errors='backslashreplace').decode()} is not text in UTF-8.\n"
            "Rename it. If it looks right to you, this process was not told that names are UTF-8: set LANG=C.UTF-8."
        ) from error


def link_or_copy(source: Path, target: Path) -> None:
    """Link all files of a folder, or copy them where they cannot be linked. Modes and times are not copied.

    `shutil.copytree` fails on a file system without modes.

    Args:
        source: An existing folder.
        target: The folder to make.

    Raises:
        OSError: If a file cannot be read or written.
    """
    target.mkdir()
    for path in sorted(source.rglob("*")):  # a folder comes before what is in it
        copy = target / path.relative_to(source)
        if path.is_dir():
            copy.mkdir()
            continue
        try:
            os.link(path, copy)
        except OSError:
            shutil.copyfile(path, copy)


@contextmanager
def _explained(folder: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"The output folder {folder} cannot be written: it was not possible to {what} there "
            f"({error.strerror or error}).\n{suggest_remedy(error)}"
        ) from error


def suggest_remedy(error: OSError) -> str:
    """Return what a person can do about a folder that cannot be written, as a sentence."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "Make room there (make prune), or give another --output-dir."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return (
            "See that this user may write there, that the drive is not read-only, and that it can do this at all. "
            "Or give another --output-dir."
        )
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return "Give an --output-dir that is a folder, or a name that is still free."
    return "Give an --output-dir on another drive."
