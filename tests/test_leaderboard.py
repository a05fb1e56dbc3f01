"""The leaderboard of a sweep: how its runs are ranked and shown, and which of them goes through the gate."""

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from builders import write_run

from flows.members import SharedSettings, SweepSettings, members_of
from flows.sweep_flow import describe_origin, promote_best, title_of, write_board
from gan.judging.seeds import compare_seeds
from gan.recipes import RECIPES
from gan.report.front_page import write_front_page
from gan.report.leaderboard import MEASURES, Failure, Result
from gan.report.leaderboard_files import as_csv, as_html, runs_csv
from gan.report.ranking import rank
from gan.runs.champion import Change, add_change
from gan.runs.sweeps import read_summary


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
