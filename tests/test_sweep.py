"""Sweeps: their trainings, failures, the leaderboard and the promotion of the best run."""

import csv
import hashlib
import json
import re
import signal
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from builders import write_run
from narrowing import not_none
from pipeline import SMALL
from prefect import flow
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.utilities.callables import parameter_schema
from servers import ask

from flows.members import NOT_IN_A_SWEEP, Member, Outcome, SharedSettings, SweepSettings, members_of, run_members
from flows.server.cancellation import RunCancelledError, stop_when_cancelled
from flows.settings import RunSettings
from flows.sweep_flow import app, describe_origin, promote_best, sweep_flow, title_of, write_board
from gan.errors import SettingsError
from gan.judging.seeds import compare_seeds
from gan.recipes import RECIPES
from gan.report.front_page import write_front_page
from gan.report.leaderboard import MEASURES, Failure, Result
from gan.report.leaderboard_files import as_csv, as_html, runs_csv
from gan.report.ranking import rank
from gan.runs.champion import Change, add_change
from gan.runs.sweeps import read_summary
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


def result(variant: str, seed: int, distance: float, tmp_path) -> Result:
    (tmp_path / "average_grid.png").write_bytes(b"a picture")
    values: dict[str, float | None] = {**dict.fromkeys(MEASURES, 0.5), "frechet_distance": distance}
    return Result(
        variant=variant,
        seed=seed,
        run=f"{variant}-{seed}".replace(" ", "-"),
        folder=tmp_path,
        values=values,
        titles={name: name for name in MEASURES},
        n=100,
        extractor="small",
        generator=hashlib.sha256(f"{variant} {seed}".encode()).hexdigest(),
        seconds=60.0,
        data_warnings=("No images of <b>Bag</b>",),
    )


def test_combinations_are_ranked_by_their_mean_over_seeds_and_failures_are_listed(tmp_path) -> None:
    results = [result("lucky once", 0, 1, tmp_path), result("lucky once", 1, 9, tmp_path)]
    results += [result("steady", 1, 4, tmp_path), result("steady", 0, 2, tmp_path)]
    results.append(result("mostly fails", 0, 0.1, tmp_path))
    failures = [Failure("mostly fails", 1, "not finite"), Failure("<b>broken</b>", 0, 'not "finite"')]
    board = rank(results, failures)
    assert [(row.variant, row.described_seeds) for row in board.rows] == [
        ("steady", "0, 1"),
        ("lucky once", "0, 1"),
        ("mostly fails", "0; 1 of 2 failed"),
    ]
    assert board.winner.run == "steady-0"
    rows = list(csv.DictReader(as_csv(board).splitlines()))
    assert (rows[0]["frechet_distance_mean"], rows[0]["frechet_distance_deviation"]) == ("3", "1.41421")
    assert (rows[0]["n"], rows[0]["features"]) == ("100", "small")
    assert [row["rank"] for row in rows] == ["1", "2", "3", "failed", "failed"]
    assert [row["reason"] for row in rows[:4]] == ["", "", "", failures[0].reason]
    assert (rows[4]["best_run"], rows[4]["reason"]) == ("", 'not "finite"')
    page = as_html(board)
    assert "&lt;b&gt;broken&lt;/b&gt;" in page
    assert "<b>broken" not in page
    assert page.count("<strong>About the data:</strong> No images of &lt;b&gt;Bag&lt;/b&gt;") == 1
    assert page.index("64 images of steady-0") < page.index("64 images of lucky-once-0")


def seeds_of(variant: str, distances: Sequence[float], tmp_path) -> list[Result]:
    return [result(variant, seed, distance, tmp_path) for seed, distance in enumerate(distances)]


