"""The architecture, as a test: what may import what, and what is not imported at all."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PROJECT

from tasks.code_identity import COMPUTING_LIBRARIES, reached_libraries, reached_modules

ALLOWED = {"bench": {"bench", "gan"}, "gan": {"gan"}, "tasks": {"gan", "tasks"}, "flows": {"gan", "tasks", "flows"}}
MAY_IMPORT_PREFECT = {"tasks", "flows"}
INCIDENTAL_LIBRARIES = {
    "boto3",
    "botocore",
    "cyclopts",
    "httpx",
    "markupsafe",
    "platformdirs",
    "pooch",
    "pydantic",
    "requests",
    "rich",
    "urllib3",
}
"""Libraries that carry settings, bytes and words, but compute nothing of a result."""


def python_files(package: str) -> list[Path]:
    return sorted((PROJECT / package).rglob("*.py"))


def imported_libraries(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} has a relative import"
            names.add((node.module or "").partition(".")[0])
    return names


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_go_one_way(package: str) -> None:
    for path in python_files(package):
        imported = imported_libraries(path)
        assert imported & ALLOWED.keys() <= ALLOWED[package], f"{path} imports against the direction"
        assert package in MAY_IMPORT_PREFECT or "prefect" not in imported, f"{path} imports Prefect"


def test_every_library_that_the_subject_imports_is_known_to_compute_or_not() -> None:
    known = set(sys.stdlib_module_names) | ALLOWED["gan"] | COMPUTING_LIBRARIES.keys() | INCIDENTAL_LIBRARIES
    for path in python_files("gan"):
        assert imported_libraries(path) <= known, f"{path} imports a library that no cache key accounts for"


def test_a_stage_reaches_what_it_imports_only_when_it_runs() -> None:
    assert {"gan.training", "gan.losses", "gan.networks", "gan.datasets.pixels"} <= reached_modules("tasks.train")
    assert reached_libraries("tasks.train").keys() >= {"tensorflow", "keras", "numpy"}


def test_training_does_not_reach_the_report_and_fetching_no_network() -> None:
    assert "gan.report" not in reached_modules("tasks.train") | reached_modules("tasks.render")
    assert not [module for module in reached_modules("tasks.train") if module.startswith("gan.metrics")]
    assert "gan.training" not in reached_modules("tasks.fetch") | reached_modules("tasks.normalize")


def test_flow_and_tasks_are_imported_without_what_takes_long() -> None:
    code = (
        "import flows.train_flow, sys; sys.exit(bool({'tensorflow', 'keras', 'matplotlib', 'boto3'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False).returncode == 0


def test_no_file_is_longer_than_can_be_read_in_one_sitting() -> None:
    for package in ALLOWED:
        for path in python_files(package):
            assert len(path.read_text().splitlines()) <= 320, f"{path} would read better as two nouns"
