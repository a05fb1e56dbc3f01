"""Who is the champion, how that is changed by gate and by hand, and what the pipeline makes of it."""

import json
import multiprocessing

import numpy as np
import pytest
from builders import put_data

from flows.settings import RunSettings
from gan.champion import app, champion_of, mend_link, promote, read_history, roll_back, standing, was_promoted
from gan.errors import SettingsError
from gan.gate import Decision
from gan.published import AVERAGE_GENERATOR, AVERAGE_SAMPLES
from gan.publishing import write_manifest
from gan.store import Store
from tasks.promotion import find_champion, settle
from tasks.records import NormalizedData, TrainedGan

PASSES = Decision(passes=True, champion=None, reasons=("It is good.",))


@pytest.fixture
def data(store: Store) -> NormalizedData:
    return put_data(store, np.zeros((3, 28, 28, 1), np.float32))


def publish(store: Store, data: NormalizedData, name: str, gate: Decision = PASSES, champion=None) -> TrainedGan:
    """A run whose files hold its name."""
    folder = store.root / "runs" / name
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("generator.keras", AVERAGE_GENERATOR, AVERAGE_SAMPLES):
        (folder / file).write_bytes(name.encode())
    digests = {split: {"images": data.train_images.sha256} for split in ("train", "test")}
    write_manifest(
        folder,
        {
            "data": {"name": data.dataset, "sha256": digests},
            "gate": gate.model_dump(mode="json"),
            "champion": champion and champion.model_dump(mode="json"),
        },
    )
    ref = store.put_bytes(name.encode(), ".keras")
    return TrainedGan(generator=ref, average=ref, history=ref, snapshot_steps=(0,), snapshots=ref, warnings=())


def link_of(store: Store) -> str:
    return (store.root / "champion").resolve().name


def test_a_run_that_passes_becomes_the_champion_with_its_reasons_in_the_history(store, data) -> None:
    settle(store, "a", publish(store, data, "a"), PASSES, no_promote=False)
    assert link_of(store) == "a"
    (line,) = (store.root / "champion.jsonl").read_text().splitlines()
    assert json.loads(line)["reasons"] == ["It is good."]
    assert standing(store.root, "a") == "It is the champion. Passes the gate. It is good."


def test_a_run_that_does_not_pass_or_may_not_leaves_the_champion_as_it_is(store, data) -> None:
    settle(store, "a", publish(store, data, "a"), PASSES, no_promote=False)
    fails = Decision(passes=False, champion="a", reasons=("It is worse.",))
    settle(store, "b", publish(store, data, "b", fails), fails, no_promote=False)
    better = Decision(passes=True, champion="a", reasons=("It is better.",))
    settle(store, "c", publish(store, data, "c", better), better, no_promote=True)
    assert [change.run for change in read_history(store.root)] == ["a"]
    assert standing(store.root, "b") == "Does not pass the gate against the champion a. It is worse."
    assert standing(store.root, "c").endswith("It is better. It was not promoted, or is not the champion any more.")
    settle(store, "c", publish(store, data, "c", better), better, no_promote=False)
    assert link_of(store) == "c"


def test_a_decision_against_an_earlier_champion_promotes_nobody(store, data, caplog) -> None:
    settle(store, "a", publish(store, data, "a"), PASSES, no_promote=False)
    settle(store, "late", publish(store, data, "late"), PASSES, no_promote=False)
    assert link_of(store) == "a"
    assert "late passed the gate, but a has become the champion since it was judged" in caplog.text


def test_a_cached_repeat_of_a_champion_of_before_does_not_bring_it_back(store, data) -> None:
    first = publish(store, data, "a")
    settle(store, "a", first, PASSES, no_promote=False)
    champion = find_champion(store, "b", data, publish(store, data, "other"))
    better = Decision(passes=True, champion="a", reasons=("It is better.",))
    second = publish(store, data, "b", better, champion)
    settle(store, "b", second, better, no_promote=False)
    settle(store, "a", first, PASSES, no_promote=False)
    assert link_of(store) == "b"
    assert find_champion(store, "a", data, first) is None, "as it was when it was decided on"
    assert find_champion(store, "b", data, second) == champion


