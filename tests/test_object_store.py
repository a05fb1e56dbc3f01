"""Machines that share only an object store: a real server of the S3 API on this machine."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from builders import put_data, write_own_data
from pipeline import AS_COMMAND, PROJECT, SMALL, STAGES_OF_OWN_DATA, Checkout, ran, wait_for_checkpoint
from s3_server import BUCKET, SECRET, Line, key_of
from test_stage import Note, counted, run

from gan.errors import StoreError
from gan.storage.store import FileRef, Store
from tasks.fit_extractor import get_extractor
from tasks.stage import refreshing, stage

FEW = ("--steps", 40, "--sample-every", 20, *SMALL, "--batch-size", 16, "--num-samples", 100, "--run-name", "few")


def test_a_file_that_one_machine_shares_is_copied_to_another(s3, machines) -> None:
    one, two = machines
    ref = one.put_bytes(b"hello", ".txt")
    assert not two.is_available(ref)
    one.share([ref])
    assert two.is_available(ref)
    assert not two.is_local(ref)
    assert two.path(ref).read_bytes() == b"hello"
    s3.delete(key_of(one, ref))
    assert two.path(ref).read_bytes() == b"hello"
    assert [path for path in (two.root / "store").rglob("*") if path.is_file()] == [two.root / ref.key]


def test_an_existing_object_is_not_uploaded_again(s3, machines) -> None:
    ref = machines[0].put_bytes(b"hello", ".txt")
    s3.client().put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    for store in machines:
        store.put_bytes(b"hello", ".txt")
        store.share([ref, ref])
    s3.client().put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"})
    versions = s3.client().list_object_versions(Bucket=BUCKET, Prefix=key_of(machines[0], ref))["Versions"]
    assert len(versions) == 1


def test_a_published_file_is_shared_by_its_content(s3, machines) -> None:
    one, two = machines
    file = one.root / "runs" / "first" / "grids" / "step-000000.png"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"picture")
    stored = one.put_bytes(b"picture", ".png")
    ref = stored.model_copy(update={"key": file.relative_to(one.root).as_posix()})
    one.share([ref])
    assert s3.keys(f"{one.remote.prefix}/store/") == [key_of(one, stored)]
    assert two.path(ref.by_content()).read_bytes() == b"picture"


def test_the_shipped_extractor_reaches_a_machine_that_shares_no_folder(machines) -> None:
    one, two = machines
    data = put_data(one, np.zeros((2, 28, 28, 1), np.float32)).model_copy(update={"dataset": "fashion-mnist"})
    extractor = get_extractor(one, data, None, "cpu")
    assert two.path(extractor.weights).read_bytes() == one.path(extractor.weights).read_bytes()


def test_a_damaged_copy_on_this_machine_is_replaced_by_the_object(machines) -> None:
    one, two = machines
    ref = one.put_bytes(b"hello", ".txt")
    one.share([ref])
    two.path(ref).write_bytes(b"hellp")
    assert two.is_available(ref)
    assert two.path(ref).read_bytes() == b"hello"


def test_a_damaged_file_is_not_uploaded(s3, machines) -> None:
    one, _ = machines
    ref = one.put_bytes(b"hello", ".txt")
    (one.root / ref.key).write_bytes(b"hellp")
    with pytest.raises(StoreError, match="missing or was altered"):
        one.share([ref])
    assert not s3.keys(key_of(one, ref))


UPLOAD = """
import sys
from pathlib import Path
from gan.storage.store import Store
store = Store.open(Path(sys.argv[1]), sys.argv[2])
store.share([store.put_file(lambda path: path.write_bytes(bytes(40_000_000)), ".bin")])
"""


def upload(machine: Path, url: str, env: dict[str, str]) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", UPLOAD, str(machine), url], cwd=PROJECT, env=env)


def test_an_upload_killed_half_way_leaves_nothing_and_the_next_one_completes_it(s3, url, tmp_path) -> None:
    line = Line(s3.port, stall_after=10_000_000)
    env = {**s3.env, "PYTHONPATH": str(PROJECT)}
    with upload(tmp_path / "one", url, {**env, "AWS_ENDPOINT_URL": line.endpoint}) as process:
        assert line.stalled.wait(60)
        process.kill()
    line.close()
    two = Store.open(tmp_path / "two", url)
    assert not s3.keys(f"{two.remote.prefix}/store/")
    with upload(tmp_path / "one", url, env) as process:
        assert process.wait(60) == 0
    (file,) = (tmp_path / "one" / "store").glob("*/*.bin")
    ref = FileRef.stored(file.stem, 40_000_000, ".bin")
    assert two.path(ref).stat().st_size == 40_000_000


def test_another_machine_takes_a_stage_from_the_cache(prefect_server, known_code, machines) -> None:
    one, two = machines
    write, runs = counted()
    note = run(write, one, "a")
    assert run(write, two, "a") == note
    assert runs == [0]
    assert two.path(note.file).read_bytes() == b"a"
    assert run(lambda store: write.recorded(store, "b"), two) is None
    assert runs == [0]


def test_a_result_refreshed_on_another_machine_replaces_the_earlier_one(prefect_server, known_code, machines) -> None:
    one, two = machines
    write, runs = counted()
    run(write, one, "a")
    run(write, two, "a")
    with refreshing(True):
        newer = run(write, two, "a")
    assert runs == [0, 1]
    assert run(lambda store: write.recorded(store, "a"), one).facts == newer.facts
    assert newer.facts["run"] == 2


def test_results_from_before_the_object_store_are_shared_too(prefect_server, known_code, url, tmp_path) -> None:
    write, runs = counted()
    note = run(write, Store.open(tmp_path / "one"), "a")
    run(write, Store.open(tmp_path / "one", url), "a")
    assert run(lambda store: write.recorded(store, "a"), Store.open(tmp_path / "two", url)) == note
    assert runs == [0]


def test_a_file_lost_in_the_bucket_is_uploaded_or_made_again(
    prefect_server, known_code, s3, machines, tmp_path, url
) -> None:
    one, two = machines
    write, runs = counted()
    note = run(write, one, "a")
    s3.delete(key_of(one, note.file))
    run(write, two, "a")
    assert runs == [0, 1], "it was nowhere that this machine can reach"
    s3.delete(key_of(one, note.file))
    run(write, one, "a")
    assert runs == [0, 1]
    assert Store.open(tmp_path / "three", url).path(note.file).read_bytes() == b"a"


def test_a_result_lost_on_one_machine_is_replaced_by_the_result_of_another(
    prefect_server, known_code, url, tmp_path
) -> None:
    runs: list[bytes] = []

    @stage(run_name="train", timeout_seconds=60)
    def train(store: Store) -> Note:
        runs.append(b"weights %d" % len(runs))
        return Note(file=store.put_bytes(runs[-1], ".txt"))

    alone = Store.open(tmp_path / "one")
    lost, found = run(train, alone), run(train, Store.open(tmp_path / "two", url))
    (alone.root / lost.file.key).unlink()
    one = Store.open(tmp_path / "one", url)
    assert run(train, one) == found
    assert one.path(found.file).read_bytes() == b"weights 1"
    assert runs == [b"weights 0", b"weights 1"]


IMPATIENT = """
import flows
from gan.storage import object_store
object_store.ATTEMPTS = 2
"""
"""Makes a command give up soon when the object store does not answer."""


def test_two_machines_one_bucket_and_a_server_that_loses_everything(prefect_server, s3, url, tmp_path) -> None:
    checkout = Checkout.make_quick(tmp_path)
    checkout.env |= {**s3.env, "FASHION_GAN_STORE_URL": url}
    one, two = tmp_path / "one", tmp_path / "two"
    data = ("--dataset", "mine", "--data-dir", write_own_data(tmp_path / "mine"))
    command = ("flows/train_flow.py", *FEW, *data, "--output-dir")
    with checkout.start("-c", IMPATIENT + AS_COMMAND, *command, one) as process:
        wait_for_checkpoint(one, process)
        s3.stop()
        output, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "does not answer" in output
    assert "Traceback" not in output
    s3.start()
    unfinished = {"render", "floor", "separate", "compare", "publish"}
    assert ran(checkout.train(*command[1:], one)) == unfinished, "what was finished is kept"
    output = checkout.run(*command, two)
    assert output.count("- Cached") == len(STAGES_OF_OWN_DATA)
    files = {path.relative_to(one): path.read_bytes() for path in one.glob("runs/few/**/*") if path.is_file()}
    assert len(files) > 20
    assert {path.relative_to(two): path.read_bytes() for path in two.glob("runs/few/**/*") if path.is_file()} == files
    assert (two / "latest" / "report.html").is_file()
    assert SECRET not in output
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path
    for key in s3.keys(""):
        assert SECRET.encode() not in s3.get(key), key
