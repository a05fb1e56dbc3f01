from pipeline import Checkout

EDIT_BETWEEN = """
import tasks.train
from pathlib import Path
from gan.errors import CodeError
from tasks.code_identity import import_reached, reached_code

before = reached_code("tasks.train")
path = Path("gan/training/losses.py")
path.write_text(path.read_text() + "# a comment, added during a run\\n'A docstring.'\\n")
import_reached("tasks.train")
path.write_text(path.read_text() + "CHANGED = True\\n")
print("same key:", reached_code("tasks.train") == before)
try:
    import_reached("tasks.train")
except CodeError as error:
    print(error)
import_reached("tasks.normalize")
print("other stages continue")
"""


def test_code_edited_during_a_run_is_refused_and_stores_nothing_under_the_old_key(tmp_path) -> None:
    checkout = Checkout.make(tmp_path / "project", tmp_path / "prefect")
    output = checkout.run("-c", EDIT_BETWEEN)
    assert "same key: True" in output
    assert "gan/training/losses.py was edited during this run." in output
    assert "Run the same command again" in output
    assert "other stages continue" in output


KEYS = """
from tasks.code_identity import reached_code
print(*(reached_code(f"tasks.{stage}") for stage in ("fetch", "train", "compare")))
"""


def test_a_key_covers_code_and_templates_but_not_comments_and_docstrings(tmp_path) -> None:
    checkout = Checkout.make(tmp_path / "project", tmp_path / "prefect")
    recipes, template = checkout.folder / "gan/recipes.py", checkout.folder / "gan/report/page.html.jinja"

    def keys() -> list[str]:
        return checkout.run("-c", KEYS).split()

    first = keys()
    recipes.write_text(recipes.read_text().replace('"""The baseline', '"""Measured.\n\nThe baseline') + "# so it is\n")
    assert keys() == first
    recipes.write_text(recipes.read_text().replace("steps=10_001", "steps=10_002"))
    second = keys()
    assert [new == old for new, old in zip(second, first, strict=True)] == [True, False, False]
    template.write_text(template.read_text() + "<!-- part of the report, which is a result -->")
    assert [new == old for new, old in zip(keys(), second, strict=True)] == [True, True, False]
