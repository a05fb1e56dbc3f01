"""Links in an output folder, also on a file system that has no links.

`latest` and `champion` are symbolic links to a folder below the output folder. Where the file system refuses symbolic
links (exFAT, some network drives), they are text files that hold the folder's path instead, such as `runs/my-run`.
Every command of this project follows both.
"""

import os
import re
from pathlib import Path

from gan.errors import StoreError

LATEST, CHAMPION = "latest", "champion"

_TARGET = re.compile(r"(?:runs|champions)/[A-Za-z0-9][A-Za-z0-9._-]*")
_MAX_BYTES = 300


def point_to(root: Path, link: str, target: str) -> None:
    """Make or replace a link in the output folder.

    Args:
        root: The output folder.
        link: Name of the link.
        target: Folder that it leads to, relative to `root`, so that the output folder can be moved.

    Raises:
        OSError: If the output folder cannot be written.
    """
    temporary = root / f".{link}.{os.getpid()}"
    temporary.unlink(missing_ok=True)
    try:
        temporary.symlink_to(target)
    except OSError:  # there are no links here
        temporary.write_text(f"{target}\n", encoding="ascii")
    temporary.replace(root / link)


def folder_of(path: Path) -> Path:
    """Return the folder that a text file in the place of a link names; any other path is returned as it is.

    Args:
        path: A path in any folder; what it names need not exist.
    """
    try:
        content = path.read_bytes() if path.is_file() and path.stat().st_size <= _MAX_BYTES else b""
    except (OSError, ValueError):
        return path  # whoever reads there says what is wrong
    target = content.decode(errors="replace").strip()
    return path.parent / target if _TARGET.fullmatch(target) else path  # nothing that leads out of the folder


def follow(path: Path) -> Path:
    """Return the absolute path of the folder that a link, or a text file in its place, leads to.

    Raises:
        OSError: If the system cannot resolve the path (a loop of links).
        RuntimeError: The same, as Python 3.11 and 3.12 report it.
        ValueError: If it cannot be a path at all.
    """
    return folder_of(path.expanduser()).resolve()


def check_links(root: Path) -> None:
    """Refuse an output folder in which a folder lies in the place of a link, or a link leads to itself.

    A copy that follows links leaves folders there, which a link cannot replace.

    Raises:
        StoreError: If that is so.
    """
    for link in (LATEST, CHAMPION):
        path = root / link
        try:
            follow(path)
        except (OSError, RuntimeError) as error:
            raise StoreError(f"The link {path} cannot be followed: {error}.\nRemove it: it is made again.") from error
        if path.is_dir() and not path.is_symlink():
            raise StoreError(
                f"{path} is a folder; expected a link, or nothing.\n"
                "Was the output folder copied by a program that follows links? Remove that folder, or move it away: "
                "the runs themselves are in runs/ and champions/."
            )
