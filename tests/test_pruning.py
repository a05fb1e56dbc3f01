"""Pruning of files as the stages write them: what is removed, what stays, and what is unknown."""

import errno
import json
import os
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from narrowing import not_none
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import Artifact
from prefect.results import ResultRecord, ResultRecordMetadata
from prefect.serializers import JSONSerializer

import gan.runs.pruning
from flows.prune_flow import PruneSettings, prune_flow
from flows.summary import describe_disk
from gan.errors import SettingsError, StoreError
from gan.runs.pruning import disk_use, prune
from gan.runs.publish import published_files, staged_run, write_manifest
from gan.storage.locks import exclusive_lock, lock_path, mark_in_use
from gan.storage.store import FileRef, Store
from tasks.records import FittedExtractor, PublishedRun, StageRecord

OLD = time.time() - 40 * 24 * 60 * 60
REFERENCE = "a run before"


@pytest.fixture(autouse=True)
def downloads(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "fashion-gan" / "tiny"
    folder.mkdir(parents=True)
    return folder


def age(*paths: Path) -> None:
    for path in paths:
        os.utime(path, (OLD, OLD), follow_symlinks=False)


def put(store: Store, content: str) -> FileRef:
    """Store a file, and make it old."""
    ref = store.put_bytes(content.encode(), ".txt")
    age(store.root / ref.key)
    return ref


def put_record(store: Store, name: str, record: StageRecord) -> Path:
    """Write a result record as Prefect does, and make it old."""
    store.results_dir.mkdir(exist_ok=True)
    path = store.results_dir / name
    metadata = ResultRecordMetadata(serializer=JSONSerializer(), storage_key=str(path))
    path.write_bytes(ResultRecord(result=record, metadata=metadata).serialize())
    age(path)
    return path


def publish(store: Store, name: str, *refs: FileRef, reference: FileRef | None = None) -> Path:
    with staged_run(store.root, name) as folder:
        for ref in refs:
            (folder / ref.sha256[:8]).write_bytes(store.path(ref).read_bytes())
        facts = {"data": {"name": "tiny", "sha256": {}}, "reference": reference and reference.model_dump()}
        write_manifest(folder, facts)
    return store.root / "runs" / name


def left(store: Store) -> set[str]:
    return {path.relative_to(store.root).as_posix() for path in store.root.rglob("*") if path.is_file()} - {
        ".in-use/moment"
    }


def pruned(store: Store, days: int = 30) -> list[str]:
    """Prune after a dry run, which must find the same and change nothing; return the names of what was removed."""
    before = left(store)
    seen = prune(store.root, days, dry_run=True)
    assert left(store) == before
    done = prune(store.root, days, dry_run=False)
    assert done == seen
    assert not done.failures
    return sorted(leftover.path.name for leftover in done.leftovers)


def pruned_artifact() -> Artifact:
    """Return the latest artifact of the flow."""
    with get_client(sync_client=True) as client:
        found = [artifact for artifact in client.read_artifacts() if artifact.key == "pruned"]
    return max(found, key=lambda artifact: not_none(artifact.created))


def test_files_named_by_a_published_run_stay_and_unnamed_files_are_removed(store) -> None:
    published, unnamed, reference = put(store, "published"), put(store, "unnamed"), put(store, REFERENCE)
    publish(store, "one", published, reference=reference)
    assert pruned(store) == [Path(unnamed.key).name]
    assert store.is_available(published)
    assert store.is_available(reference), "a run's reference is needed to repeat the comparison"


def test_a_used_record_keeps_its_files_and_an_unused_one_is_removed_with_them(store) -> None:
    used, unused = put(store, "used"), put(store, "unused")
    os.utime(put_record(store, "a" * 64, FittedExtractor(weights=used)))
    gone = put_record(store, "b" * 64, FittedExtractor(weights=unused))
    assert pruned(store) == sorted([gone.name, Path(unused.key).name])
    assert store.is_available(used)


def test_the_records_of_a_published_run_stay_while_all_their_files_exist(store) -> None:
    ref = put(store, "published")
    folder = publish(store, "one", ref)
    records = [
        put_record(store, "a" * 64, FittedExtractor(weights=ref)),
        put_record(store, "b" * 64, PublishedRun(name="one", published=published_files(folder, "one"))),
    ]
    assert pruned(store) == []
    (store.root / ref.key).unlink()
    assert pruned(store) == [records[0].name]


def test_damaged_records_are_removed_when_old_and_keep_their_files_until_then(store) -> None:
    refs = [put(store, text) for text in ("cut short", "of other code")]
    cut = put_record(store, "a" * 64, FittedExtractor(weights=refs[0]))
    cut.write_bytes(cut.read_bytes()[:-5])
    newer = put_record(store, "b" * 64, FittedExtractor(weights=refs[1]))
    newer.write_text(newer.read_text().replace("FittedExtractor", "NoSuchRecord"))
    damaged = []
    for number, content in enumerate(
        (b"", b"\xff\xfe", b"[]", b"null", b'{"result": 3}', b'{"result": "[' + b"[" * 9999)
    ):
        damaged.append(store.results_dir / f"damaged{number}")
        damaged[-1].write_bytes(content)
    assert pruned(store) == []
    age(cut, newer, *damaged)
    expected = [cut.name, newer.name, *(path.name for path in damaged), *(Path(ref.key).name for ref in refs)]
    assert pruned(store) == sorted(expected)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_text(path.read_text()[:-20]),
        lambda path: path.write_text("{}"),
        lambda path: path.write_bytes(b"\xff"),
        lambda path: path.unlink(),
    ],
    ids=["cut short", "empty", "no text", "missing"],
)
def test_if_a_manifest_cannot_be_read_nothing_is_removed(store, damage) -> None:
    ref = put(store, "unnamed")
    damage(publish(store, "one", put(store, "published")) / "manifest.json")
    with pytest.raises(StoreError, match=r"manifest.json of the published run .*one.* cannot be read.*\nNothing was"):
        prune(store.root, 0, dry_run=False)
    assert store.is_available(ref)
    assert disk_use(store.root)[1] is None
    assert "make prune says why" in describe_disk(store.root)


