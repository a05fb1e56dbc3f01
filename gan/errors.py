"""Errors that a user can act on: what happened, what was expected, what to do.

The first line of a message is a complete sentence, and logs show only that line. Commands print the whole message
without a traceback.
"""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    return str(error).partition("\n")[0]


def describe_error(error: BaseException) -> str:
    """Return the first line of an error's message, after the name of its type."""
    return f"{type(error).__name__}: {first_line(error)}"


class FashionGanError(Exception):
    """An expected failure with a message for the user.

    A transient failure is retried, since the same call may succeed later, for example when a network is back.
    """

    def __init__(self, message: str = "", *, transient: bool = False) -> None:
        """Store the message and whether the failure is transient."""
        super().__init__(message)
        self.transient = transient

    def __repr__(self) -> str:
        """Return the name and the first line: orchestrators log the repr of an error on one line."""
        return describe_error(self)


class DataError(FashionGanError, ValueError):
    """The data is truncated, altered, or of an unexpected shape or format."""


class SourceError(FashionGanError):
    """No source could provide the data set."""


class StoreError(FashionGanError):
    """A stored file is missing or altered, or the output folder or the object store cannot be used."""


class SettingsError(FashionGanError, ValueError):
    """The settings contradict each other or the existing output."""


class CodeError(FashionGanError):
    """The code was edited while it was running."""


class GpuError(FashionGanError):
    """The GPU is missing, has too little free memory, or failed."""


class TrainingError(FashionGanError):
    """Training cannot continue: it would fail again in the same way."""
