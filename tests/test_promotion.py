"""Promotion: how the gate's decision on a run changes the champion, and when the gate must decide again."""

import json
import multiprocessing
import shutil
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
from builders import put_data
from champions import PASSES, champion_and_its_generator, publish
from narrowing import not_none

from flows.settings import RunSettings
from flows.train_flow import compare_and_publish
from gan.errors import SettingsError
from gan.judging.gate import Decision, Quality
from gan.runs.champion import champion_of, describe_champion_status, promote, promote_by_hand, read_history, roll_back
from gan.runs.manifest import AVERAGE_GENERATOR, AVERAGE_SAMPLES, read_manifest
from gan.storage.store import Store
from tasks.promotion import find_champion, promote_if_passed
from tasks.records import NormalizedData, Opponents


@pytest.fixture
def data(store: Store) -> NormalizedData:
    return put_data(store, np.zeros((3, 28, 28, 1), np.float32))


def run_and_promote(
    store: Store, data: NormalizedData, name: str, gate: Decision, *, no_promote: bool = False, content: str = ""
) -> bool:
    """Do what the flow does, with the given decision of the gate; return whether the run need not be judged again."""
    trained = publish(store, data, "not yet", content=content or name)
    champion = find_champion(store, name, data, trained)
    publish(store, data, name, gate, champion, content)
    return promote_if_passed(store, name, trained, champion, gate, no_promote=no_promote)


def over(name: str) -> Decision:
    return Decision(passes=True, champion=name, reasons=("It is better.",))


WORSE = Decision(passes=False, champion="a", reasons=("It is worse.",))


def test_a_run_that_passes_becomes_the_champion_with_its_reasons_in_the_history(store, data) -> None:
    assert run_and_promote(store, data, "a", PASSES)
    assert champion_and_its_generator(store) == ("a", "a")
    (line,) = (store.root / "champion.jsonl").read_text().splitlines()
    assert json.loads(line)["reasons"] == ["It is good."]
    assert describe_champion_status(store.root, "a") == "It is the champion. Passes the gate. It is good."


def test_a_new_run_must_reach_the_best_of_all_champions_that_were_not_rolled_back(store, data) -> None:
    def reaching(name: str, recall: float) -> Decision:
        quality = Quality(n=100, extractor="small", values={"recall": recall})
        return over(name).model_copy(update={"quality": quality})

    run_and_promote(store, data, "a", reaching("", 0.5))
    run_and_promote(store, data, "b", reaching("a", 0.4))
    trained = publish(store, data, "new")
    assert not_none(find_champion(store, "new", data, trained)).reached[0].values == {"recall": 0.5}
    run_and_promote(store, data, "c", reaching("b", 0.7))
    assert not_none(find_champion(store, "new", data, trained)).reached[0].values == {"recall": 0.7}
    roll_back(store.root)
    assert not_none(find_champion(store, "new", data, trained)).reached[0].values == {"recall": 0.5}


def test_a_run_that_fails_the_gate_or_has_no_promote_does_not_change_the_champion(store, data) -> None:
    run_and_promote(store, data, "a", PASSES)
    run_and_promote(store, data, "b", WORSE)
    run_and_promote(store, data, "c", over("a"), no_promote=True)
    assert [change.run for change in read_history(store.root)] == ["a"]
    assert describe_champion_status(store.root, "b") == "Does not pass the gate against the champion a. It is worse."
    assert "It is better. It was not promoted, because of --no-promote, " in describe_champion_status(store.root, "c")
    run_and_promote(store, data, "c", over("a"))
    assert champion_and_its_generator(store) == ("c", "c")
    assert describe_champion_status(store.root, "a").startswith("It was the champion before; c is now.")