def test_a_run_that_passed_and_was_not_promoted_is_judged_anew_against_the_present_champion(store, data) -> None:
    waiting = publish(store, data, "waiting")
    assert find_champion(store, "waiting", data, waiting) is None
    settle(store, "a", publish(store, data, "a"), PASSES, no_promote=False)
    found = find_champion(store, "waiting", data, waiting)
    assert found.name == "a"
    assert store.path(found.average_samples).read_bytes() == b"a"


@pytest.mark.parametrize("damage", ["samples altered", "gone", "other data"])
def test_a_champion_that_cannot_be_compared_with_is_an_obstacle_and_no_error(store, data, damage) -> None:
    settle(store, "a", publish(store, data, "a"), PASSES, no_promote=False)
    folder = store.root / "runs" / "a"
    if damage == "samples altered":
        (folder / AVERAGE_SAMPLES).write_bytes(b"else")
    elif damage == "gone":
        folder.rename(store.root / "elsewhere")
    else:
        data = put_data(store, np.ones((3, 28, 28, 1), np.float32))
    found = find_champion(store, "b", data, publish(store, data, "new"))
    assert found.name == "a"
    assert found.average_samples is None
    assert found.obstacle.startswith("It cannot be compared with the champion: the champion a ")
    assert str(store.root) not in found.obstacle


def test_a_person_can_promote_and_roll_back_step_by_step(store, data, capsys) -> None:
    for name in ("a", "b", "c"):
        publish(store, data, name)
        promote(store.root, name, by_hand=True)
    for expected in ("b", "a"):
        assert roll_back(store.root).run == expected
        assert link_of(store) == expected
    with pytest.raises(SettingsError, match="a is the first champion"):
        roll_back(store.root)
    app(["promote", "c", "--output-dir", str(store.root)], result_action="return_value")
    app(["show", "--output-dir", str(store.root)], result_action="return_value")
    shown = capsys.readouterr().out
    assert "Champion   c" in shown
    assert [line.split()[1] for line in shown.splitlines() if line.startswith("20")] == ["promoted"] * 3 + [
        "rolled",
        "rolled",
        "promoted",
    ]
    assert was_promoted(store.root, "b", publish(store, data, "b").average.sha256)


@pytest.mark.parametrize("name", ["nobody", "../runs/a", "", "a/../a", ".hidden"])
def test_a_run_that_is_not_there_cannot_be_promoted(store, data, name) -> None:
    publish(store, data, "a")
    with pytest.raises(SettingsError, match=r"is no published run|cannot be a run's name"):
        promote(store.root, name, by_hand=True)
    assert champion_of(store.root) is None


def test_a_run_that_is_not_whole_cannot_be_promoted(store, data) -> None:
    publish(store, data, "a")
    (store.root / "runs" / "a" / AVERAGE_GENERATOR).write_bytes(b"else")
    with pytest.raises(SettingsError, match="is missing, or is not what was published"):
        promote(store.root, "a", by_hand=True)


@pytest.mark.parametrize("line", ["nonsense", "{}", '{"run": "../x"}', "\0", '["a"]'])
def test_a_damaged_history_is_one_clear_error_before_any_work(store, data, line) -> None:
    publish(store, data, "a")
    promote(store.root, "a", by_hand=True)
    with (store.root / "champion.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(SettingsError, match=r"Line 2 of .*champion.jsonl cannot be understood"):
        RunSettings(output_dir=store.root).open_store()


def test_the_link_follows_the_history(store, data) -> None:
    publish(store, data, "a")
    promote(store.root, "a", by_hand=True)
    (store.root / "champion").unlink()
    mend_link(store.root)
    assert link_of(store) == "a"


def promote_over_a(root, name) -> None:
    promote(root, name, over="a", reasons=("better",))


def test_of_runs_that_beat_the_same_champion_at_the_same_moment_one_is_promoted(store, data) -> None:
    names = [f"run-{number}" for number in range(6)]
    for name in ("a", *names):
        publish(store, data, name)
    promote(store.root, "a", by_hand=True)
    context = multiprocessing.get_context("forkserver")
    processes = [context.Process(target=promote_over_a, args=(store.root, name)) for name in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(read_history(store.root)) == 2
