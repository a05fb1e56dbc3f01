"""Checks that the file system of an output folder supports what a run needs."""

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
    """Make a folder if necessary, and try the file operations of a run there; raise StoreError if one fails.

    Links and locks are not tried: `gan.storage.links` and `gan.storage.locks` work without them.
    """
    with _explain_failure(folder, "make files and folders"):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".probe.", dir=folder) as name:
            probe = Path(name)
            earlier, later = probe / "earlier", probe / "later"
            for path in (earlier, later):
                path.write_bytes(b"content")
                (probe / f"{path.name}-folder").mkdir()
            with _explain_failure(folder, "rename a file over another one"):
                later.replace(earlier)
            with _explain_failure(folder, "rename a folder"):
                (probe / "later-folder").rename(probe / "renamed-folder")
            with _explain_failure(folder, "set the time of a file"):
                os.utime(earlier)
            with _explain_failure(folder, "map a file into memory"), earlier.open("rb") as file:
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ).close()


def check_is_text(path: Path) -> None:
    """Raise SettingsError if an absolute path, or a relative one with the working directory, is not valid UTF-8.

    Manifests and Prefect's server store paths as JSON, which is UTF-8.
    """
    name = str(path.absolute())
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise SettingsError(
            f"The path {name.encode(errors='backslashreplace').decode()} is not text in UTF-8.\n"
            "Rename it. If it looks correct, this process does not expect file names in UTF-8: set LANG=C.UTF-8."
        ) from error


def link_or_copy(source: Path, target: Path) -> None:
    """Make a folder of hard links to all files of another folder; copy the files where links are not supported.

    Modes and times are not copied. (`shutil.copytree` fails on a file system without modes.)
    """
    target.mkdir()
    for path in sorted(source.rglob("*")):  # a folder precedes its content
        copy = target / path.relative_to(source)
        if path.is_dir():
            copy.mkdir()
            continue
        try:
            os.link(path, copy)
        except OSError:
            shutil.copyfile(path, copy)


@contextmanager
def _explain_failure(folder: Path, operation: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"The output folder {folder} cannot be written: it was not possible to {operation} there "
            f"({error.strerror or error}).\n{suggest_remedy(error)}"
        ) from error


def suggest_remedy(error: OSError) -> str:
    """Return a sentence with advice for a folder that cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "Free some space there (make prune), or give another --output-dir."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return (
            "Check that this user may write there, that the drive is not read-only, and that its file system supports "
            "this operation. Or give another --output-dir."
        )
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return "Give an --output-dir that is a folder, or a path that does not exist yet."
    return "Give an --output-dir on another drive."
