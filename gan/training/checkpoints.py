"""Checkpoints of an unfinished training: written atomically, verified when read, the newest ones kept.

A checkpoint is a `.npz` file whose name contains the step and the SHA-256 of its bytes. A truncated or altered file
does not match its name; it is skipped, and the previous checkpoint is used.
"""

import errno
import hashlib
import io
import logging
import os
import re
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np

from gan.storage.files import atomic_path, sha256_of

NAME = re.compile(r"[0-9]{10}\.[0-9a-f]{64}\.npz")
NUM_KEPT = 2
MIN_SECONDS_BETWEEN = 10.0
MAX_SHARE_OF_TIME, MAX_EARLY_SHARE = 0.007, 0.02
"""Largest share of the time that saving may take, in a long training and in a young one."""

EARLY = 0.2
"""Share of its time that a young training may lose, if MAX_EARLY_SHARE allows."""

NOT_SUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
"""Errors of network file systems that cannot sync a folder."""

Arrays = dict[str, np.ndarray]

log = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints of one training, in a folder that no other training uses."""

    def __init__(self, folder: Path, *, seconds_between: float | None = None) -> None:
        """Take a folder, which the first save creates, and the time from one save to the next.

        Without a time it is MIN_SECONDS_BETWEEN, or longer where saving would take more than MAX_SHARE_OF_TIME. A young
        training saves more often, up to MAX_EARLY_SHARE: on a GPU, a whole training may take less than a minute, and a
        kill should not cost most of it.
        """
        self.folder = folder
        self._seconds_between = seconds_between
        self._started: float | None = None
        self._next_save = 0.0

    def due(self) -> bool:
        """Return whether it is time for the next save. The first question, after the first call, starts the clock."""
        if self._started is None:  # before, programs were compiled, and hardly a step was done
            self._started = time.monotonic()
            self._next_save = self._started + self._pause(0.0, 0.0)
        return time.monotonic() >= self._next_save

    def _pause(self, cost: float, age: float) -> float:
        """Return the seconds to the next save, if saving takes `cost` seconds and this process trains for `age`."""
        if self._seconds_between is not None:
            return self._seconds_between
        until_cheap, early = cost / MAX_SHARE_OF_TIME, max(EARLY * age, cost / MAX_EARLY_SHARE)
        return max(MIN_SECONDS_BETWEEN, min(until_cheap, early))

    def save(self, step: int, arrays: Arrays, *, began: float | None = None) -> float:
        """Write arrays of numbers and strings as the checkpoint after `step` steps; remove all but the newest ones.

        Return the seconds since `began`, the `time.monotonic()` at which its preparation began; None means now.
        """
        began = time.monotonic() if began is None else began
        self.folder.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        digest = hashlib.sha256(buffer.getbuffer()).hexdigest()
        with atomic_path(self.folder / f"{step:010}.{digest}.npz") as partial, partial.open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())  # before older ones are removed: a power failure must not destroy all of them
        _sync_names(self.folder)
        for old in self._newest_first()[NUM_KEPT:]:
            old.unlink(missing_ok=True)
        finished = time.monotonic()
        age = 0.0 if self._started is None else finished - self._started
        self._next_save = finished + self._pause(finished - began, age)
        return finished - began

    def load_latest(self) -> tuple[int, Arrays] | None:
        """Return the step and the arrays of the newest intact checkpoint, or None if there is none.

        Damaged checkpoints are removed, so that they do not count among those that are kept.
        """
        for path in self._newest_first():
            step, digest, _ = path.name.split(".")
            if sha256_of(path) == digest:
                with suppress(ValueError, zipfile.BadZipFile), np.load(path, allow_pickle=False) as arrays:
                    return int(step), dict(arrays)
            log.warning("The checkpoint %s is truncated or was altered; it is skipped and removed.", path)
            path.unlink(missing_ok=True)
        return None

    def _newest_first(self) -> list[Path]:
        return sorted((path for path in self.folder.glob("*.npz") if NAME.fullmatch(path.name)), reverse=True)


def _sync_names(folder: Path) -> None:
    """Make the names of a folder's files survive a power failure, where the file system can do that."""
    names = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(names)
    except OSError as error:
        if error.errno not in NOT_SUPPORTED:
            raise
    finally:
        os.close(names)