def test_a_worse_run_with_the_name_of_the_champion_does_not_replace_it(store, data) -> None:
    """The same command after an edit of the code gives another generator under the same name."""
    run_and_promote(store, data, "a", PASSES)
    run_and_promote(store, data, "a", WORSE, content="other")
    assert (store.root / "runs" / "a" / AVERAGE_GENERATOR).read_text() == "other"
    assert champion_and_its_generator(store) == ("a", "a")
    run_and_promote(store, data, "a", over("a"), content="better")
    assert champion_and_its_generator(store) == ("a", "better")
    roll_back(store.root)
    assert champion_and_its_generator(store) == ("a", "a")


def test_a_run_that_was_judged_against_an_earlier_champion_must_be_judged_again(store, data, caplog) -> None:
    late = publish(store, data, "late")
    champion = find_champion(store, "late", data, late)
    run_and_promote(store, data, "a", PASSES)
    assert not promote_if_passed(store, "late", late, champion, PASSES, no_promote=False)
    assert champion_and_its_generator(store)[0] == "a"
    assert "Since late was judged, the champion has changed (now: a)" in caplog.text
    assert find_champion(store, "late", data, late).name == "a"
    assert run_and_promote(store, data, "late", over("a"))


def test_a_run_is_judged_again_if_the_champion_changes_while_it_is_judged(store, data, monkeypatch) -> None:
    trained, judged = publish(store, data, "mine"), []

    def judge(*_: object) -> SimpleNamespace:
        opponent = find_champion(store, "mine", data, trained)
        judged.append(opponent and opponent.name)
        if len(judged) == 1:
            publish(store, data, "b")
            promote_by_hand(store.root, "b")
        gate = PASSES if opponent is None else over(opponent.name)
        publish(store, data, "mine", gate, opponent)
        return SimpleNamespace(judgement=SimpleNamespace(gate=gate))

    monkeypatch.setattr("flows.train_flow.compare", judge)
    monkeypatch.setattr("flows.train_flow.publish", lambda *_: None)
    for name in ("find_reference", "download_run", "is_published", "alert_on_collapse", "Opponents"):
        monkeypatch.setattr(f"flows.train_flow.{name}", Mock())
    records = Mock(data=data, trained=trained)
    settings = RunSettings(output_dir=store.root, run_name="mine")
    compare_and_publish(store, settings.run_config(), records, settings)
    assert judged == [None, "b"]
    assert champion_of(store.root).run == "mine"


def test_a_cached_repeat_of_an_earlier_champion_does_not_promote_it_again(store, data) -> None:
    run_and_promote(store, data, "a", PASSES)
    run_and_promote(store, data, "b", over("a"))
    first = publish(store, data, "a")
    assert promote_if_passed(store, "a", first, find_champion(store, "a", data, first), PASSES, no_promote=False)
    assert champion_and_its_generator(store)[0] == "b"
    assert find_champion(store, "a", data, first) is None, "the champion at the time of the decision"


def test_a_run_that_passed_and_was_not_promoted_is_judged_again_against_the_current_champion(
    store, data, caplog
) -> None:
    caplog.set_level("INFO")
    waiting = publish(store, data, "waiting")
    assert find_champion(store, "waiting", data, waiting) is None
    run_and_promote(store, data, "a", PASSES)
    found = find_champion(store, "waiting", data, waiting)
    assert found.name == "a"
    assert "waiting was judged before; the gate decides again, against a." in caplog.text
    assert Opponents(reference=None, champion=found).suffix == ", gate against a"
    assert store.path(found.average_samples).read_bytes() == b"a"


