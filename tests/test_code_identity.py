from pipeline import Checkout

EDIT_BETWEEN = """
import tasks.train
from pathlib import Path
from gan.errors import CodeError
from tasks.code_identity import import_reached, reached_code

before = reached_code("tasks.train")
path = Path("gan/losses.py")
path.write_text(path.read_text() + "# edited while a run goes on\\n")
print("same key:", reached_code("tasks.train") == before)
try:
    import_reached("tasks.train")
except CodeError as error:
    print(error)
import_reached("tasks.normalize")
print("other stages go on")
"""


def test_code_that_is_edited_during_a_run_is_neither_run_nor_filed_under_the_old_key(tmp_path) -> None:
    checkout = Checkout.make(tmp_path / "project", tmp_path / "prefect")
    output = checkout.run("-c", EDIT_BETWEEN)
    assert "same key: True" in output
    assert "gan/losses.py was edited while this run was going on." in output
    assert "Run the same command again" in output
    assert "other stages go on" in output
