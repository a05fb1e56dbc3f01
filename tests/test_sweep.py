"""Sweeps: their trainings, options, failures and cancellation."""

import csv
import json
import re
import signal
from collections.abc import Sequence

import pytest
from narrowing import not_none
from pipeline import SMALL
from prefect import flow
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.utilities.callables import parameter_schema
from servers import ask

from flows.members import NOT_IN_A_SWEEP, Member, Outcome, SharedSettings, SweepSettings, members_of, run_members
from flows.server.cancellation import RunCancelledError, stop_when_cancelled
from flows.settings import RunSettings
from flows.sweep_flow import app, sweep_flow
from gan.errors import SettingsError
from gan.storage.locks import exclusive_root_lock_for_removal
from gan.system.interrupts import CANCELLED

FEW = ("--steps", 20, "--sample-every", 20, "--batch-size", 16, "--num-samples", 100, "--device", "cpu")


def expand(recipes: str, seeds: str, **settings) -> list[tuple[str, int]]:
    members = members_of(SweepSettings(recipes=recipes, seeds=seeds), SharedSettings(**settings))
    assert len({member.settings.run_config().name for member in members}) == len(members), "no two publish one run"
    return [(member.variant, member.seed) for member in members]


def test_a_sweep_is_every_combination_of_recipes_values_and_seeds() -> None:
    assert expand("mlp", "0-2,7") == [("mlp", 0), ("mlp", 1), ("mlp", 2), ("mlp", 7)]
    tried = expand("article,mlp,article", "0,0", set=("learning_rate=1e-4,2e-4", "steps=10,20"))
    assert len(tried) == 2 * 2 * 2
    assert tried[1] == ("article learning_rate=1e-4 steps=20", 0)
    assert len(expand("mlp", "0", set=("learning_rate=1e-4,0.0001",))) == 1, "equal ones are one training"
    lists = expand("mlp", "0", set=("generator_units=[16,8],[32,16]",))
    assert lists == [("mlp generator_units=[16,8]", 0), ("mlp generator_units=[32,16]", 0)]


def test_values_of_set_are_in_the_training_settings() -> None:
    numbers = ("learning_rate=1e-4", "gradient_penalty=0.5", "steps=10,20")  # the article, a run's own, has no penalty
    members = members_of(SweepSettings(recipes="mlp", seeds="5"), SharedSettings(set=numbers, batch_size=32))
    config = members[0].settings.train_config()
    assert config.recipe.gradient_penalty == 0.5
    assert (config.recipe.learning_rate, config.steps, config.batch_size, config.seed) == (1e-4, 10, 32, 5)
    assert members[0].settings.no_promote, "only the winner is promoted"


@pytest.mark.parametrize(
    ("sweep", "settings", "message"),
    [
        ({"recipes": "mpl"}, {}, r"--recipes got 'mpl'; the recipes are article, mlp"),
        ({"seeds": "4-0"}, {}, "--seeds got '4-0'; it expects seeds as in 0-4"),
        ({"seeds": "a"}, {}, "--seeds got 'a'"),
        ({"seeds": "0-500"}, {}, "--seeds got '0-500'; it may name 500 seeds at most"),
        ({"seeds": "0-400"}, {"set": ("steps=1,2",)}, "a sweep has at most 500"),
        ({"seeds": "2147483648"}, {}, "7-9, all below 2"),
        ({}, {"seed": 0}, "--seed is for one run; a sweep has --seeds"),
        ({}, {"recipe": "article"}, "--recipe is for one run; a sweep has --recipes"),
        ({}, {"run_name": "x"}, "--run-name is for one run"),
        ({}, {"steps": 5, "set": ("steps=1,2",)}, "--steps and --set steps=... say the same"),
        ({"ray": "local", "at_once": 2}, {}, "--at-once is for this machine"),
        ({}, {"set": ("learning_rate=1e-4", "learning_rate=2e-4")}, "--set names learning_rate twice"),
        ({"recipes": "conv"}, {"set": ("generator_units=[8,8,8,8]",)}, "28 pixels can be halved twice"),
        ({"ray": "10.0.0.5:6379"}, {}, "PREFECT_API_URL is not set: they cannot reach"),
        ({"at_once": 2}, {"device": "gpu"}, "at the same moment on one GPU"),
        ({"at_once": 2}, {}, "--device auto would train 2 at the same moment on one GPU, if this machine has any"),
        ({"recipes": "article,mlp"}, {"set": ("gradient_penalty=0.1,0.2",)}, "the article, which has no penalties"),
        ({}, {"set": ("learning_rate=Infinity,1",)}, "finite number"),
        ({}, {"set": ("latent_dim=true,1",)}, "each value is a number"),
        ({}, {"set": ("colour=1,2",)}, "a recipe has no colour to set. It has: latent_dim"),
        ({}, {"set": ("learnig_rate=1,2",)}, "no learnig_rate to set. Did you mean learning_rate?"),
        ({}, {"set": ("learning_rate=fast,slow",)}, "each value is a number"),
        ({"recipes": "conv"}, {"set": ("num_classes=10",)}, "num_groups replace classes"),
    ],
)
def test_an_invalid_sweep_is_one_clear_error(sweep, settings, message) -> None:
    with temporary_settings(restore_defaults={PREFECT_API_URL}), pytest.raises(ValueError, match=message):
        members_of(SweepSettings(**sweep), SharedSettings(**settings))


