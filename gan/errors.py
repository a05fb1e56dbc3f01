"""Errors that a user can act on: what happened, what was expected, what to do.

The first line of a message is a sentence of its own; it is what a log shows. Command lines print the whole message and
no traceback.
"""


class FashionGanError(Exception):
    """An expected failure with a message for the user.

    Attributes:
        transient: True when the same call may succeed later (a network is down); only such failures are retried.
    """

    transient = False

    def __repr__(self) -> str:
        """Name and first line only: orchestrators log the repr of an error on one line."""
        return f"{type(self).__name__}: {str(self).partition(chr(10))[0]}"


class DataError(FashionGanError, ValueError):
    """Data that is not what it should be: truncated, altered, of another shape or kind."""


class SourceError(FashionGanError):
    """No source could give the data set."""

    def __init__(self, message: str, *, transient: bool) -> None:
        """Keep whether any of the failures may heal."""
        super().__init__(message)
        self.transient = transient


class StoreError(FashionGanError):
    """A stored file is missing or altered, or the output folder or the object store cannot be used."""

    def __init__(self, message: str, *, transient: bool = False) -> None:
        """Keep whether the failure may heal, as one of a network may."""
        super().__init__(message)
        self.transient = transient


class SettingsError(FashionGanError, ValueError):
    """Settings that contradict each other or what is already there."""


class CodeError(FashionGanError):
    """The code was edited while it was running."""


class TrainingError(FashionGanError):
    """Training cannot go on: it would fail in the same way again."""
