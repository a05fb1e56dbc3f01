"""The architecture, as a test: what may import what, and what is not imported at all."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from pipeline import PROJECT

from tasks.code_identity import RESULT_LIBRARIES, _imported_names, reached_libraries, reached_modules

ALLOWED = {"bench": {"bench", "gan"}, "gan": {"gan"}, "tasks": {"gan", "tasks"}, "flows": {"gan", "tasks", "flows"}}
MAY_IMPORT_PREFECT = {"tasks", "flows"}
SETTINGS = {"errors", "recipe", "config", "formatting"}
"""Modules of `gan` that every package of it may import."""

PACKAGES = {
    "system": set[str](),
    "storage": {"system"},
    "data": {"system", "storage"},
    "models": {"system", "storage", "data"},
    "training": {"system", "storage", "data", "models"},
    "judging": {"system", "storage", "data", "models"},
    "runs": {"storage", "judging"},
    "report": {"system", "storage", "data", "models", "training", "judging", "runs"},
}
"""Which package of `gan` may import which others. Its commands, at the top, may import all of them."""

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
    "threadpoolctl",
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


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_of_gan_import_only_what_is_below_them(package: str) -> None:
    for path in python_files(f"gan/{package}"):
        imported = {name.split(".")[1] for name in _imported_names(path) if name.startswith("gan.")}
        assert imported <= {package} | PACKAGES[package] | SETTINGS, f"{path} imports against the direction"


def test_every_package_of_gan_has_a_rule_and_says_what_is_in_it() -> None:
    packages = {path.parent.name: path for path in (PROJECT / "gan").glob("*/__init__.py")}
    assert packages.keys() == PACKAGES.keys()
    for path in packages.values():
        docstring = ast.get_docstring(ast.parse(path.read_text()))
        assert all(words in (docstring or "") for words in ("Imports", "Start with"))


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Also through imports within functions, which Python would not notice."""
    files = (path for package in ALLOWED for path in python_files(package) if path.name != "__init__.py")
    modules = {_module(path): path for path in files}
    graph = {
        name: {found for found in _imported_names(path) if found in modules} - {name} for name, path in modules.items()
    }
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"These modules import each other: {' -> '.join(error.args[1])}")


def _module(path: Path) -> str:
    return ".".join(path.relative_to(PROJECT).with_suffix("").parts)


def test_every_library_that_gan_imports_is_known_to_compute_or_not() -> None:
    known = set(sys.stdlib_module_names) | ALLOWED["gan"] | RESULT_LIBRARIES.keys() | INCIDENTAL_LIBRARIES
    for path in python_files("gan"):
        assert imported_libraries(path) <= known, f"{path} imports a library that no cache key accounts for"


def test_a_stage_reaches_what_it_imports_only_when_it_runs() -> None:
    assert {"gan.training.article", "gan.training.losses", "gan.models.networks", "gan.data.pixels"} <= reached_modules(
        "tasks.train"
    )
    assert reached_libraries("tasks.train").keys() >= {"tensorflow", "keras", "numpy"}


def test_training_does_not_reach_the_report_and_fetching_no_network() -> None:
    assert "gan.report.page" not in reached_modules("tasks.train") | reached_modules("tasks.render")
    assert not [module for module in reached_modules("tasks.train") if module.startswith("gan.judging.metrics")]
    assert "gan.training.article" not in reached_modules("tasks.fetch") | reached_modules("tasks.normalize")


def test_commands_are_imported_without_what_takes_long_and_a_local_store_needs_no_boto3(tmp_path) -> None:
    code = (
        "import sys, flows.gpu_flow, flows.prune_flow, flows.sweep_flow, flows.train_flow\n"
        "import gan.champion, gan.classifier, gan.compare, gan.generate, gan.index\n"
        "from pathlib import Path; from gan.storage.store import Store\n"
        "store = Store.open(Path(sys.argv[1])); store.path(store.put_bytes(b'x', '.txt')); store.share([])\n"
        "sys.exit(bool({'tensorflow', 'keras', 'matplotlib', 'boto3'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=PROJECT, check=False).returncode == 0


def test_no_file_is_longer_than_can_be_read_in_one_sitting() -> None:
    for package in ALLOWED:
        for path in python_files(package):
            assert len(path.read_text().splitlines()) <= 320, f"{path} would read better as two nouns"
