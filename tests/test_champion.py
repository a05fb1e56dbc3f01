"""The champion's history: how commands change it by hand, and what happens if it is damaged."""

import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from builders import put_data, write_run
from champions import champion_and_its_generator, publish

import gan.runs.champion
from flows.checks import check_before_work
from flows.settings import RunSettings
from gan.champion import app, rollback
from gan.errors import SettingsError
from gan.runs.champion import Change, champion_of, mend_link, promote_by_hand, read_history, roll_back
from gan.runs.manifest import AVERAGE_GENERATOR
from gan.storage.locks import IN_USE, exclusive_root_lock, is_locked
from gan.storage.plain_json import to_json
from gan.storage.store import Store
from tasks.records import NormalizedData


@pytest.fixture
def data(store: Store) -> NormalizedData:
    return put_data(store, np.zeros((3, 28, 28, 1), np.float32))


def test_names_are_shown_whole_to_a_program_that_reads_the_history(store, data, call) -> None:
    names = ["a" * 100, "b" * 100]
    for name in names:
        publish(store, data, name)
        promote_by_hand(store.root, name)
    _, shown = call("gan.champion", "show", "--output-dir", store.root)
    assert shown.splitlines()[-1].split()[-2:] == names[::-1]


def test_promotion_waits_until_a_run_is_replaced(store, data) -> None:
    publish(store, data, "a")
    promoting = threading.Thread(target=promote_by_hand, args=(store.root, "a"))
    with exclusive_root_lock(store.root):
        promoting.start()
        promoting.join(0.5)
        assert champion_of(store.root) is None
    promoting.join(30)
    assert champion_of(store.root).run == "a"


def test_promotions_by_hand_can_be_rolled_back_one_by_one(store, data, capsys) -> None:
    for name in ("a", "b", "c"):
        publish(store, data, name)
        promote_by_hand(store.root, name)
    shutil.rmtree(store.root / "runs" / "b")
    for expected in ("b", "a"):
        assert roll_back(store.root).run == expected
        assert champion_and_its_generator(store) == (expected, expected)
    with pytest.raises(SettingsError, match="a is the first champion"):
        roll_back(store.root)
    app(["promote", "c", "--output-dir", str(store.root)], result_action="return_value")
    app(["show", "--output-dir", str(store.root)], result_action="return_value")
    shown = capsys.readouterr().out
    assert "Champion   c" in shown
    actions = [line.split()[1] for line in shown.splitlines() if line.startswith("20")]
    assert actions == ["promoted"] * 3 + ["rolled"] * 2 + ["promoted"]


def test_a_rollback_names_the_runs_that_were_judged_against_the_champion_that_is_gone(store, data, capsys) -> None:
    for name in ("a", "b"):
        publish(store, data, name)
        promote_by_hand(store.root, name)
    write_run(store.root, 3, name="c", champion="b")
    write_run(store.root, 4, name="d", champion="b", passes=True)
    write_run(store.root, 5, name="e", champion="a")
    rollback(output_dir=store.root)
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.endswith("Repeat the command of a run, and the gate decides again: c")
    for name in ("b", "a"):
        promote_by_hand(store.root, name)
    rollback(output_dir=store.root)
    assert "Repeat" not in capsys.readouterr().out, "a, which is gone now, was the champion before too"


def test_the_history_changes_under_the_lock_of_the_champion(store, data, monkeypatch) -> None:
    is_held, add_change = [], gan.runs.champion.add_change

    def watch(root: Path, change: Change) -> None:
        is_held.append(is_locked(root / IN_USE / "champion.lock"))
        add_change(root, change)

    monkeypatch.setattr("gan.runs.champion.add_change", watch)
    for name in ("a", "b"):
        publish(store, data, name)
        promote_by_hand(store.root, name)
    roll_back(store.root)
    assert is_held == [True] * 3


def test_a_former_champion_whose_copy_is_damaged_does_not_become_the_champion_again(store, data) -> None:
    for name in ("a", "b"):
        publish(store, data, name)
        promote_by_hand(store.root, name)
    former = store.root / read_history(store.root)[0].folder / AVERAGE_GENERATOR
    former.unlink()
    former.write_bytes(b"damaged")
    with pytest.raises(SettingsError, match="is damaged, or not what was promoted"):
        roll_back(store.root)
    assert champion_and_its_generator(store) == ("b", "b")


@pytest.mark.parametrize("name", ["nobody", "../runs/a", "", "a/../a", ".hidden"])
def test_a_run_that_does_not_exist_cannot_be_promoted(store, data, name) -> None:
    publish(store, data, "a")
    with pytest.raises(SettingsError, match=r"is not a complete published run|cannot be a run's name"):
        promote_by_hand(store.root, name)
    assert champion_of(store.root) is None


def test_a_damaged_run_cannot_be_promoted(store, data) -> None:
    publish(store, data, "a")
    (store.root / "runs" / "a" / AVERAGE_GENERATOR).write_bytes(b"else")
    with pytest.raises(SettingsError, match="is missing, or is not what was published"):
        promote_by_hand(store.root, "a")


@pytest.mark.parametrize("line", ["nonsense", "{}", '{"run": "../x"}', "\0", '["a"]'])
def test_a_damaged_history_is_one_clear_error_before_any_work(store, data, line) -> None:
    publish(store, data, "a")
    promote_by_hand(store.root, "a")
    with (store.root / "champion.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(SettingsError, match=r"Line 2 of .*champion.jsonl is invalid"):
        check_before_work(RunSettings(output_dir=store.root))


def test_a_history_may_hold_characters_that_separate_lines_elsewhere(store, data) -> None:
    publish(store, data, "a")
    change = promote_by_hand(store.root, "a")
    odd = change.model_copy(update={"reasons": ("one\u2028two\u0085three",)})
    (store.root / "champion.jsonl").write_text(to_json(odd.model_dump(), indent=None) + "\n", encoding="utf-8")
    assert champion_of(store.root).reasons == odd.reasons


def test_a_contradictory_history_is_one_clear_error(store, data) -> None:
    """A line was removed, as a user might who reads that it is damaged; the link must not change to another run."""
    for name in ("a", "b", "c"):
        publish(store, data, name)
        promote_by_hand(store.root, name)
    roll_back(store.root)
    first, second, third, last = (store.root / "champion.jsonl").read_text().splitlines()
    (store.root / "champion.jsonl").write_text("\n".join((first, second, last)))
    with pytest.raises(SettingsError, match=r"Line 3 of .* says that b is the champion again, which contradicts"):
        mend_link(store.root)
    assert champion_and_its_generator(store) == ("b", "b")
    (store.root / "champion.jsonl").write_text("\n".join((first, "", second, third, "", last, "")))
    assert champion_of(store.root).run == "b"


def test_a_history_cannot_lead_out_of_the_output_folder(store, data) -> None:
    publish(store, data, "a")
    change = promote_by_hand(store.root, "a")
    hostile = change.model_copy(update={"run": "../../elsewhere"}).model_dump_json()
    (store.root / "champion.jsonl").write_text(hostile + "\n")
    with pytest.raises(SettingsError, match="Line 1 of"):
        champion_of(store.root)


def test_the_link_follows_the_history(store, data) -> None:
    publish(store, data, "a")
    promote_by_hand(store.root, "a")
    (store.root / "champion").unlink()
    mend_link(store.root)
    assert champion_and_its_generator(store)[0] == "a"
