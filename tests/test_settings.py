import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, Mock
from zoneinfo import ZoneInfo

import pytest
from builders import article_config, change_first_label, write_own_data
from pipeline import PROJECT
from prefect.settings import PREFECT_API_URL, temporary_settings
from pydantic import ValidationError

from flows.checks import check_before_work
from flows.digest_flow import DigestSettings
from flows.members import SweepSettings
from flows.prune_flow import PruneSettings
from flows.schedule import _time_zone, scheduled_day
from flows.settings import RunSettings
from gan.config import MAX_SNAPSHOTS
from gan.errors import DataError, SettingsError


def test_the_defaults_are_the_articles() -> None:
    train = RunSettings().train_config()
    assert (train.recipe.name, train.steps, train.batch_size, train.sample_every) == ("article", 10_001, 128, 1000)
    assert train.snapshot_steps == tuple(range(0, 10_001, 1000))
    assert RunSettings().sample_config().num_images == 10_000


def test_the_first_and_the_last_step_are_always_snapshots() -> None:
    assert article_config(steps=300, sample_every=1000).snapshot_steps == (0, 299)
    assert article_config(steps=1).snapshot_steps == (0,)


def test_the_averaged_weights_have_few_snapshots_evenly_spaced_up_to_the_last() -> None:
    assert article_config(steps=1).average_steps == (0,)
    assert article_config().average_steps == (0, 2000, 4000, 6000, 8000, 10_000)
    assert article_config(steps=25_000).average_steps == (1000, 5000, 9000, 13_000, 17_000, 21_000, 24_999)
    assert article_config(steps=40, sample_every=1).average_steps == (4, 9, 14, 19, 24, 29, 34, 39)


def test_smoke_is_small_but_yields_to_what_is_set() -> None:
    assert RunSettings(smoke=True).train_config().steps == 200
    assert RunSettings(smoke=True, steps=7).train_config().steps == 7


def test_the_default_name_says_what_runs_and_differs_with_every_setting() -> None:
    changes = [{}, {"seed": 1}, {"steps": 5}, {"batch_size": 64}, {"sample_every": 500}, {"num_samples": 100}]
    assert len({RunSettings(**change).run_config().name for change in changes}) == len(changes)
    assert RunSettings().run_config().name.startswith("article-10001-seed0-")
    assert RunSettings(output_dir="x", device="cpu").run_config() == RunSettings().run_config()


@pytest.mark.parametrize(
    "settings",
    [{"steps": -5}, {"steps": 0}, {"recipe": "nope"}, {"batch_size": 0}, {"seed": -1}, {"seed": 2**31}, {"stepps": 3}],
)
def test_nonsense_is_refused_when_the_settings_are_made(settings) -> None:
    with pytest.raises(ValidationError):
        RunSettings(**settings)


def test_too_many_snapshots_are_refused_with_the_interval_that_would_do() -> None:
    with pytest.raises(ValidationError, match="Give --sample-every 41 or more") as caught:
        RunSettings(sample_every=1)
    assert str(MAX_SNAPSHOTS) in str(caught.value)
    with pytest.raises(ValidationError, match="make 268,435,456 snapshots"):  # without a list of them: 10 GB
        RunSettings(sample_every=1, steps=2**28)
    assert len(RunSettings(sample_every=41).train_config().snapshot_steps) <= MAX_SNAPSHOTS


def test_a_tilde_is_the_home_also_where_no_shell_expands_it() -> None:
    settings = RunSettings(output_dir=Path("~/runs"), data_dir=Path("~/clothes"), dataset="mine")
    assert (settings.output_dir, settings.data_dir) == (Path.home() / "runs", Path.home() / "clothes")


def test_an_empty_output_folder_is_the_default_one_and_not_the_working_directory() -> None:
    """A form sends an empty field so, and a shell an unset variable."""
    empty: dict[str, Any] = {"output_dir": ""}
    for settings in (RunSettings(**empty), PruneSettings(**empty), DigestSettings(**empty)):
        assert settings.output_dir == Path("artifacts")


def test_a_bad_data_folder_is_found_before_any_work(tmp_path) -> None:
    with pytest.raises(DataError, match="There is no folder"):
        check_before_work(RunSettings(output_dir=tmp_path, data_dir=tmp_path / "nowhere"))


def test_a_run_that_a_kill_has_hidden_still_has_its_name(tmp_path) -> None:
    hidden = tmp_path / "runs" / ".mine.abc.old"
    hidden.mkdir(parents=True)
    (hidden / "config.json").write_text("{}")
    (hidden / "manifest.json").touch()
    with pytest.raises(SettingsError, match="'mine' is taken by a run with other settings"):
        check_before_work(RunSettings(output_dir=tmp_path, run_name="mine"))
    assert (tmp_path / "runs" / "mine" / "manifest.json").exists()


