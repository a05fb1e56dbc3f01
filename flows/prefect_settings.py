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
EPHEMERAL = ("PREFECT_SERVER_EPHEMERAL_ENABLED", "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE")

SECRET = re.compile("KEY|AUTH|PASSWORD|SECRET|CONNECTION_URL|HEADERS")
"""What is in the name of a setting whose value is not to be shown."""

TOML_TABLES = {"prefect.toml": (), "pyproject.toml": ("tool", "prefect")}


@dataclass(frozen=True)
class Given:
    """A setting that somebody has made.

    Attributes:
        name: As a variable of the environment, such as PREFECT_API_URL.
        value: As it was written.
        place: Where it was made, for people.
        way_out: How to take it back, as an instruction without a full stop.
    """

    name: str
    value: Any
    place: str
    way_out: str


def origin_of(*names: str) -> Given | None:
    """Return the setting that counts: the first that any place has under one of its names; None if all is default."""
    return next((given for given in given_settings() if given.name in names), None)


def given_settings() -> Iterator[Given]:
    """Yield every setting that is not a default, in the order in which Prefect prefers the places.

    A file that cannot be read has none.
    """
    for name in sorted(os.environ):
        if name.startswith("PREFECT_"):
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
    home = Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect")
    return Path(next((place for place in places if place), home / "profiles.toml")).expanduser()


def describe_settings_error(error: ValueError) -> str:
    """Say which setting Prefect cannot read, where it was made, and what to do.

    Args:
        error: What importing Prefect has raised.
    """
    found = _faults(error) if isinstance(error, ValidationError) else []
    for path in (Path(".env"), *map(Path, TOML_TABLES), profiles_path()):
        fault = _fault_of(path)
        if fault:
            found.append(f"{path.absolute()} cannot be read: {fault}. Mend the file, or move it away.")
    return "Prefect's settings cannot be read.\n" + "\n".join(found or [str(error)])


def _faults(error: ValidationError) -> list[str]:
    faults = []
    for detail in error.errors(include_url=False):
        suffix, value = f"_{detail['loc'][-1]}".upper() if detail["loc"] else "", detail["input"]
        made = next((g for g in given_settings() if g.name.endswith(suffix) and str(g.value) == str(value)), None)
        if made:
            shown = made.name if SECRET.search(made.name) else f"{made.name}={value!r}"
            faults.append(f"{shown} ({made.place}): {detail['msg']}. To take it back: {made.way_out}.")
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
    path = Path(".env")
    values = dotenv_values(path) if path.is_file() and not _fault_of(path) else {}
    return {name: value for name, value in values.items() if name.upper().startswith("PREFECT_")}


def _table(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    """A table of a TOML file; empty if there is none that can be read."""
    if not path.is_file() or _fault_of(path):
        return {}
    table: Any = tomllib.loads(path.read_text(encoding="utf-8"))
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