def test_runs_on_a_missing_drive_count_as_unreadable(store) -> None:
    (store.root / "runs").mkdir()
    (store.root / "runs" / "moved").symlink_to("/nowhere/at/all")
    with pytest.raises(StoreError, match="moved"):
        prune(store.root, 0, dry_run=False)
    (store.root / "runs" / "moved").unlink()
    (store.root / "runs").rmdir()
    (store.root / "runs").symlink_to("/nowhere/at/all")
    with pytest.raises(StoreError, match="cannot be read"):
        prune(store.root, 0, dry_run=False)


def test_runs_that_were_moved_and_linked_keep_what_they_need(store, tmp_path) -> None:
    ref = put(store, "published")
    publish(store, "one", ref).rename(tmp_path / "elsewhere")
    (store.root / "runs" / "one").symlink_to(tmp_path / "elsewhere")
    assert pruned(store) == []


def test_links_are_never_followed_and_unknown_names_are_left_alone(store, tmp_path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    precious = outside / ("a" * 64)
    precious.write_text("mine")
    age(precious, outside)
    (store.root / "store" / "aa").symlink_to(outside)
    folder = store.root / "store" / "bb"
    folder.mkdir()
    (folder / f"{'b' * 64}.npy").symlink_to(precious)
    (store.root / "scratch").mkdir()
    (store.root / "scratch" / "train-x").symlink_to(outside)
    (store.partial_dir / "link").symlink_to(outside)
    odd = [folder / name for name in ("notes.txt", "b" * 63, "c" * 64, "bb\n\udcff[red]", "B" * 64)]
    for path in odd:
        path.touch()
    age(*odd, folder / f"{'b' * 64}.npy", store.root / "scratch" / "train-x", store.partial_dir / "link")
    assert pruned(store, 0) == ["link"], "the link that a kill left is removed, not its target"
    assert precious.read_text() == "mine"
    assert all(path.exists() for path in odd)


def test_old_checkpoints_are_removed_unless_their_lock_is_held(store) -> None:
    scratch = {name: store.scratch_dir(name) for name in ("train-old", "train-held", "train-new")}
    for folder in scratch.values():
        (folder / "cpu").mkdir(parents=True)
        (folder / "cpu" / ".0001.npz.abc.partial").write_bytes(b"half")
        (folder / "cpu" / "0000.npz").write_bytes(b"checkpoint")
        age(*folder.rglob("*"), folder)
    os.utime(scratch["train-new"] / "cpu" / "0000.npz")
    lock_path(scratch["train-old"]).touch()
    age(lock_path(scratch["train-old"]))
    with exclusive_lock(lock_path(scratch["train-held"]), print):
        age(lock_path(scratch["train-held"]))
        assert pruned(store) == ["train-old", "train-old.lock"]
    assert scratch["train-held"].exists()
    assert scratch["train-new"].exists()


def test_old_event_files_for_tensorboard_are_removed(store) -> None:
    folders = [store.root / "tensorboard" / f"train-{letter * 16}" for letter in "abc"]
    mine = store.root / "tensorboard" / "mine"
    for folder in (*folders, mine):
        folder.mkdir(parents=True)
        (folder / "events.out.tfevents.1").write_bytes(b"x" * 2_000_000)
        age(folder / "events.out.tfevents.1", folder)
    os.utime(folders[1] / "events.out.tfevents.1")
    (store.root / "tensorboard" / "link").symlink_to(folders[2])
    assert describe_disk(store.root).endswith("4.0 MB of it could be pruned (make prune)")
    assert pruned(store) == [folders[0].name, folders[2].name]
    assert mine.exists(), "this project does not give such a name"
    assert "of it needed or used" in describe_disk(store.root)


def test_files_that_a_kill_left_incomplete_are_removed(store, downloads) -> None:
    runs = store.root / "runs"
    publish(store, "one.b", put(store, "published"))
    left_behind = [
        store.partial_dir / "tmpabc",
        runs / ".one.b.x1y2.partial",
        runs / ".one.b.x1y2.old",
        runs / ".gone.x1y2.old",
    ]
    for folder in left_behind:
        folder.mkdir()
        (folder / "file").touch()
        age(folder / "file", folder)
    files = [downloads / "tmpab12cd_z", downloads / ".train.gz.x1y2.partial", downloads / "train.gz"]
    for path in files:
        path.touch()
    (store.root / ".latest.123").symlink_to("runs/one.b")
    sweep = store.root / "sweeps" / "abc"
    sweep.mkdir(parents=True)
    pages = [store.root / ".index.html.x1.partial", sweep / ".board.html.x2.partial", store.root / ".probe.x3"]
    for path in pages:
        path.touch()
    probes = [store.results_dir / ".probe.x4", store.root / "scratch" / ".probe.x5"]
    for path in probes:
        path.mkdir(parents=True)
    age(*files, *pages, *probes, store.root / ".latest.123")
    expected = [
        ".board.html.x2.partial",
        ".index.html.x1.partial",
        ".latest.123",
        ".one.b.x1y2.old",
        ".one.b.x1y2.partial",
        ".probe.x3",
        ".probe.x4",
        ".probe.x5",
        ".train.gz.x1y2.partial",
        "tmpab12cd_z",
        "tmpabc",
    ]
    assert pruned(store) == expected
    assert (runs / ".gone.x1y2.old").exists(), "it stays, since no other run is in its place"
    assert files[2].exists()


@pytest.mark.parametrize("linked", ["", "store"])
def test_an_output_folder_and_a_store_on_another_disk_are_pruned_through_their_links(
    store, tmp_path, linked: str
) -> None:
    unused = put(store, "unused")
    age(store.path(unused))
    elsewhere = tmp_path / "elsewhere"
    (store.root / linked).rename(elsewhere)
    (store.root / linked).symlink_to(elsewhere)
    if not linked:
        assert disk_use(store.root) == disk_use(elsewhere) == (6, 6)
    assert pruned(store) == [Path(unused.key).name]


def test_files_that_a_running_run_uses_stay_even_at_0_days(store) -> None:
    before = put(store, "before")
    with mark_in_use(store.root):
        filed, again = store.put_bytes(b"filed", ".txt"), put(store, "again")
        assert store.put_bytes(b"again", ".txt") == again
        taken = put(store, "taken")
        os.utime(put_record(store, "a" * 64, FittedExtractor(weights=taken)))
        assert pruned(store, 0) == [Path(before.key).name]
        assert all(store.is_available(ref) for ref in (filed, again, taken))
    time.sleep(0.02)  # the drive's clock ticks every few ms
    assert len(pruned(store, 0)) == 4


def test_a_folder_without_a_store_is_refused_and_not_changed(tmp_path) -> None:
    with pytest.raises(SettingsError, match="has no store"):
        prune(tmp_path / "cache", 0, dry_run=False)
    assert not (tmp_path / "cache" / ".in-use").exists()


def test_disk_use_is_shown_with_the_size_that_can_be_pruned(store) -> None:
    store.put_bytes(b"x" * 3_000_000, ".bin")
    assert describe_disk(store.root) == f"3.0 MB in {store.root}, all of it needed or used in the last 30 days"
    put(store, "y" * 1_500_000)
    assert describe_disk(store.root) == f"4.5 MB in {store.root}, 1.5 MB of it could be pruned (make prune)"


def test_checkpoints_that_a_run_locks_just_before_their_removal_stay(store, monkeypatch) -> None:
    folder = store.scratch_dir("train-old")
    folder.mkdir(parents=True)
    age(folder)
    find = gan.runs.pruning.find_leftovers
    with ExitStack() as stack:

        def find_and_take_up(*args):
            found = find(*args)
            stack.enter_context(exclusive_lock(lock_path(folder), print))
            return found

        monkeypatch.setattr(gan.runs.pruning, "find_leftovers", find_and_take_up)
        assert prune(store.root, 0, dry_run=False).leftovers == []
        assert folder.exists()
        assert lock_path(folder).exists()


def refuse_to_unlink(refused: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a file that may not be removed, since root may remove every file."""
    unlink = Path.unlink

    def refuse_one(path: Path, missing_ok: bool = False) -> None:
        if path == refused:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse_one)


def test_files_that_cannot_be_removed_are_reported_and_all_others_are_removed(store, monkeypatch) -> None:
    kept, gone = put(store, "kept"), put(store, "gone")
    refuse_to_unlink(store.root / kept.key, monkeypatch)
    pruning = prune(store.root, 0, dry_run=False)
    assert len(pruning.failures) == 1
    assert "Permission denied" in pruning.failures[0]
    assert [leftover.path for leftover in pruning.leftovers] == [store.root / gone.key]
    assert not (store.root / gone.key).exists()


def test_a_run_hidden_by_a_kill_is_restored_and_keeps_what_it_needs(store) -> None:
    ref = put(store, "published")
    folder = publish(store, "one", ref)
    record = put_record(store, "b" * 64, PublishedRun(name="one", published=published_files(folder, "one")))
    folder.rename(folder.with_name(".one.x1y2.old"))
    assert prune(store.root, 0, dry_run=False).leftovers == []
    assert folder.exists()
    assert store.is_available(ref)
    assert record.exists()


@pytest.mark.usefixtures("prefect_server")
def test_the_flow_shows_in_the_ui_what_was_removed(store) -> None:
    put(store, "unnamed")
    prune_flow(PruneSettings(output_dir=store.root))
    assert left(store) == set()
    assert json.loads(str(pruned_artifact().data)) == [{"what": "stored files", "how many": "1", "how much": "7 bytes"}]
