"""Check that targets, files and headings named in the documentation exist. `test_ui.py` runs the smoke command."""

import re
from pathlib import Path

import pytest
import yaml
from pipeline import PROJECT

README = (PROJECT / "README.md").read_text(encoding="utf-8")
PAGES = [
    *(PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "artifacts/README.md")),
    *sorted((PROJECT / "docs").glob("*.md")),
]
MAKEFILE = (PROJECT / "Makefile").read_text()


def test_every_make_target_that_a_page_names_exists_and_every_target_is_explained() -> None:
    explained = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE))
    for page in PAGES:
        named = re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert set(named) <= explained, page
    assert set(re.findall(r"make ([a-z-]+)", README)) <= explained
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert set(phony.split()) == explained


def test_the_readme_is_read_in_one_sitting() -> None:
    assert len(README.split()) <= 1500


def headings(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    lines = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_local_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!http)([^)#]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8")):
        path = page.parent / target if target else page
        assert path.exists(), target
        assert not anchor or anchor in headings(path), f"{target}#{anchor}"


TEST_OR_FILE = re.compile(
    r"`(?:tests/)?(?P<file>test_\w+\.py)`"
    r"|`(?P<test>(?:\.\.\.)?_?test_\w+(?:\.\.\.)?|\.\.\._\w+(?:\.\.\.)?)`"  # with dots where the name is cut
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_a_page_names_is_in_the_file_that_it_names(page: Path) -> None:
    paths = list(Path(__file__).parent.glob("*.py"))
    tests = {path.name: re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8")) for path in paths}
    for line in page.read_text(encoding="utf-8").splitlines():
        file = None
        for found in TEST_OR_FILE.finditer(line):
            if found["file"]:
                file = found["file"]
            else:
                name = found["test"]
                pattern = ".*".join(map(re.escape, name.split("...")))
                inside = tests[file] if file else [each for names in tests.values() for each in names]
                assert any(re.fullmatch(pattern, each) for each in inside), f"{name} in {file}"


def test_every_file_that_contributing_names_exists() -> None:
    named = re.findall(r"`([\w./-]+/[\w./-]+)`", (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert "gan/recipes.py" in named
    assert not [name for name in named if not (PROJECT / name).exists() and "NAME" not in name]


def test_pre_commit_runs_the_commands_of_make_check() -> None:
    (recipe,) = re.findall(r"^check:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    commands = [line.strip().removeprefix("@$(VENV)/bin/") for line in recipe.replace(" \\\n\t\t", " ").splitlines()]
    (local,) = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [hook["entry"].removeprefix(".venv/bin/") for hook in local["hooks"]] == commands