def test_a_data_set_that_has_no_source_needs_a_folder() -> None:
    with pytest.raises(ValidationError, match="--dataset my-clothes has no known source"):
        RunSettings(dataset="my-clothes")


def test_a_run_on_own_data_is_named_by_what_the_data_is_and_not_by_where_it_lies(tmp_path) -> None:
    def run(**changes):
        return RunSettings(**{"dataset": "mine", "data_dir": here, **changes}).run_config()

    here = write_own_data(tmp_path / "here")
    before, elsewhere = run(), shutil.copytree(here, tmp_path / "elsewhere")
    assert before.name.startswith("mine-article-10001-seed0-")
    assert run(data_dir=elsewhere) == before
    assert run(dataset="other").content() != before.content()
    assert len(run(dataset="x" * 60).name) <= 100
    change_first_label(here / "t10k-labels-idx1-ubyte")
    assert run().train == before.train
    assert run().content() != before.content()
    (elsewhere / "class-names.txt").write_text("small\nmiddle\nlarge\n")
    assert run(data_dir=elsewhere).content() != before.content()


def test_the_budgets_of_networks_that_judge_belong_to_what_a_run_is_if_they_are_given(tmp_path) -> None:
    def run(**changes):
        return RunSettings(run_name="mine", **changes).run_config().content()

    assert "two_sample_epochs" not in run().model_dump(mode="json"), "as in earlier versions"
    assert run(two_sample_epochs=1).model_dump(mode="json")["two_sample_epochs"] == 1
    assert run(extractor_epochs=2) == run(), "Fashion-MNIST has an extractor"
    own = {"dataset": "own", "data_dir": write_own_data(tmp_path / "own")}
    assert run(**own, extractor_epochs=2) != run(**own)


def test_a_run_has_a_label_even_if_its_data_is_none(tmp_path) -> None:
    assert RunSettings(dataset="mine", data_dir=tmp_path).run_label == "mine"
    assert RunSettings(dataset="mine", data_dir=tmp_path, run_name="first").run_label == "first"


def test_the_content_of_a_run_is_everything_but_its_name_and_where_its_data_lies(tmp_path) -> None:
    run = RunSettings().run_config()
    assert run.content().model_dump() == run.model_dump(exclude={"name"})
    assert run.data is None
    assert RunSettings(data_dir=tmp_path).run_config() == RunSettings().run_config()


@pytest.fixture
def run_main(call) -> Callable[..., tuple[int, str]]:
    """Return a function that runs the command in this process, without a server, and returns what `call` does."""

    def run(*options: str) -> tuple[int, str]:
        with temporary_settings(restore_defaults={PREFECT_API_URL}):
            code, shown = call("flows.train_flow", *options)
        return code, shown

    return run


@pytest.mark.parametrize(
    ("options", "message", "code"),
    [
        (["--steps", "-5"], "--steps should be greater than 0 (got '-5')", 2),
        (["--steps", "many"], "--steps should be a valid integer", 2),
        (["--seed", "-1"], "--seed should be greater than or equal to 0, or should be 'date' (got '-1')", 2),
        (["--set", "generator_units=0"], "--set got generator_units=0: expected numbers, as in [512,256]", 2),
        (["--alert-block", "team"], "--alert-block should be type/name, such as slack-webhook/team (got 'team')", 2),
        (["--recipe", "nope"], "'conditional', 'conv-gpu' or 'conditional-gpu' (got", 2),
        (["--set", "num_classes=10"], "num_classes and num_groups are not for the article", 2),
        (["--set", "num_groups=10"], "num_classes and num_groups are not for the article", 2),
        (["--stepps", "5"], "Unknown option: --stepps. Did you mean --steps?", 2),
        (["--output-dir", "/dev/null/x"], "cannot be written", 1),
        (["--output-dir", "s3://bucket/runs"], "Name a bucket with --store-url", 2),
        (["--store-url", "s3://a:b@c", "--output-dir", "TMP"], "(--store-url) is not one of S3", 1),
        (["--compare-with", "nobody", "--output-dir", "TMP"], "nobody is not a complete published run", 1),
        (["--run-name", "../x", "--output-dir", "TMP"], "cannot be a folder name", 1),
        (["--run-name", "a/b", "--output-dir", "TMP"], "cannot be a folder name", 1),
        (["--run-name", "<b>", "--output-dir", "TMP"], "cannot be a folder name", 1),
        (["--dataset", "my-clothes"], "name the folder with its four files with --data-dir", 2),
        (
            ["--dataset", "../My Clothes"],
            "--dataset should be 1 to 60 lower-case letters, digits and dashes, with no",
            2,
        ),
        (["--dataset", "my-clothes", "--data-dir", "TMP", "--output-dir", "TMP"], "has neither train-images-idx3", 1),
        (["--train-on", "gpu", "--output-dir", "TMP"], "the embedded server has no workers", 1),
        (["--serve", "0 3 * *", "--output-dir", "TMP"], 'Invalid cron string: "0 3 * *"', 1),
        (["--serve", "@daily", "--time-zone", "Mars/X", "--output-dir", "TMP"], 'Invalid timezone: "Mars/X"', 1),
        (["--serve", "0 3 * * *", "--output-dir", "TMP"], "--serve needs a permanent Prefect server", 1),
        (["--data-dir", "/nowhere", "--output-dir", "TMP"], "There is no folder /nowhere", 1),
    ],
)
def test_nonsense_on_the_command_line_is_one_clear_message(run_main, tmp_path, options, message, code) -> None:
    exit_code, errors = run_main(*(option.replace("TMP", str(tmp_path)) for option in options))
    assert exit_code == code
    assert_is_one_clear_message(errors, message)
    assert not list(tmp_path.rglob("runs/*"))


