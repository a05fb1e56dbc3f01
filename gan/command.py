"""Command lines: whatever goes wrong for a reason that the user can mend is one clear message and an exit code."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from cyclopts import App, CycloptsError
from pydantic import ValidationError
from rich.console import Console

from gan.errors import FashionGanError, SettingsError
from gan.storage.files import atomic_path
from gan.system.environment import check_certificates, check_working_directory, ignored_variables
from gan.system.proxies import faulty_proxies

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


def run_command(app: App) -> None:
    """Run a command line from `sys.argv` and leave the process; only unexpected errors show a traceback."""
    try:
        check_certificates()
        check_working_directory()
        say_what_is_ignored()
        app(exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _fail(f"{_explain(error)}\nSee --help for all options.", EXIT_USAGE)
    except FashionGanError as error:
        _fail(str(error), EXIT_FAILED)
    except OSError as error:
        if error.filename is not None or error.errno not in (errno.EPIPE, errno.ENOSPC):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is left in its buffer goes nowhere
        _fail(f"The output could not be written ({error.strerror}). What was made is kept.", EXIT_FAILED)
    except KeyboardInterrupt:
        _fail("Run the same command again: it goes on from what is finished.", EXIT_INTERRUPTED, title="Stopped.")


def say_what_is_ignored() -> None:
    """Write to the terminal which variables of the environment have no effect here: some may have been meant."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    ignored = ignored_variables()
    if ignored:
        console.print(f"Not used: {', '.join(ignored)}. Results would depend on it (docs/design.md).", markup=False)
    for proxy in faulty_proxies():
        console.print(f"Not used: {proxy}: {proxy.fault}. Requests that need it will fail.", markup=False)


def check_output(out: Path, *suffixes: str) -> None:
    """Refuse a target that could not be written, before the work whose result it is to hold.

    Args:
        out: The file.
        suffixes: What its name may end in, such as ".png".

    Raises:
        SettingsError: If its name ends otherwise, or its folder cannot be made or written.
    """
    if out.suffix not in suffixes:
        raise SettingsError(f"--out got {out}; it expects a name that ends in {' or '.join(suffixes)}.")
    with _explained(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=out.parent):
            pass


@contextmanager
def output_file(out: Path) -> Iterator[Path]:
    """Yield a path to write to; on success it becomes `out`, on failure nothing is left.

    Raises:
        SettingsError: If it cannot be written.
    """
    with _explained(out), atomic_path(out) as partial:
        yield partial


@contextmanager
def _explained(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SettingsError(f"{out} cannot be written: {error.strerror or error}.\nGive another --out.") from error


def describe_validation(error: ValidationError) -> str:
    """What is wrong with which option, a line each."""
    lines = []
    for detail in error.errors(include_url=False):
        option = "--" + "-".join(str(part) for part in detail["loc"]).replace("_", "-") if detail["loc"] else ""
        message = detail["msg"].removeprefix("Value error, ").removeprefix("Input ").removeprefix("String ")
        lines.append(f"{option} {message} (got {detail['input']!r})." if option else message)
    return "\n".join(lines)


def _explain(error: CycloptsError) -> str:
    cause = error.__cause__ or error.__context__
    return describe_validation(cause) if isinstance(cause, ValidationError) else str(error)


def _fail(message: str, code: int, title: str = "Error:") -> None:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"[bold red]{title}[/]", end=" ")
    console.print(message, markup=False)
    sys.exit(code)