def test_a_difference_within_the_noise_of_seeds_is_not_called_better(tmp_path) -> None:
    one, two = seeds_of("one", (3.3, 3.5, 3.4), tmp_path), seeds_of("two", (3.4, 3.6, 3.5), tmp_path)
    board = rank([*one, *two], [])
    assert board.verdict == (
        "one is first, with a mean Fréchet distance of 3.4 over 3 seeds; its best run is one-0. "
        "These seeds do not tell it from two."
    )
    assert board.rows[0].described_gap == ""
    assert board.rows[1].described_gap == "+0.1 (\N{MINUS SIGN}0.13 to +0.33)"
    assert "From the first: +0.1" in as_html(board)
    better = seeds_of("better", (0.71, 0.72, 0.70), tmp_path)
    assert rank([*one, *better], []).verdict.endswith("It is better than the others, beyond the noise of seeds.")
    single = rank([one[0], two[0]], [])
    assert single.verdict.endswith("With fewer than 3 seeds each, this ranks trainings, not combinations.")
    alone = "one has a mean Fréchet distance of 3.4 over 3 seeds; its best run is one-0."
    assert rank(one, []).verdict == alone


def test_equal_configurations_are_seldom_told_apart(tmp_path) -> None:
    """Eight with three seeds each. Intervals that hold one by one would tell some apart in a third of the sweeps."""
    draw, num_sweeps = np.random.default_rng(0).normal, 150
    boards = [
        rank([each for row in range(8) for each in seeds_of(f"{row}", draw(3.4, 0.1, 3).tolist(), tmp_path)], [])
        for _ in range(num_sweeps)
    ]
    assert sum("These seeds do not tell it from" not in board.verdict for board in boards) == 0, "no winner"
    assert sum(any(row.gap.low > 0 for row in board.rows[1:]) for board in boards) / num_sweeps < 0.05


def test_intervals_count_all_pairs_of_rows(tmp_path) -> None:
    values = {"one": (3.3, 3.5, 3.4), "two": (3.4, 3.6, 3.5), "three": (3.6, 3.8, 3.7)}
    board = rank([each for name, found in values.items() for each in seeds_of(name, found, tmp_path)], [])
    for row in board.rows[1:]:
        assert row.gap == compare_seeds(values[row.variant], values["one"], num_intervals=3)


def test_a_configuration_without_a_mean_has_no_difference(tmp_path) -> None:
    undefined = seeds_of("undefined", (3.4, 3.5, 3.3), tmp_path)
    undefined[2] = replace(undefined[2], values={**undefined[2].values, "frechet_distance": None})
    board = rank([*seeds_of("one", (3.3, 3.5, 3.4), tmp_path), *undefined], [])
    assert (board.rows[1].variant, board.rows[1].described_gap) == ("undefined", "")


def test_broken_runs_do_not_win_and_are_named(tmp_path) -> None:
    copies = [replace(each, is_broken=True) for each in seeds_of("copies", (0.5, 0.6), tmp_path)]
    collapsed = seeds_of("collapsed", (3.1, 3.2, 2.0), tmp_path)
    collapsed[2] = replace(collapsed[2], is_broken=True)
    fine, worse = seeds_of("fine", (3.9, 4.0, 3.8), tmp_path), seeds_of("worse", (9.0, 9.2, 9.1), tmp_path)
    board = rank([*copies, *collapsed, *worse, *fine], [])
    assert [(row.variant, row.faults) for row in board.rows] == [
        ("fine", ""),
        ("worse", ""),
        ("collapsed", "1 of 3 broken"),
        ("copies", "2 of 2 broken"),
    ]
    assert board.rows[2].best.seed == 0, "the best of those that can be used"
    assert (
        "It is better than the others without failed or broken trainings, beyond the noise of seeds." in board.verdict
    )
    assert "copies has a lower mean, 0.55, but of its trainings 2 of 2 broken." in board.verdict
    assert rank([*copies, *collapsed], []).winner.seed == 0
    assert as_html(board).count("(broken)") == 3
    runs = list(csv.DictReader(runs_csv(board).splitlines()))
    assert [(row["variant"], row["seed"], row["frechet_distance"], row["broken"]) for row in runs[:3]] == [
        ("fine", "0", "3.9", "0"), ("fine", "1", "4", "0"), ("fine", "2", "3.8", "0")
    ]  # fmt: skip
    assert [row["broken"] for row in runs[-3:]] == ["1", "1", ""]
    assert runs[-1]["variant"] == "real images"


