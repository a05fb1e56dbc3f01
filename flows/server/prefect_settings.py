"""Where Prefect's settings come from, so that an error can say what to change.

Prefect reads a setting from, in this order: the environment, the files .env, prefect.toml and pyproject.toml in the
working directory, and the active profile. This module reads the same places without importing Prefect, whose import
fails where a value is wrong.
"""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import ValidationError

API_URL, AUTH_STRING = "PREFECT_API_URL", "PREFECT_API_AUTH_STRING"
CERTIFICATES = "PREFECT_API_SSL_CERT_FILE"
SERVER_AUTH_STRING, BASE_PATH = "PREFECT_SERVER_API_AUTH_STRING", "PREFECT_SERVER_API_BASE_PATH"
DATABASE = ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL")
EPHEMERAL = ("PREFECT_SERVER_EPHEMERAL_ENABLED", "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE")

DEFAULTS = {
    "DO_NOT_TRACK": "1",
    # The embedded server's telemetry runs into its own database lock at start-up, and logs that as a long traceback.
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "gan,tasks",  # what they log shows in the UI as well
    # A run that gives no sign of life is marked as crashed (flows/setup_server.py).
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    # Prefect itself allows the embedded server only in a profile of its own.
    "PREFECT_SERVER_EPHEMERAL_ENABLED": "true",
    # The first start makes the database; on a busy machine that takes longer than Prefect's 20 s.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # A server that was there before is asked again for so many times, 4 minutes in all.
    "PREFECT_CLIENT_MAX_RETRIES": "7",
    # A page of another site that is open in a browser here may neither read answers of the embedded server nor change
    # anything there: it shares its database with make server, and so with workers.
    "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
    "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": "",  # it has no UI: no page may
    # Checks before a flow may log as well; there is no run yet that the line could belong to.
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
}
"""Settings of ours where nobody has made another one, in the environment, a file or a profile."""

SECRET = re.compile("KEY|AUTH|PASSWORD|SECRET|CONNECTION_URL|HEADERS")
"""What is in the name of a setting whose value is not to be shown."""

UNPARSED = re.compile(r'error parsing value for field "(\w+)"')

TOML_TABLES = {"prefect.toml": (), "pyproject.toml": ("tool", "prefect")}


@dataclass(frozen=True)
class Given:
    """A setting that somebody has made.

    Attributes:
        name: As a variable of the environment, such as PREFECT_API_URL.
        value: As it was written.
        place: Where it was made, for people.
        suggest_remedy: How to take it back, as an instruction without a full stop.
    """

    name: str
    value: Any
    place: str
    suggest_remedy: str


def set_defaults() -> None:
    """Set what `DEFAULTS` has and no place says otherwise, for this process and those that it starts."""
    if not os.environ.get(API_URL, "some").strip():
        del os.environ[API_URL]  # as a file of variables leaves it; Prefect would half believe in it
    made = {given.name for given in given_settings()} | set(os.environ)
    if made.intersection(EPHEMERAL):
        made |= {*EPHEMERAL}
    for name in DEFAULTS.keys() - made:
        os.environ[name] = DEFAULTS[name]


def origin_of(*names: str) -> Given | None:
    """Return the setting with the highest precedence under any of these names; None if nobody has made one."""
    return next((given for given in given_settings() if given.name in names), None)


def given_settings() -> Iterator[Given]:
    """Yield every setting that is not a default, in the order in which Prefect prefers the places.

    A file that cannot be read has none.
    """
    for name in sorted(os.environ):
        if name.startswith("PREFECT_") and os.environ[name] != DEFAULTS.get(name):
            yield Given(name, os.environ[name], "from the environment", f"unset {name}")
    dotenv = Path(".env").absolute()
    for name, value in _dotenv().items():
        yield Given(name.upper(), value, f"from the file {dotenv}", f"remove {name} from {dotenv}")
    for file, table in TOML_TABLES.items():
        path = Path(file).absolute()
        for name, value in _flat(_table(path, table), ("prefect",)):
            yield Given(name, value, f"from the file {path}", f"remove it from {path}")
    profiles = profiles_path()
    content = _table(profiles, ())
    profile = os.environ.get("PREFECT_PROFILE") or content.get("active")
    values = content.get("profiles", {}).get(profile, {})
    for name, value in values.items() if isinstance(values, dict) else ():
        yield Given(
            name,
            value,
            f"from Prefect's profile {profile} in {profiles}",
            f"remove it from that file (prefect config unset {name}), or choose another profile (prefect profile use)",
        )


def profiles_path() -> Path:
    """Return the file that Prefect keeps its profiles in."""
    places = [os.environ.get("PREFECT_PROFILES_PATH"), _dotenv().get("PREFECT_PROFILES_PATH")]
    places += [_table(Path(file), table).get("profiles_path") for file, table in TOML_TABLES.items()]
    home = os.environ.get("PREFECT_HOME") or "~/.prefect"
    return Path(os.path.expanduser(next((place for place in places if place), f"{home}/profiles.toml")))  # noqa: PTH111


def describe_settings_error(error: Exception) -> str:
    """Say which setting Prefect cannot read, where it was made, and what to do.

    Args:
        error: What importing Prefect has raised.
    """
    found = _faults(error)
    for path in (Path(".env"), *map(Path, TOML_TABLES), profiles_path()):
        fault = _fault_of(path)
        if fault:
            found.append(f"{path.absolute()} cannot be read: {fault}. Mend the file, or move it away.")
    if not found:
        made = ", ".join(f"{given.name} ({given.place})" for given in given_settings())
        found.append(f"{type(error).__name__}: {error}.\nThese settings are not its defaults: {made or 'none'}.")
    return "Prefect's settings cannot be read.\n" + "\n".join(found)


def _faults(error: Exception) -> list[str]:
    """A sentence for each setting that is wrong, as far as it can be found."""
    if isinstance(error, ValidationError):
        details = error.errors(include_url=False)
        wrong = [(str(detail["loc"][-1]), detail["input"], detail["msg"]) for detail in details if detail["loc"]]
    else:  # what could not be parsed at all, such as a dictionary
        wrong = [(field, None, "it cannot be parsed") for field in UNPARSED.findall(str(error))]
    faults = []
    for field, value, message in wrong:
        for given in given_settings():
            is_value = value is None or str(value).casefold() == str(given.value).casefold()  # as Prefect normalizes it
            if given.name.endswith(f"_{field.upper()}") and is_value:
                shown = given.name if SECRET.search(given.name) else f"{given.name}={given.value!r}"
                faults.append(f"{shown} ({given.place}): {message}. To undo it: {given.suggest_remedy}.")
                break
    return faults


def _fault_of(path: Path) -> str | None:
    """Why a file of settings cannot be read; None if it can, or is not there."""
    if not path.is_file():
        return None
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".toml":
            tomllib.loads(text)
    except (OSError, ValueError) as error:
        return str(error)
    return None


def _dotenv() -> dict[str, str | None]:
    try:
        values = dotenv_values(".env") if Path(".env").is_file() else {}
    except (OSError, ValueError):
        return {}
    return {name: value for name, value in values.items() if name.upper().startswith("PREFECT_")}


def _table(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    """A table of a TOML file; empty if there is none that can be read."""
    try:
        table: Any = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    for key in keys:
        table = table.get(key, {}) if isinstance(table, dict) else {}
    return table if isinstance(table, dict) else {}


def _flat(table: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Settings of nested tables by the name that they have in the environment."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, (*names, key))
        else:
            yield "_".join((*names, key)).upper(), value
