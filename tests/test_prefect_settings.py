"""Errors about Prefect's settings name the place of the setting and how to undo it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pipeline import PROJECT
from prefect.settings.models.root import Settings

from flows.server.prefect_settings import (
    API_URL,
    EPHEMERAL,
    describe_settings_error,
    origin_of,
    set_defaults,
)

TOML = '[tool.prefect.api]\nurl = "http://one.invalid/api"\n'
PROFILE = 'active = "work"\n[profiles.work]\nPREFECT_API_URL = "http://four.invalid/api"\n'


@pytest.fixture
def nothing_set(monkeypatch, tmp_path) -> Path:
    """Change to a working directory with a Prefect home in which nothing is set."""
    monkeypatch.setattr(os, "environ", os.environ.copy())  # what a test sets ends with it
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_default_has_no_origin(nothing_set) -> None:
    assert origin_of(API_URL) is None


def test_each_place_is_found_in_the_order_of_precedence(nothing_set, monkeypatch) -> None:
    (nothing_set / "home" / "profiles.toml").write_text(PROFILE)
    found = origin_of(API_URL)
    assert (found.value, found.place) == (
        "http://four.invalid/api",
        f"from Prefect's profile work in {nothing_set / 'home' / 'profiles.toml'}",
    )
    assert "prefect config unset PREFECT_API_URL" in found.remedy

    (nothing_set / "pyproject.toml").write_text(TOML)
    found = origin_of(API_URL)
    assert found.value == "http://one.invalid/api"
    assert found.remedy == f"remove it from {nothing_set / 'pyproject.toml'}"

    (nothing_set / "prefect.toml").write_text('[api]\nurl = "http://two.invalid/api"\n')
    assert origin_of(API_URL).place == f"from the file {nothing_set / 'prefect.toml'}"

    (nothing_set / ".env").write_text("OTHER=1\nPREFECT_API_URL=http://three.invalid/api\n")
    assert origin_of(API_URL).value == "http://three.invalid/api"
    assert origin_of(API_URL).remedy == f"remove PREFECT_API_URL from {nothing_set / '.env'}"

    monkeypatch.setenv("PREFECT_API_URL", "http://five.invalid/api")
    assert origin_of(API_URL).place == "from the environment"
    assert origin_of(API_URL).remedy == "unset PREFECT_API_URL"


def test_the_origin_has_the_value_that_prefect_reads(nothing_set) -> None:
    (nothing_set / "home" / "profiles.toml").write_text(PROFILE)
    (nothing_set / ".env").write_text("PREFECT_API_URL=http://three.invalid/api\n")
    code = "from prefect.settings import PREFECT_API_URL; print(PREFECT_API_URL.value())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == origin_of(API_URL).value


@pytest.mark.parametrize("place", ["PREFECT_PROFILE", "PREFECT_PROFILES_PATH"])
def test_another_profile_and_another_profiles_file_are_found(nothing_set, monkeypatch, place: str) -> None:
    other = nothing_set / "other.toml"
    if place == "PREFECT_PROFILE":
        other = nothing_set / "home" / "profiles.toml"
        monkeypatch.setenv(place, "work")
        other.write_text(PROFILE.replace('active = "work"', 'active = "none"'))
    else:
        monkeypatch.setenv(place, str(other))
        other.write_text(PROFILE)
    assert origin_of(API_URL).place == f"from Prefect's profile work in {other}"


def import_flow(**env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "import flows.train_flow"],
        env={**os.environ, "PYTHONPATH": str(PROJECT), **env},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        (".env", b"PREFECT_API_REQUEST_TIMEOUT=soon", ("PREFECT_API_REQUEST_TIMEOUT='soon' (from the file", "remove")),
        (".env", b"\xff\xfe", (".env cannot be read", "Correct the file")),
        ("pyproject.toml", b"[tool.prefect", ("pyproject.toml cannot be read", "Correct the file")),
        ("pyproject.toml", b"[tool.prefect.api]\nurl = 7", ("PREFECT_API_URL=7 (from the file", "remove it from")),
        ("home/profiles.toml", b"active = [", ("profiles.toml cannot be read", "Correct the file")),
        (".env", b"PREFECT_LOGGING_LEVEL=loud", ("PREFECT_LOGGING_LEVEL='loud' (from the file", "remove")),
        ("pyproject.toml", b"[tool.prefect]\napi = 3", ("TypeError", "PREFECT_API (from the file")),
        (
            "home/profiles.toml",
            b'active = "w"\n[profiles.w]\nPREFECT_LOGGING_LEVEL = "LOUD"',
            ("PREFECT_LOGGING_LEVEL='LOUD' (from Prefect's profile w", "prefect config unset PREFECT_LOGGING_LEVEL"),
        ),
    ],
)
def test_invalid_settings_are_one_clear_error(nothing_set, file, content, words) -> None:
    (nothing_set / file).write_bytes(content)
    with pytest.raises(Exception) as caught:  # noqa: PT011  # whatever Prefect raises
        Settings()
    message = describe_settings_error(caught.value)
    assert message.startswith("Prefect's settings cannot be read.\n")
    assert all(part in message for part in words), message


def test_a_command_with_invalid_settings_ends_with_that_error(nothing_set) -> None:
    (nothing_set / ".env").write_text("PREFECT_LOGGING_LEVEL=loud")
    done = import_flow(PREFECT_CLIENT_CUSTOM_HEADERS="hidden")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: Prefect's settings cannot be read.\n"), done.stderr
    assert "Traceback" not in done.stderr
    assert "hidden" not in done.stderr


@pytest.mark.parametrize("name", ["PREFECT_API_REQUEST_TIMEOUT", "PREFECT_LOGGING_LEVEL", "PREFECT_SERVER_API_PORT"])
def test_an_invalid_variable_is_named(nothing_set, monkeypatch, name: str) -> None:
    monkeypatch.setenv(name, "")
    with pytest.raises(Exception) as caught:  # noqa: PT011  # whatever Prefect raises
        Settings()
    assert f"To undo it: unset {name}." in describe_settings_error(caught.value)


def test_an_unparsable_variable_is_named_without_its_secret_value(nothing_set, monkeypatch) -> None:
    monkeypatch.setenv("PREFECT_CLIENT_CUSTOM_HEADERS", "hidden")
    with pytest.raises(Exception) as caught:  # noqa: PT011  # whatever Prefect raises
        Settings()
    message = describe_settings_error(caught.value)
    assert "To undo it: unset PREFECT_CLIENT_CUSTOM_HEADERS." in message
    assert "hidden" not in message


def effective(name: str, **env: str) -> str:
    code = f"import flows; from prefect.settings import {name}; print({name}.value())"
    environ = {**os.environ, "PYTHONPATH": str(PROJECT), **env}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    return done.stdout.strip()


USERS = {
    "home/profiles.toml": 'active = "w"\n[profiles.w]\nPREFECT_CLIENT_MAX_RETRIES = "1"\n',
    ".env": "PREFECT_CLIENT_MAX_RETRIES=1\n",
    "prefect.toml": "[client]\nmax_retries = 1\n",
    "pyproject.toml": "[tool.prefect.client]\nmax_retries = 1\n",
}


def retries() -> int:
    """Return what Prefect reads after our defaults are set."""
    set_defaults()
    return Settings().client.max_retries


@pytest.mark.parametrize("file", USERS)
def test_a_setting_of_the_user_in_any_place_has_precedence_over_our_defaults(nothing_set, monkeypatch, file) -> None:
    (nothing_set / file).write_text(USERS[file])
    assert retries() == 1
    monkeypatch.setenv("PREFECT_CLIENT_MAX_RETRIES", "3")
    assert retries() == 3


def test_a_command_has_our_defaults_where_the_user_has_set_nothing(nothing_set) -> None:
    assert effective("PREFECT_CLIENT_MAX_RETRIES") == "7"


def test_a_broken_logging_file_is_one_error_that_lists_the_changed_settings(nothing_set) -> None:
    (nothing_set / "log.yml").write_text("a: [unclosed")
    done = import_flow(PREFECT_LOGGING_SETTINGS_PATH=str(nothing_set / "log.yml"))
    assert done.returncode == 1
    assert "PREFECT_LOGGING_SETTINGS_PATH (from the environment)" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_address_counts_as_not_set(nothing_set, monkeypatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", " ")
    set_defaults()
    assert Settings().api.url is None


def test_a_module_of_another_project_does_not_shadow_ours(nothing_set) -> None:
    (nothing_set / "tasks.py").write_text("raise ZeroDivisionError\n")
    (nothing_set / "gan").mkdir()
    (nothing_set / "gan" / "__init__.py").write_text("raise ZeroDivisionError\n")
    done = import_flow(PYTHONPATH=f"{nothing_set}{os.pathsep}{PROJECT}")
    assert done.returncode == 0, done.stderr


def test_a_profile_without_a_setting_for_the_embedded_server_leaves_it_enabled(nothing_set, monkeypatch) -> None:
    (nothing_set / "home" / "profiles.toml").write_text('active = "w"\n[profiles.w]\nPREFECT_LOGGING_LEVEL = "INFO"\n')
    set_defaults()
    assert Settings().server.ephemeral.enabled
    for name in EPHEMERAL:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_SERVER_ALLOW_EPHEMERAL_MODE", "false")
    set_defaults()
    assert not Settings().server.ephemeral.enabled