@pytest.mark.parametrize("damage", ["samples altered", "gone", "other data"])
def test_a_damaged_or_incomparable_champion_is_an_obstacle_until_it_is_repaired(store, data, damage) -> None:
    run_and_promote(store, data, "a", PASSES)
    (folder,) = (store.root / "champions").iterdir()
    other = put_data(store, np.ones((3, 28, 28, 1), np.float32)) if damage == "other data" else data
    if damage == "samples altered":
        (folder / AVERAGE_SAMPLES).unlink()  # otherwise the run's own file, a hard link to it, would change too
        (folder / AVERAGE_SAMPLES).write_bytes(b"else")
    elif damage == "gone":
        folder.rename(store.root / "elsewhere")
    trained = publish(store, other, "b")
    found = find_champion(store, "b", other, trained)
    assert (found.name, found.average_samples) == ("a", None)
    assert found.obstacle.startswith("It cannot be compared with the champion: the champion a ")
    assert str(store.root) not in found.obstacle
    assert ("no run can become champion" in found.obstacle) == (damage != "other data")
    assert ("The data has changed: repeat the champion's command" in found.obstacle) == (damage == "other data")
    refused = Decision(passes=False, champion="a", reasons=(found.obstacle,))
    publish(store, other, "b", refused, found)
    if damage == "other data":
        return
    promote_by_hand(store.root, "a")
    assert champion_and_its_generator(store) == ("a", "a"), "the copy is restored"
    assert [change.run for change in read_history(store.root)] == ["a"]
    with pytest.raises(SettingsError, match="a is the champion already"):
        promote_by_hand(store.root, "a")
    assert find_champion(store, "b", data, trained).obstacle == ""
    run_and_promote(store, data, "c", PASSES)
    assert find_champion(store, "b", data, trained).name == "c", "the gate must decide again"


def test_a_run_that_lost_to_a_champion_that_was_rolled_back_is_judged_again(store, data) -> None:
    for name in ("z", "a"):
        publish(store, data, name)
        promote_by_hand(store.root, name)
    run_and_promote(store, data, "b", WORSE)
    b = publish(store, data, "b", WORSE, find_champion(store, "b", data, publish(store, data, "not yet", content="b")))
    assert find_champion(store, "b", data, b).name == "a", "the champion at the time of the decision"
    run_and_promote(store, data, "c", over("a"))
    assert find_champion(store, "b", data, b).name == "a", "it was beaten since, not rolled back"
    roll_back(store.root)
    roll_back(store.root)
    assert find_champion(store, "b", data, b).name == "z"


@pytest.mark.parametrize("is_lost", [True, False])
def test_a_run_that_was_promoted_by_hand_need_not_beat_itself(store, data, is_lost) -> None:
    """The champion that it lost to is intact, or its copy is lost."""
    run_and_promote(store, data, "a", PASSES)
    if is_lost:
        shutil.rmtree(store.root / "champions")
    b = publish(store, data, "not yet", content="b")
    champion = find_champion(store, "b", data, b)
    assert bool(champion.obstacle) == is_lost
    publish(store, data, "b", WORSE, champion, "b")
    promote_by_hand(store.root, "b")
    assert find_champion(store, "b", data, b) == champion, "the champion at the time of the decision"
    shutil.rmtree(store.root / "runs" / "b")
    assert find_champion(store, "b", data, b) == champion, "its copy in champions/ says so"
    assert find_champion(store, "equal, of another name", data, b) == champion
    assert promote_if_passed(store, "equal, of another name", b, champion, PASSES, no_promote=False)
    assert [change.run for change in read_history(store.root)] == ["a", "b"]
    publish(store, data, "equal, of another name", WORSE, champion, "b")
    assert describe_champion_status(store.root, "equal, of another name").startswith("It is the champion, as b. ")


def test_a_run_is_not_promoted_if_its_name_has_another_generator_since(store, data) -> None:
    judged = publish(store, data, "b")
    publish(store, data, "b", content="by other code")
    assert not promote_if_passed(store, "b", judged, None, PASSES, no_promote=False)
    assert champion_of(store.root) is None


def promote_over(root, name, identity) -> None:
    judged = not_none(read_manifest(root / "runs" / name).sha256(AVERAGE_GENERATOR))
    promote(root, name, against=identity, generator=judged, reasons=("better",))


def test_only_one_of_several_runs_that_beat_the_same_champion_at_once_is_promoted(store, data) -> None:
    names = [f"run-{number}" for number in range(4)]
    for name in ("a", *names):
        publish(store, data, name)
    first = promote_by_hand(store.root, "a").identity
    context = multiprocessing.get_context("forkserver")
    processes = [context.Process(target=promote_over, args=(store.root, name, first)) for name in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(read_history(store.root)) == 2