def assert_is_one_clear_message(errors: str, message: str) -> None:
    assert errors.startswith("Error: ")
    assert errors.count("Error: ") == 1
    assert message in errors
    assert "Traceback" not in errors


def test_a_command_with_nonsense_ends_its_process_with_that_message(tmp_path) -> None:
    command = [sys.executable, "flows/train_flow.py", "--device", "gpu", "--output-dir", tmp_path]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert_is_one_clear_message(done.stderr, "--device gpu was asked for, but TensorFlow")
    assert not list(tmp_path.rglob("runs/*"))


def test_help_explains_every_option(run_main) -> None:
    code, text = run_main("--help")
    assert code == 0
    for name, field in RunSettings.model_fields.items():
        assert f"--{name.replace('_', '-')}" in text
        assert " ".join(field.description.split()[:4]) in " ".join(re.sub(r"[│─]", " ", text).split())


def never() -> date:
    raise AssertionError


def test_a_seed_that_is_the_day_is_that_of_the_schedule() -> None:
    nightly = RunSettings(seed="date")
    assert nightly.with_seed(lambda: date(2026, 3, 1)).seed == 20260301
    assert f"-seed{date.today():%Y%m%d}-" in nightly.run_label
    assert RunSettings(seed=7).with_seed(never).seed == 7, "the server is not asked for the day of a number"
    with pytest.raises(ValidationError):
        RunSettings(seed="yesterday")


def test_the_seeds_of_a_sweep_on_a_day_are_no_other_days() -> None:
    weekly = SweepSettings(seeds="date")
    assert weekly.with_seeds(lambda: date(2026, 12, 31)).seed_numbers() == [2026123100, 2026123101, 2026123102]
    assert SweepSettings(seeds="0-1").with_seeds(never).seed_numbers() == [0, 1]


def test_the_scheduled_day_is_in_the_time_zone_of_the_deployment(monkeypatch) -> None:
    late = datetime(2026, 6, 1, 22, 30, tzinfo=UTC)
    monkeypatch.setattr("flows.schedule.flow_run", Mock(id="a", scheduled_start_time=late))
    for zone, day in (("Europe/Berlin", date(2026, 6, 2)), ("America/New_York", date(2026, 6, 1))):
        monkeypatch.setattr("flows.schedule._time_zone", lambda zone=zone: ZoneInfo(zone))
        assert scheduled_day() == day


@pytest.mark.parametrize(
    ("zones", "expected"),
    [
        (["Europe/Berlin"], ZoneInfo("Europe/Berlin")),
        (["Europe/Berlin", "Europe/Berlin"], ZoneInfo("Europe/Berlin")),
        (["Europe/Berlin", "Asia/Tokyo"], None),
        ([None], None),
        ([], None),
    ],
)
def test_the_time_zone_is_that_of_the_only_one_of_the_schedules(monkeypatch, zones, expected) -> None:
    schedules = [Mock(schedule=Mock(timezone=zone)) for zone in zones]
    client = MagicMock()
    client.__enter__.return_value.read_deployment.return_value = Mock(schedules=schedules)
    monkeypatch.setattr("flows.schedule.get_client", lambda sync_client: client)
    monkeypatch.setattr("flows.schedule.deployment", Mock(id="a-deployment"))
    assert _time_zone() == expected