def test_numbers_may_be_written_as_people_do() -> None:
    assert expand("mlp", "0", set=("learning_rate=.0004,4e-4,1e-3",)) == [
        ("mlp learning_rate=.0004", 0),
        ("mlp learning_rate=1e-3", 0),
    ]


def test_trainings_that_would_have_one_name_by_chance_are_refused() -> None:
    with pytest.raises(SettingsError, match="Two of these trainings would have one name by chance"):
        expand("mlp", "0", set=("learning_rate=4206e-8,6570e-8",))


def test_one_run_refuses_several_values() -> None:
    with pytest.raises(ValueError, match="2 values of learning_rate; a run has one"):
        RunSettings(set=("learning_rate=1,2",))
    with pytest.raises(ValueError, match="--set names learning_rate twice"):
        RunSettings(set=("learning_rate=1", "learning-rate=2"))


def test_a_pool_runs_few_trainings_and_unfinished_ones_run_again_and_then_alone(monkeypatch) -> None:
    sweep = SweepSettings(recipes="article", seeds="0-4")
    members, pools = members_of(sweep, SharedSettings()), []

    def run_together(together, _):
        seeds = [member.settings.seed for member in together]
        pools.append(seeds)
        return [None if seed == 3 else Outcome(reason=f"{seed}") for seed in seeds]

    monkeypatch.setattr("flows.members.TRAININGS_PER_PROCESS", 2)
    monkeypatch.setattr("flows.members._run_together", run_together)
    outcomes = run_members(members, sweep)
    assert pools == [[0, 1], [2, 3], [4], [3], [3]]
    assert [outcome.reason for outcome in outcomes] == ["0", "1", "2", "Its process was killed every time.", "4"]


def test_a_sweep_marks_its_folder_as_in_use_from_its_first_run_to_its_leaderboard(tmp_path, monkeypatch) -> None:
    """So pruning keeps the results of a run until the sweep has ended, also between two runs, which have own marks."""
    marked = []

    def note() -> None:
        with exclusive_root_lock_for_removal(tmp_path) as (_, since):
            marked.append(since is not None)

    def run(members: Sequence[Member], _: SweepSettings) -> list[Outcome]:
        note()
        return [Outcome(reason="") for _ in members]

    def write(*_: object) -> None:
        note()
        raise KeyboardInterrupt

    monkeypatch.setattr("flows.sweep_flow.run_members", run)
    monkeypatch.setattr("flows.sweep_flow.write_board", write)
    with pytest.raises(KeyboardInterrupt):
        sweep_flow.fn(SweepSettings(), SharedSettings(output_dir=tmp_path))
    note()
    assert marked == [True, True, False]


def test_help_shows_no_option_that_a_sweep_refuses() -> None:
    shown = {"".join(argument.keys[:1]) for argument in app.assemble_argument_collection() if argument.show}
    assert shown >= {"recipes", "seeds", "steps", "num_samples"}
    assert not shown & NOT_IN_A_SWEEP.keys()


