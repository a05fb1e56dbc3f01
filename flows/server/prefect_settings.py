"""The origin of each Prefect setting, so that an error can say what to change.

Prefect reads settings from these places, in order of precedence: the environment, the files .env, prefect.toml and
pyproject.toml in the working directory, and the active profile. This module reads the same places without importing
Prefect, because its import fails on an invalid value.
"""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dotenv import dotenv_values
from pydantic import ValidationError

API_URL, AUTH_STRING = "PREFECT_API_URL", "PREFECT_API_AUTH_STRING"
CERTIFICATES = "PREFECT_API_SSL_CERT_FILE"
SERVER_AUTH_STRING, BASE_PATH = "PREFECT_SERVER_API_AUTH_STRING", "PREFECT_SERVER_API_BASE_PATH"
DATABASE = ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL")
EPHEMERAL = ("PREFECT_SERVER_EPHEMERAL_ENABLED", "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE")

DEFAULTS = {
    "DO_NOT_TRACK": "1",
    # At start-up, the embedded server's telemetry meets a locked database, and logs a long traceback.
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "gan,tasks",  # shown in the UI
    # A run without heartbeats is marked as crashed (flows/setup_server.py).
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    # Prefect itself allows the embedded server only in the profile "ephemeral".
    "PREFECT_SERVER_EPHEMERAL_ENABLED": "true",
    # The first start creates the database. On a busy machine this takes longer than Prefect's 20 s.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # A failed request is repeated for 4 minutes in all.
    "PREFECT_CLIENT_MAX_RETRIES": "7",
    # No web page that is open in a browser here may read from the embedded server, or change its database, which make
    # server and the workers share.
    "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
    "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": "",  # none: it has no UI
    # Checks log before the flow starts, when there is no run to attach the lines to.
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
}
"""Our defaults. The environment, settings files and profiles have precedence."""

SECRET = re.compile("KEY|AUTH|PASSWORD|SECRET|CONNECTION_URL|HEADERS")  # in names of settings with secret values
UNPARSED = re.compile(r'error parsing value for field "(\w+)"')
TOML_TABLES = {"prefect.toml": (), "pyproject.toml": ("tool", "prefect")}


class Given(NamedTuple):
    """A setting that is not a default."""

    name: str  # of its environment variable, such as PREFECT_API_URL
    value: Any  # as written
    place: str  # where it was set, in words
    remedy: str  # instruction that undoes it, without a full stop


def set_defaults() -> None:
    """Apply `DEFAULTS` to this process and its children, except for settings that are set in any place."""
    if not os.environ.get(API_URL, "some").strip():
        del os.environ[API_URL]  # Prefect treats an empty address partly as set
    made = {given.name for given in given_settings()} | set(os.environ)
    if made.intersection(EPHEMERAL):
        made |= {*EPHEMERAL}
    for name in DEFAULTS.keys() - made:
        os.environ[name] = DEFAULTS[name]


def origin_of(*names: str) -> Given | None:
    """Return the setting with the highest precedence under any of these names; None if all are defaults."""
    return next((given for given in given_settings() if given.name in names), None)


def given_settings() -> Iterator[Given]:
    """Yield every setting that is not a default, in order of precedence. Unreadable files are skipped."""
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
    profile = os.environ.get("PREFECT_PROFILE") or _table(profiles, ()).get("active")
    place, advice = f"from Prefect's profile {profile} in {profiles}", "or choose another profile (prefect profile use)"
    for name, value in _table(profiles, ("profiles", profile)).items():
        yield Given(name, value, place, f"remove it from that file (prefect config unset {name}), {advice}")


def profiles_path() -> Path:
    """Return the path of the file with Prefect's profiles."""
    places = [os.environ.get("PREFECT_PROFILES_PATH"), _dotenv().get("PREFECT_PROFILES_PATH")]
    places += [_table(Path(file), table).get("profiles_path") for file, table in TOML_TABLES.items()]
    home = os.environ.get("PREFECT_HOME") or "~/.prefect"
    return Path(os.path.expanduser(next((place for place in places if place), f"{home}/profiles.toml")))  # noqa: PTH111


def describe_settings_error(error: Exception) -> str:
    """Describe which setting made the import of Prefect fail with `error`, where it was set, and how to undo it."""
    found = _faults(error)
    for path in (Path(".env"), *map(Path, TOML_TABLES), profiles_path()):
        try:
            text = path.read_text(encoding="utf-8") if path.is_file() else ""
            if path.suffix == ".toml":
                tomllib.loads(text)
        except (OSError, ValueError) as fault:
            found.append(f"{path.absolute()} cannot be read: {fault}. Correct the file, or move it away.")
    if not found:
        made = ", ".join(f"{given.name} ({given.place})" for given in given_settings()) or "none"
        found.append(f"{type(error).__name__}: {error}.\nThese settings differ from Prefect's defaults: {made}.")
    return "Prefect's settings cannot be read.\n" + "\n".join(found)


def _faults(error: Exception) -> list[str]:
    if isinstance(error, ValidationError):
        details = error.errors(include_url=False)
        wrong = [(str(detail["loc"][-1]), detail["input"], detail["msg"]) for detail in details if detail["loc"]]
    else:  # a value that is not JSON where a dictionary is expected
        wrong = [(field, None, "it cannot be parsed") for field in UNPARSED.findall(str(error))]
    faults = []
    for field, value, message in wrong:
        for given in given_settings():
            # Prefect may have changed the case of the value
            is_same = value is None or str(value).casefold() == str(given.value).casefold()
            if given.name.endswith(f"_{field.upper()}") and is_same:
                shown = given.name if SECRET.search(given.name) else f"{given.name}={given.value!r}"
                faults.append(f"{shown} ({given.place}): {message}. To undo it: {given.remedy}.")
                break
    return faults


def _dotenv() -> dict[str, str | None]:
    try:
        values = dotenv_values(".env") if Path(".env").is_file() else {}
    except (OSError, ValueError):
        return {}
    return {name: value for name, value in values.items() if name.upper().startswith("PREFECT_")}


def _table(path: Path, keys: tuple[str | None, ...]) -> dict[str, Any]:
    """Return a table of a TOML file, or an empty one if it cannot be read."""
    try:
        table: Any = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    for key in keys:
        table = table.get(key, {}) if isinstance(table, dict) else {}
    return table if isinstance(table, dict) else {}


def _flat(table: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Yield the settings of nested tables with the names of their environment variables."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, (*names, key))
        else:
            yield "_".join((*names, key)).upper(), value
