"""What the README names is there: make targets, options, links; and its shortest command runs every stage."""

import re
import shlex

import pytest
from pipeline import PROJECT, Checkout, ran

from flows.settings import RunSettings

README = (PROJECT / "README.md").read_text(encoding="utf-8")


def test_every_make_target_it_names_exists_and_every_target_is_explained() -> None:
    makefile = (PROJECT / "Makefile").read_text()
    explained = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    assert set(re.findall(r"make ([a-z-]+)", README)) <= explained
    phony = set(re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split())
    assert phony == explained


def test_every_option_is_in_its_table_and_no_other() -> None:
    options = set(re.findall(r"^\| `--([a-z-]+)", README, re.MULTILINE))
    assert options == {name.replace("_", "-") for name in RunSettings.model_fields} | {"serve", "time-zone"}


def test_every_local_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", README):
        assert (PROJECT / target).exists(), target


@pytest.mark.real_data
def test_its_smoke_command_runs_every_stage(tmp_path) -> None:
    (command,) = re.findall(r"^(python flows/train_flow.py --smoke)$", README, re.MULTILINE)
    checkout = Checkout.make(tmp_path / "project", tmp_path / "prefect")
    assert len(ran(checkout.train(*shlex.split(command)[2:]))) == 6
    assert (checkout.folder / "artifacts" / "latest" / "report.html").exists()