def test_runs_that_were_judged_otherwise_are_not_averaged(tmp_path) -> None:
    results = seeds_of("one", (3.3, 3.5), tmp_path)
    other = replace(result("one", 2, 9, tmp_path), n=50)
    board = rank([*results, other], [])
    assert (board.rows[0].seeds, board.rows[0].faults) == ((0, 1), "1 of 3 failed")
    assert "50 images with small features, unlike most" in board.failures[0].reason


def test_a_leaderboard_names_the_code_and_the_devices_of_its_runs(tmp_path) -> None:
    clean, edited = seeds_of("mlp", (3, 4), tmp_path)
    made = [replace(clean, commit="a" * 40, device="CPU"), replace(edited, commit=f"{'a' * 40} with changes")]
    code = "aaaaaaaa, aaaaaaaa with changes"
    assert describe_origin(rank(made, [])) == f"; runs published by the code of {code}; trained on CPU."


def test_a_list_of_sweeps_shows_what_they_compare(tmp_path) -> None:
    sweep, settings = SweepSettings(recipes="mlp", seeds="0-1"), SharedSettings(set=("learning_rate=1e-4,2e-4",))
    assert title_of(sweep, settings) == "mlp, learning_rate=1e-4,2e-4, seeds 0-1, fashion-mnist"
    with_options = settings.model_copy(update={"smoke": True, "steps": 1000, "num_samples": 2000})
    assert "smoke, 1,000 steps, 2,000 samples, seeds 0-1" in title_of(sweep, with_options)
    settings = settings.model_copy(update={"output_dir": tmp_path})
    board = replace(rank(seeds_of("mlp", (3.3, 3.5), tmp_path), []), title="<b>mlp</b>, seeds 0-1")
    folder = write_board(board, members_of(sweep, settings))
    assert {path.name for path in folder.iterdir()} == {"leaderboard.html", "leaderboard.csv", "runs.csv", "sweep.json"}
    write_run(tmp_path, 0)
    write_front_page(tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert f'<a href="sweeps/{folder.name}/leaderboard.html">&lt;b&gt;mlp&lt;/b&gt;, seeds 0-1</a>' in page
    assert "first: mlp-0" in page
    write_board(rank([], [Failure("mlp", 0, "the cluster is away")]), members_of(sweep, settings))
    assert read_summary(folder).winner == "mlp-0", "its run is still kept"
    (folder / "sweep.json").write_text("{")
    write_front_page(tmp_path)
    assert f">{folder.name}</a>" in (tmp_path / "index.html").read_text(), "a sweep of an earlier version"


def test_the_winner_is_promoted_and_if_it_fails_the_gate_the_best_of_the_next_row_is_tried(
    tmp_path, monkeypatch
) -> None:
    """A run that was rolled back counts as failed; one that was replaced after its promotion does not."""
    board = rank([result(variant, 0, distance, tmp_path) for distance, variant in enumerate(RECIPES)], [])
    members = members_of(SweepSettings(recipes=",".join(RECIPES), seeds="0"), SharedSettings(output_dir=tmp_path))
    first, second, third, *_ = (row.best for row in board.rows)
    asked = []
    monkeypatch.setattr("flows.sweep_flow.train_flow", lambda settings: asked.append(settings))
    monkeypatch.setattr("flows.sweep_flow.describe_champion_status", lambda _, run: f"what the gate says of {run}")
    said = list(promote_best(board, members, here=True))
    assert said == [f"{variant}-0: what the gate says of {variant}-0" for variant in list(RECIPES)[:3]]
    assert [settings.recipe for settings in asked] == list(RECIPES)[:3], "three at most"
    assert not any(settings.no_promote for settings in asked)

    def change(action: str, of: Result) -> None:
        line = Change(at="now", action=action, run=of.run, generator=of.generator, before=None)
        add_change(tmp_path, line)

    for action, of in (("promoted", third), ("promoted", first), ("rolled back", third), ("promoted", second)):
        change(action, of)
    asked.clear()
    list(promote_best(board, members, here=True))
    assert [settings.recipe for settings in asked] == list(RECIPES)[:2]


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