def test_the_run_form_of_a_sweep_sends_no_option_that_it_refuses() -> None:
    """The form sends every field that it shows, with its default."""
    form = parameter_schema(sweep_flow).model_dump()["definitions"]["SharedSettings"]["properties"]
    assert not form.keys() & NOT_IN_A_SWEEP.keys()
    sent = {name: field["default"] for name, field in form.items() if "default" in field}
    assert sent.keys() >= {"device", "no_promote", "set"}
    assert len(members_of(SweepSettings(recipes="mlp", seeds="0"), SharedSettings.model_validate(sent))) == 1


def test_a_sweep_in_which_every_training_failed_is_failed_and_has_a_leaderboard(
    prefect_server, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(
        "flows.sweep_flow.run_members", lambda members, sweep: [Outcome(reason="too hot")] * len(members)
    )
    state = sweep_flow(
        SweepSettings(recipes="mlp", seeds="0,1"), SharedSettings(output_dir=tmp_path), return_state=True
    )
    assert state.is_failed()
    assert "2 of the trainings failed:\n  - mlp, seed 0: too hot" in not_none(state.message)
    assert "No training succeeded. Correct the cause" in not_none(state.message)
    (page,) = tmp_path.glob("sweeps/*/leaderboard.html")
    assert "No training succeeded." in page.read_text()


def test_a_sweep_can_be_cancelled_after_a_run_that_is_part_of_it(prefect_server) -> None:
    """Runs that go through the gate are part of the sweep, in the same process and thread."""

    @flow
    def part() -> None:
        with stop_when_cancelled():
            pass

    @flow
    def whole() -> None:
        with stop_when_cancelled():
            part()
            signal.raise_signal(CANCELLED)

    before = signal.getsignal(CANCELLED)
    try:
        with pytest.raises(RunCancelledError):
            whole()
        assert signal.getsignal(CANCELLED) == signal.SIG_IGN, "the signal of a run that has ended kills no process"
    finally:
        signal.signal(CANCELLED, before)


def test_a_failing_training_is_listed_the_others_are_ranked_and_nothing_is_repeated(
    quick_checkout, data, tmp_path
) -> None:
    folder = tmp_path / "artifacts"
    where = ("--dataset", "own", "--data-dir", data, "--output-dir", folder)
    command = ("flows/sweep_flow.py", "--seeds", "0", *FEW, *SMALL, *where)
    with quick_checkout.start(*command, "--recipes", "article", "--set", "learning_rate=3e-3,2e-3,1e30") as process:
        output, _ = process.communicate(timeout=600)
    assert process.returncode == 1
    assert "1 of the trainings failed" in output
    failed = "article [^:]*learning_rate=1e30[^:]*, seed 0: Training stopped at step"
    assert re.search(failed, " ".join(output.split()))
    assert "Traceback" not in output
    (shown,) = ask(quick_checkout, "task_runs/filter", {"task_runs": {"name": {"like_": "learning_rate=1e30"}}})
    assert shown["state_type"] == "FAILED", "the UI shows it as such"
    assert shown["state"]["message"].startswith("Training stopped at step")
    winner = not_none(
        re.search(r"Gate 1 +(own-article-\d+-seed0-\w{6}): Does not pass the gate. It is too far from real", output)
    )
    (board,) = (folder / "sweeps").glob("*/leaderboard.csv")
    rows = list(csv.DictReader(board.read_text().splitlines()))
    assert [row["rank"] for row in rows] == ["1", "2", "failed"]
    assert all("learning_rate=1e30" not in row["variant"] for row in rows[:2])
    assert rows[0]["seeds"] == "0"
    page = board.with_suffix(".html").read_text()
    assert "data:image/png" in page
    assert "Does not pass the gate. It is too far from real images" in page
    before = {path: path.read_bytes() for path in folder.glob("runs/*/manifest.json")}
    assert len(before) == 2
    output = quick_checkout.run(*command, "--recipes", "article", "--set", "learning_rate=3e-3,2e-3")
    assert {path: path.read_bytes() for path in folder.glob("runs/*/manifest.json")} == before
    assert output.count("'train article, 20 steps, seed 0' - Cached") >= 2
    assert "'train article, 20 steps, seed 0' - Completed" not in output
    assert not (folder / "champion").exists()
    quick_checkout.run("-m", "gan.champion", "promote", winner[1], "--output-dir", folder)
    manifest = json.loads((folder / "champion" / "manifest.json").read_text())
    assert (manifest["run"], manifest["gate"]["passes"]) == (winner[1], False)
