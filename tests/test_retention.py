"""Retention: which published runs are kept for how long, and what goes with one that is removed."""

import json
import os
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from builders import write_run

from flows.prune_flow import PruneSettings
from flows.prune_flow import main as prune_command
from gan.errors import SettingsError, StoreError
from gan.keep import keep
from gan.runs.champion import Change, add_change
from gan.runs.pruning import prune
from gan.runs.retention import PINNED, expired_runs, read_pinned
from gan.storage.locks import mark_in_use

FIRST = datetime(2026, 10, 1, 3, tzinfo=UTC)  # a Thursday: night 0 of `write_run`
NIGHTS = 60
NOW = (FIRST + timedelta(days=NIGHTS - 1, hours=6)).timestamp()

expired = partial(expired_runs, keep_days=10, rollbacks=1, now=NOW)


@pytest.fixture
def nights(tmp_path: Path) -> Path:
    """An output folder with a run of each of sixty nights."""
    (tmp_path / "store").mkdir()
    for night in range(NIGHTS):
        write_run(tmp_path, night)
    return tmp_path


def kept(root: Path) -> list[int]:
    gone = set(expired(root))
    return [night for night in range(NIGHTS) if f"night-{night:03}" not in gone]


def promote(root: Path, night: int, action: str = "promoted") -> str:
    change = Change(at=FIRST.isoformat(), action=action, run=f"night-{night:03}", generator=f"{night:064}", before=None)
    add_change(root, change)
    (root / change.folder).mkdir(parents=True, exist_ok=True)
    return change.folder


SUNDAYS = [night for night in range(NIGHTS) if (FIRST + timedelta(days=night)).isoweekday() == 7]
RECENT = [*range(NIGHTS - 10, NIGHTS)]


def test_all_runs_of_the_last_days_are_kept_and_the_newest_of_each_week_before(nights: Path) -> None:
    assert kept(nights) == sorted({*SUNDAYS, *RECENT})


def test_each_recipe_keeps_its_own_run_a_week(nights: Path) -> None:
    write_run(nights, 1, name="other", recipe="mlp")
    assert "other" not in expired(nights)


def test_the_newest_run_is_kept_whatever_its_age(nights: Path) -> None:
    long_after = NOW + 365 * 24 * 60 * 60
    assert f"night-{NIGHTS - 1:03}" not in expired(nights, now=long_after)


def test_champions_that_a_rollback_returns_to_are_kept(nights: Path) -> None:
    for night in (1, 5, 6, 8):
        promote(nights, night)
    promote(nights, 6, "rolled back")
    assert {5, 6} <= {*kept(nights)}
    assert not {1, 8} & {*kept(nights)}, "one is two rollbacks away, the other was rolled back"


def test_the_reference_of_a_kept_run_is_kept_but_not_that_of_the_reference(nights: Path) -> None:
    write_run(nights, 55, name="compared", reference="night-008")
    (nights / "runs" / "night-008").rename(nights / "away")
    write_run(nights, 8, reference="night-001")
    assert 8 in kept(nights)
    assert 1 not in kept(nights)


def test_a_run_that_cannot_be_read_is_kept(nights: Path) -> None:
    (nights / "runs" / "night-001" / "metrics.json").write_text("{}")
    assert 1 in kept(nights)


def test_the_run_that_latest_leads_to_is_kept(nights: Path) -> None:
    (nights / "latest").symlink_to("runs/night-001")
    assert 1 in kept(nights)


def test_a_link_that_leads_to_itself_is_one_clear_error(nights: Path) -> None:
    (nights / "latest").symlink_to("latest")
    with pytest.raises(StoreError, match=r"latest cannot be followed.*\nRemove it"):
        kept(nights)


def test_a_broken_run_stands_for_a_week_only_if_there_is_no_other(nights: Path) -> None:
    write_run(nights, 3, name="broken", warnings=["Mode collapse"])  # a Sunday, as night 3
    assert 3 in kept(nights)
    assert "broken" in expired(nights)
    write_run(nights, 3, name="only", recipe="mlp", warnings=["Mode collapse"])
    assert "only" not in expired(nights)


def test_while_a_run_is_in_progress_no_published_run_is_removed(nights: Path) -> None:
    with mark_in_use(nights):
        assert prune(nights, 0, keep_days=0, dry_run=False).runs == []
    assert prune(nights, 0, keep_days=0, dry_run=True).runs


