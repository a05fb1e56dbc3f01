"""Helpers of the command lines: one clear message and an exit code for every error that the user can fix."""

import errno
import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from cyclopts import App, CycloptsError, Parameter
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from gan.errors import FashionGanError, SettingsError, StoreError
from gan.storage.file_system import suggest_remedy
from gan.storage.files import atomic_path
from gan.system.environment import check_certificates, check_working_directory, ignored_variables
from gan.system.proxies import faulty_proxies

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130
MAX_TABLE_WIDTH = 1000
OTHER_OUTPUT = "Give another --out."


def new_app(source: str, description: str | None = None) -> App:
    """Return the command line of a module or file; without a description it has that of its default command."""
    name = f"python {source}" if source.endswith(".py") else f"python -m {source}"
    shown = Parameter(show_default=_describe_default)
    app = App(name=name, help=description, version_flags=(), suppress_keyboard_interrupt=False, default_parameter=shown)
    app["--help"].show = False  # it works, and whoever reads the help knows it
    return app


def _describe_default(value: object) -> str | None:
    return None if value is None or value is False or value == () else str(value)


def run_command(app: App) -> None:
    """Run a command line from `sys.argv`; on an error exit the process."""
    with exit_on_error():
        check_certificates()
        check_working_directory()
        warn_of_ignored_variables()
        app(_arguments(), exit_on_error=False, print_error=False)


def _arguments() -> list[str]:
    """Return the arguments of this process, with the home folder for ~, which bash leaves as it is in `--out=~/x`."""
    parts = (argument.partition("=") for argument in sys.argv[1:])
    return ["".join(map(os.path.expanduser, three)) for three in parts]


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Exit the process on an error within the block. Only unexpected errors show a traceback."""
    try:
        yield
    except CycloptsError as error:
        cause = error.__cause__ or error.__context__
        message = describe_validation(cause) if isinstance(cause, ValidationError) else str(error)
        _fail(f"{message}\nSee --help for all options.", EXIT_USAGE)
    except FashionGanError as error:
        _fail(str(error), EXIT_FAILED)
    except OSError as error:
        if error.filename is not None or error.errno not in (errno.EPIPE, errno.ENOSPC):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # discard what is left in the buffer of stdout
        _fail(f"The output could not be written ({error.strerror}). Finished work is kept.", EXIT_FAILED)
    except KeyboardInterrupt:
        _fail("Run the same command again: it continues from what is finished.", EXIT_INTERRUPTED, title="Stopped.")


def terminal(*, stderr: bool = False) -> Console:
    """Return a console that prints text as it is: no markup, emoji codes, colours for numbers or added line breaks."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=True)


def print_table(console: Console, table: Table) -> None:
    """Print a table. A file or another program gets its whole width, so that nothing is cut."""
    if not console.is_terminal:
        unlimited = console.options.update(max_width=MAX_TABLE_WIDTH)
        console.width = max(console.width, console.measure(table, options=unlimited).maximum)
    console.print(table)


def warn_of_ignored_variables() -> None:
    """Write to the terminal which environment variables have no effect, since the user may rely on one of them."""
    console = terminal(stderr=True)
    if ignored := ignored_variables():
        console.print(f"Not used: {', '.join(ignored)}. Results would depend on it (docs/design.md).")
    for proxy in faulty_proxies():
        console.print(f"Not used: {proxy}: {proxy.fault}. Requests that need it will fail.")


def check_output(out: Path, *suffixes: str) -> None:
    """Refuse an output file before the work starts if it cannot be written, or has none of the suffixes."""
    if out.suffix not in suffixes:
        raise SettingsError(f"--out got {out}; it expects a name that ends in {' or '.join(suffixes)}.")
    with writing(out, SettingsError, OTHER_OUTPUT):
        if out.is_dir():
            raise SettingsError(f"{out} cannot be written: it is a folder.\n{OTHER_OUTPUT}")
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=out.parent):
            pass


@contextmanager
def output_file(out: Path) -> Iterator[Path]:
    """Yield a path to write to; on success it becomes `out`, on failure it is removed."""
    with writing(out, SettingsError, OTHER_OUTPUT), atomic_path(out) as partial:
        yield partial


@contextmanager
def writing(path: Path, kind: type[FashionGanError] = StoreError, remedy: str | None = None) -> Iterator[None]:
    """Within the block, turn a refused write to a file into an error of a kind for the user, with a remedy."""
    try:
        yield
    except OSError as error:
        advice = remedy or suggest_remedy(error)
        raise kind(f"{path} cannot be written: {error.strerror or error}.\n{advice}") from error


def describe_validation(error: ValidationError) -> str:
    """Return one line for each invalid option: its name, what is wrong, and the value that was given."""
    wrong = defaultdict(list)
    for detail in error.errors(include_url=False):
        name, index = (*detail["loc"], "", "")[:2]
        # An option of several types has an error for each of them; a list has errors for each of its values.
        wrong[name, index if isinstance(index, int) else ""].append(detail)
    lines = []
    for (name, _), details in wrong.items():
        messages = [re.sub("^(Value error, |Input |String )", "", detail["msg"]) for detail in details]
        option = f"--{str(name).replace('_', '-')} {', or '.join(messages)} (got {details[0]['input']!r})."
        lines += [option] if name else messages
    return "\n".join(lines)


def _fail(message: str, code: int, title: str = "Error:") -> None:
    console = terminal(stderr=True)
    console.print(title, style="bold red", end=" ")
    console.print(message)
    sys.exit(code)
