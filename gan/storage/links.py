"""The links `latest` and `champion` in an output folder, also on file systems without symbolic links.

Each link leads to a folder below the output folder. On file systems without symbolic links (exFAT, some network drives)
it is a text file with the relative path of that folder, such as `runs/my-run`. Every command follows both.
"""

import os
import re
from pathlib import Path

from gan.errors import StoreError

LATEST, CHAMPION = "latest", "champion"

_TARGET = re.compile(r"(?:runs|champions)/[A-Za-z0-9][A-Za-z0-9._-]*")  # never leaves the output folder
_MAX_BYTES = 300


def set_link(root: Path, link: str, target: str) -> None:
    """Create or replace a link in the output folder `root`; `target` is relative, so that the folder can be moved."""
    temporary = root / f".{link}.{os.getpid()}"
    temporary.unlink(missing_ok=True)
    try:
        temporary.symlink_to(target)
    except OSError:  # the file system has no symbolic links
        temporary.write_text(f"{target}\n", encoding="ascii")
    temporary.replace(root / link)


def follow_text_link(path: Path) -> Path:
    """Return the path that a text file in place of a link holds, or any other path unchanged."""
    try:
        content = path.read_bytes() if path.is_file() and path.stat().st_size <= _MAX_BYTES else b""
    except (OSError, ValueError):
        return path  # a later access reports the error
    target = content.decode(errors="replace").strip()
    return path.parent / target if _TARGET.fullmatch(target) else path


def follow_link(path: Path) -> Path:
    """Return the absolute path of the folder to which a link, or a text file in its place, leads.

    Raises:
        StoreError: If the link cannot be followed, because it leads to itself.
        ValueError: If the path is invalid.
    """
    try:
        return follow_text_link(path.expanduser()).resolve()
    except (OSError, RuntimeError) as error:  # Python 3.11 and 3.12 raise RuntimeError for a loop
        remedy = "Remove it: it is made again." if path.name in (LATEST, CHAMPION) else "Give another path."
        raise StoreError(f"The link {path} cannot be followed: {error}.\n{remedy}") from error


def check_links(root: Path) -> None:
    """Raise StoreError if a link in an output folder leads to itself, or a folder is in its place.

    A program that copies an output folder and follows links creates such folders, which a link cannot replace.
    """
    for link in (LATEST, CHAMPION):
        path = root / link
        follow_link(path)
        if path.is_dir() and not path.is_symlink():
            raise StoreError(
                f"{path} is a folder; expected a link, or nothing.\n"
                "Was the output folder copied by a program that follows links? Remove that folder, or move it away: "
                "the runs themselves are in runs/ and champions/."
            )