def test_a_run_that_is_a_link_is_kept(nights: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("drive") / "night-000"
    (nights / "runs" / "night-000").rename(elsewhere)
    (nights / "runs" / "night-000").symlink_to(elsewhere)
    prune(nights, 0, keep_days=0, dry_run=False)
    assert (nights / "runs" / "night-000" / "manifest.json").exists()


def test_a_copy_of_a_champion_among_the_runs_keeps_its_files(tmp_path: Path) -> None:
    digest = f"{7:064x}"
    stored = tmp_path / "store" / digest[:2] / f"{digest}.npy"
    stored.parent.mkdir(parents=True)
    stored.write_bytes(b"0")
    os.utime(stored, (0, 0))
    former = tmp_path / promote(tmp_path, 1)
    promote(tmp_path, 2)
    os.utime(former, (0, 0))
    write_run(tmp_path, 1, name=former.name, stored=[digest])
    pruning = prune(tmp_path, 0, keep_days=1, rollbacks=0, dry_run=False)
    assert (pruning.runs, former.exists(), stored.exists()) == ([], False, True)


def test_a_copy_that_was_made_a_moment_ago_stays(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    former = tmp_path / promote(tmp_path, 1)
    promote(tmp_path, 2)
    prune(tmp_path, 0, keep_days=0, rollbacks=0, dry_run=False)
    assert former.exists(), "another promotion may not be in the history yet"


def test_a_pinned_run_is_kept_until_it_is_unpinned(nights: Path, capsys) -> None:
    keep("night-001", output_dir=nights)
    keep("night-002", output_dir=nights)
    keep("night-001", output_dir=nights)
    assert read_pinned(nights) == ("night-002", "night-001")
    assert {1, 2} <= {*kept(nights)}
    keep("night-001", undo=True, output_dir=nights)
    assert 1 not in kept(nights)
    assert capsys.readouterr().out.splitlines()[-1] == "Kept   night-002"


def test_several_runs_are_pinned_at_once(nights: Path) -> None:
    keep("night-001", "night-002", output_dir=nights)
    assert read_pinned(nights) == ("night-001", "night-002")
    with pytest.raises(SettingsError, match="missing is not a complete published run"):
        keep("night-003", "missing", output_dir=nights)
    assert read_pinned(nights) == ("night-001", "night-002"), "all or none"
    keep("night-001", "night-002", undo=True, output_dir=nights)
    assert read_pinned(nights) == ()


def test_the_winner_of_a_leaderboard_is_kept(nights: Path) -> None:
    for folder, content in (("a", {"title": "a", "at": FIRST.isoformat(), "winner": "night-001"}), ("b", {"title": 3})):
        (nights / "sweeps" / folder).mkdir(parents=True)
        (nights / "sweeps" / folder / "sweep.json").write_text(json.dumps(content))
    assert kept(nights) == sorted({1, *SUNDAYS, *RECENT})


@pytest.mark.parametrize(
    ("run", "undo", "message"),
    [
        ("missing", False, "missing is not a complete published run"),
        ("../night-001", False, "cannot be a run's name"),
        ("night-001", True, "night-001 is not pinned"),
    ],
)
def test_what_cannot_be_pinned_is_refused(nights: Path, run: str, undo: bool, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        keep(run, undo=undo, output_dir=nights)
    assert not (nights / PINNED).exists()


def test_a_faulty_list_of_pinned_runs_stops_pruning(nights: Path) -> None:
    (nights / PINNED).write_text("night-001\n../all\n")
    with pytest.raises(SettingsError, match=r"line '\.\./all'"):
        prune(nights, 0, keep_days=10, dry_run=False)
    assert len([*(nights / "runs").iterdir()]) == NIGHTS


def test_pruning_removes_expired_runs_with_their_part_of_the_store(tmp_path: Path, capsys) -> None:
    digests = {name: f"{number:064x}" for number, name in enumerate(("of-old", "of-both"), 10)}
    for digest in digests.values():
        stored = tmp_path / "store" / digest[:2] / f"{digest}.npy"
        stored.parent.mkdir(parents=True, exist_ok=True)
        stored.write_bytes(b"0" * 1000)
        os.utime(stored, (0, 0))
    write_run(tmp_path, -400, name="old", stored=[*digests.values()])
    write_run(tmp_path, -399, name="newest-of-that-week")
    nights_ago = (datetime.now(UTC) - FIRST).days
    write_run(tmp_path, nights_ago, name="recent", stored=[digests["of-both"]])
    rolled_back = promote(tmp_path, 1)
    promote(tmp_path, 2)
    add_change(tmp_path, Change(at="x", action="promoted", run="third", generator="3" * 64, before=None))
    os.utime(tmp_path / rolled_back, (0, 0))
    settings = PruneSettings(output_dir=tmp_path, keep_runs=10, rollbacks=1, dry_run=True)
    prune_command(settings=settings)
    assert "Published runs: old" in capsys.readouterr().out
    assert (tmp_path / "runs" / "old").exists()
    prune_command(settings=settings.model_copy(update={"dry_run": False}))
    assert "published runs older than 10 days (1)" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["newest-of-that-week", "recent"]
    assert [path.stem for path in (tmp_path / "store").glob("*/*")] == [digests["of-both"]]
    assert not (tmp_path / rolled_back).exists()


def test_without_the_option_no_run_is_removed(nights: Path) -> None:
    assert prune(nights, 0, dry_run=False).runs == []
    assert len([*(nights / "runs").iterdir()]) == NIGHTS


def test_a_run_that_was_being_removed_when_the_process_was_killed_does_not_come_back(nights: Path, monkeypatch) -> None:
    monkeypatch.setattr("gan.runs.pruning.shutil.rmtree", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        prune(nights, 30, keep_days=0, dry_run=False)
    monkeypatch.undo()
    assert not (nights / "runs" / "night-000").exists()
    hidden = [path for path in (nights / "runs").iterdir() if path.name.startswith(".")]
    assert len(hidden) == 1
    prune(nights, 30, dry_run=False)
    assert not hidden[0].exists(), "whatever its age"
