"""Pruning of a bucket that several machines share: what is renewed, what is removed, and what another machine needs."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from narrowing import not_none
from s3_server import BUCKET, S3Server, key_of, records_of
from test_pruning import pruned_artifact, publish, refuse_to_unlink
from test_stage import counted, run

from flows.prune_flow import PruneSettings, app, prune_flow
from gan.errors import SettingsError, StoreError
from gan.runs.bucket import MIN_DAYS, prune_bucket
from gan.runs.publish import published_files
from gan.storage.object_store import RENEW_AFTER
from gan.storage.store import FileRef, Store
from tasks.records import FittedExtractor, PublishedRun

OLD = 40


@pytest.fixture(autouse=True)
def downloads(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def share_old(s3: S3Server, store: Store, content: bytes, *, days: float = OLD) -> FileRef:
    """Store a file on a machine, and upload it as an object that is so many days old."""
    ref = store.put_bytes(content, ".txt")
    with s3.days_ago(days):
        store.share([ref])
    return ref


def changed(store: Store) -> dict[str, bool]:
    """Return the key of each object, and whether it was changed or renewed lately."""
    return {found.key: found.age < RENEW_AFTER for found in store.remote.objects()}


def removed(store: Store, days: int = 30) -> list[str]:
    """Prune the bucket after a dry run, which must find the same and change nothing; return the removed keys."""
    before = changed(store)
    found = prune_bucket(store, days, remove=True, dry_run=True)
    assert changed(store) == before
    assert prune_bucket(store, days, remove=True, dry_run=False) == found
    keys = sorted(each.path.as_posix() for each in found)
    assert not {each.key for each in store.remote.objects()} & set(keys)
    return keys


def test_what_no_machine_has_used_is_removed_and_what_a_published_run_needs_stays(s3, machines) -> None:
    one, two = machines
    published, unused, recent = (one.put_bytes(text, ".txt") for text in (b"published", b"unused", b"recent"))
    with s3.days_ago(OLD):
        one.share([published, unused])
        one.remote.write(".results/" + "a" * 64, FittedExtractor(weights=published).model_dump_json().encode())
        one.remote.write(".results/" + "b" * 64, FittedExtractor(weights=unused).model_dump_json().encode())
        one.remote.write(".results/" + "c" * 64, b"damaged")
    one.share([recent])
    publish(one, "one", published)
    run = PublishedRun(name="one", published=published_files(one.root / "runs" / "one", "one"))
    with s3.days_ago(OLD):
        one.share(run.files())
        one.remote.write(".results/" + "d" * 64, run.model_dump_json().encode())
    assert removed(one) == sorted([".results/" + "b" * 64, ".results/" + "c" * 64, unused.key])
    assert two.path(published).read_bytes() == b"published"
    assert not two.missing([ref.by_content() for ref in run.files()]), "its manifest too"
    assert all(changed(one).values())


def test_for_a_run_that_was_removed_nothing_is_renewed(s3, machines) -> None:
    one, _ = machines
    ref = share_old(s3, one, b"hello")
    publish(one, "one", ref)
    assert prune_bucket(one, 30, remove=True, dry_run=True) == []
    (found,) = prune_bucket(one, 30, expired=["one"], remove=True, dry_run=True)
    assert found.path.as_posix() == ref.key


def test_an_object_is_renewed_once_a_day_at_most(s3, machines) -> None:
    one, _ = machines
    refs = young, old = share_old(s3, one, b"young", days=0.5), share_old(s3, one, b"old", days=1.5)
    ages = []
    for _ in range(2):
        ages.append({found.key: found.age for found in one.remote.objects()})
        one.share(refs)
    assert ages[1][young.key] >= ages[0][young.key], "copied, it would be new"
    assert ages[1][old.key] < timedelta(hours=1)


def test_what_another_machine_uses_stays(prefect_server, known_code, s3, machines, tmp_path) -> None:
    one, two = machines
    write, runs = counted()
    with s3.days_ago(OLD):
        note = run(write, one, "a")
    run(write, two, "a")  # it finds the result of the first machine, which counts as use
    assert removed(one) == []
    third = Store(tmp_path / "three", one.remote)
    assert run(write, third, "a") == note
    assert runs == [0]
    assert third.path(note.file).read_bytes() == b"a"


def test_what_another_machine_has_renewed_for_its_published_runs_stays(s3, machines) -> None:
    one, two = machines
    ref = share_old(s3, two, b"of the other")
    publish(two, "theirs", ref)
    assert [each.path.as_posix() for each in prune_bucket(one, 30, remove=True, dry_run=True)] == [ref.key]
    assert prune_bucket(two, 30, remove=False, dry_run=False) == []
    assert removed(one) == []


def test_what_is_removed_is_uploaded_again_by_the_next_run_that_needs_it(
    prefect_server, known_code, s3, machines
) -> None:
    one, two = machines
    write, runs = counted()
    with s3.days_ago(OLD):
        note = run(write, one, "a")
        assert len(records_of(s3, one)) == 1
    shutil.rmtree(two.root)
    assert len(removed(Store(two.root, two.remote))) == 2
    assert run(write, one, "a") == note
    assert run(write, Store(two.root, two.remote), "a") == note
    assert runs == [0]


def test_nothing_younger_than_three_weeks_is_removed_whatever_the_setting(s3, machines) -> None:
    one, _ = machines
    share_old(s3, one, b"young", days=MIN_DAYS - 1)
    old = share_old(s3, one, b"old", days=MIN_DAYS + 1)
    assert removed(one, days=0) == [old.key]


def test_an_object_that_is_renewed_between_listing_and_removal_stays(s3, machines) -> None:
    one, two = machines
    ref = share_old(s3, one, b"hello")
    listed = list(one.remote.objects())
    two.put_bytes(b"hello", ".txt")
    two.share([ref])
    removed_keys = [found.key for found in one.remote.remove_unused(listed)]
    assert ref.key not in removed_keys
    assert s3.keys(key_of(one, ref))


def test_objects_with_other_names_and_outside_of_the_prefix_stay(s3, machines) -> None:
    one, _ = machines
    prefix, sha256 = one.remote.prefix, "a" * 64
    names = [
        f"{prefix}/notes.txt",
        f"{prefix}/store/ab/{sha256}.npy",  # not in the folder of its first digits
        f"{prefix}/store/aa/{sha256[1:]}.npy",
        f"{prefix}/.results/{sha256}.old",
        f"{prefix}2/store/aa/{sha256}.npy",
        f"other/store/aa/{sha256}.npy",
    ]
    with s3.days_ago(OLD):
        for name in names:
            s3.put(name, b"of somebody else")
        s3.put(f"{prefix}/store/aa/{sha256}.npy", b"ours")
    assert removed(one) == [f"store/aa/{sha256}.npy"]
    assert set(names) <= set(s3.keys(""))


def test_if_a_manifest_cannot_be_read_nothing_is_removed(s3, machines) -> None:
    one, _ = machines
    ref = share_old(s3, one, b"hello")
    (publish(one, "one", ref) / "manifest.json").write_text("{}")
    with pytest.raises(StoreError, match="Nothing was removed"):
        prune_bucket(one, 30, remove=True, dry_run=False)
    assert s3.keys(key_of(one, ref))


def test_many_objects_are_listed_over_several_pages(s3, machines) -> None:
    one, _ = machines
    for number in range(1_001):
        s3.client().put_object(Bucket=BUCKET, Key=f"{one.remote.prefix}/store/{number:04}", Body=b"")
    assert len(list(one.remote.objects())) == 1_002, "and .probe"


def command(store: Store, *options: str) -> None:
    app([*options, "--output-dir", str(store.root)], exit_on_error=False, result_action="return_value")


def test_the_command_says_what_it_removes_from_folder_and_bucket(s3, machines, capsys, monkeypatch) -> None:
    one, _ = machines
    ref = share_old(s3, one, b"hello")
    needed = share_old(s3, one, b"needed")
    publish(one, "one", needed)
    command(one, "--store-url", one.remote.url, "--dry-run")
    assert not changed(one)[needed.key]
    command(one, "--store-url", one.remote.url)
    assert changed(one)[needed.key], "what the run needs is renewed"
    assert not changed(one)[ref.key]
    assert one.remote.url not in capsys.readouterr().out, "without --bucket nothing is removed there"
    monkeypatch.setenv("FASHION_GAN_STORE_URL", one.remote.url)
    command(one, "--bucket", "--dry-run")
    said = capsys.readouterr().out
    assert f"5 bytes would be removed from {one.remote.url}: unused for 30 days or more." in said
    assert s3.keys(key_of(one, ref))
    command(one, "--bucket")
    assert f"5 bytes were removed from {one.remote.url}" in capsys.readouterr().out
    assert not s3.keys(key_of(one, ref))
    command(one, "--bucket", "--older-than", "3")
    assert f"Nothing to prune in {one.remote.url}: everything is needed, or was used in the last 21 days." in (
        capsys.readouterr().out
    )


def test_the_flow_shows_what_it_removed_even_if_the_store_fails_then(
    prefect_server, tmp_path, url, s3, monkeypatch
) -> None:
    store = Store.open(tmp_path / "one")
    store.put_bytes(b"hello", ".txt")
    settings = PruneSettings(output_dir=store.root, older_than=0, store_url=f"{url}/nested", bucket=True)
    prune_flow(settings)
    assert "Nothing to prune in s3://" in not_none(pruned_artifact().description)
    store.put_bytes(b"hello again", ".txt")
    wrong = settings.model_copy(update={"store_url": "s3://no-such-bucket-anywhere"})
    with pytest.raises(StoreError, match="has no bucket no-such-bucket-anywhere"):
        prune_flow(wrong)
    assert "11 bytes were removed" in not_none(pruned_artifact().description)
    kept = store.path(store.put_bytes(b"kept", ".txt"))
    refuse_to_unlink(kept, monkeypatch)
    with pytest.raises(StoreError, match=rf"(?s)has no bucket.*1 files .*{kept.name}.*Permission denied"):
        prune_flow(wrong)


def test_a_bucket_that_is_not_named_is_refused_before_anything_is_removed(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("FASHION_GAN_STORE_URL", raising=False)
    store = Store.open(tmp_path / "one")
    store.put_bytes(b"hello", ".txt")
    with pytest.raises(SettingsError, match="--bucket needs an object store"):
        command(store, "--bucket", "--older-than", "0")
    assert list((store.root / "store").rglob("*.txt"))
