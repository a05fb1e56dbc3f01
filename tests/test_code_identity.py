import json

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
import importlib, json, sys
from pathlib import Path
from tasks import code_identity

STAGES = ("fetch", "normalize", "fit_extractor", "train", "render", "two_sample", "compare", "publish")

def keys():
    fresh = importlib.reload(code_identity)  # it reads each file once
    return [fresh.reached_code(f"tasks.{stage}") for stage in STAGES]

before = keys()
for file, old, new in json.loads(sys.argv[1]):
    path = Path(file)
    content = path.read_text() if path.exists() else None
    path.write_text(content.replace(old, new) if old else (content or "") + new)
    assert path.read_text() != content
    after = keys()
    path.unlink() if content is None else path.write_text(content)
    print(*(stage for stage, one, other in zip(STAGES, before, after) if one != other))
"""

EDITS = [
    ("gan/recipes.py", '"""The baseline', '"""Measured.\n\nThe baseline', ""),
    ("gan/recipes.py", "", "# a remark\n", ""),
    ("gan/config.py.orig", "", "the backup of an editor\n", ""),
    ("gan/recipes.py", "steps=10_001", "steps=10_002", ""),
    ("gan/recipe.py", "", "EDITED = True\n", "fit_extractor train render two_sample compare publish"),
    ("gan/report/page.py", "", "EDITED = True\n", "compare"),
    ("gan/report/page.html.jinja", "", "{# edited #}", "compare"),
    ("gan/report/templates.colors.css", "", "/* edited */", "compare"),
    ("gan/report/templates.chart.css", "", "/* edited */", "compare"),
    ("gan/report/page.css", "", "/* edited */", "compare"),
    ("gan/report/blind_test.css", "", "/* edited */", "compare"),
    ("gan/formatting.py", "", "EDITED = True\n", "compare"),
]


def test_an_edit_of_code_or_templates_reaches_just_the_stages_that_use_it_and_remarks_reach_none(tmp_path) -> None:
    checkout = Checkout.make(tmp_path / "project", tmp_path / "prefect")
    reached = checkout.run("-c", KEYS, json.dumps([edit[:3] for edit in EDITS])).splitlines()
    assert dict(zip(EDITS, reached, strict=True)) == {edit: edit[3] for edit in EDITS}
