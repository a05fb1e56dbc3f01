"""Machines that share no file system, through an object store: a real server of the S3 API on this machine."""

import base64
import json
import subprocess
import sys
import tracemalloc
import uuid
from collections.abc import Iterator
from pathlib import Path

import cloudpickle
import pytest
from builders import write_own_data
from conftest import PROJECT
from pipeline import STAGES_OF_OWN_DATA, Checkout, ran
from s3_server import BUCKET, SECRET, Line, S3Server
from test_end_to_end import wait_for_checkpoint
from test_stage import Note, counted, known_code, run  # noqa: F401

from gan import object_store
from gan.errors import StoreError
from gan.store import FileRef, Store
from tasks.records import PublishedRun
from tasks.stage import refreshing, stage

FEW = ("--steps", 40, "--sample-every", 20, "--batch-size", 16, "--num-samples", 100, "--run-name", "few")


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    server = S3Server()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def url(s3, monkeypatch) -> Iterator[str]:
    """An address that no other test uses, and what the environment must hold for it."""
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(object_store, "ATTEMPTS", 1)
    object_store._client.cache_clear()
    yield f"s3://{BUCKET}/{uuid.uuid4().hex}"
    object_store._client.cache_clear()


@pytest.fixture
def machines(url, tmp_path) -> tuple[Store, Store]:
    return Store.open(tmp_path / "one", url), Store.open(tmp_path / "two", url)


def key_of(store: Store, ref: FileRef) -> str:
    return f"{store.remote.prefix}/{ref.by_content().key}"


def records_of(s3: S3Server, store: Store) -> list[str]:
    return s3.keys(f"{store.remote.prefix}/.results/")


def test_what_one_machine_shares_another_has_and_keeps(s3, machines) -> None:
    one, two = machines
    ref = one.put_bytes(b"hello", ".txt")
    assert not two.is_intact(ref)
    one.share([ref])
    assert two.is_intact(ref)
    assert not two.is_here(ref)
    assert two.path(ref).read_bytes() == b"hello"
    s3.delete(key_of(one, ref))
    assert two.path(ref).read_bytes() == b"hello"
    assert [path for path in (two.root / "store").rglob("*") if path.is_file()] == [two.root / ref.key]


def test_what_is_there_is_not_uploaded_again(s3, machines) -> None:
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


@pytest.mark.parametrize("damaged", [b"hellp", b"", b"hello and more"])
def test_an_altered_object_is_never_handed_out_and_heals(s3, machines, damaged) -> None:
    one, two = machines
    ref = one.put_bytes(b"hello", ".txt")
    one.share([ref])
    s3.put(key_of(one, ref), damaged)
    with pytest.raises(StoreError, match=r"missing or was altered.*\n.*s3://.*Run the same command again"):
        two.path(ref)
    assert two.missing([ref]) == [ref], "it is nobody's file any more"
    assert not [path for path in two.root.rglob("*") if path.is_file()]
    one.share([ref])
    assert two.path(ref).read_bytes() == b"hello"


def test_an_object_of_another_size_is_not_even_downloaded(s3, machines, monkeypatch) -> None:
    one, two = machines
    ref = one.put_bytes(b"hello", ".txt")
    s3.put(key_of(one, ref), bytes(1_000_000))
    monkeypatch.setattr(object_store.ObjectStore, "download", lambda *_: pytest.fail("it was downloaded"))
    with pytest.raises(StoreError, match="missing or was altered"):
        two.path(ref)
    assert s3.get(key_of(one, ref)) == b""


def test_a_large_object_in_a_small_ones_place_is_none_and_not_read(s3, machines) -> None:
    store = machines[0].remote
    store.write("small", bytes(object_store.MAX_READ_BYTES))
    assert len(store.read("small")) == object_store.MAX_READ_BYTES
    s3.put(f"{store.prefix}/small", bytes(200_000_000))
    tracemalloc.start()
    assert store.read("small") is None
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def test_a_damaged_copy_on_this_machine_is_replaced_by_the_object(machines) -> None:
    one, two = machines
    ref = one.put_bytes(b"hello", ".txt")
    one.share([ref])
    two.path(ref).write_bytes(b"hellp")
    assert two.is_intact(ref)
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
from gan.store import Store
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


def test_another_machine_takes_a_stage_from_the_cache(prefect_server, known_code, machines) -> None:  # noqa: F811
    one, two = machines
    write, runs = counted()
    note = run(write, one, "a")
    assert run(write, two, "a") == note
    assert runs == [0]
    assert two.path(note.file).read_bytes() == b"a"
    assert run(lambda store: write.recorded(store, "b"), two) is None
    assert runs == [0]


def test_a_result_refreshed_on_another_machine_is_the_one_that_is_found(
    prefect_server,
    known_code,  # noqa: F811
    machines,
) -> None:
    one, two = machines
    write, runs = counted()
    run(write, one, "a")
    run(write, two, "a")
    with refreshing(True):
        newer = run(write, two, "a")
    assert runs == [0, 1]
    assert run(lambda store: write.recorded(store, "a"), one).facts == newer.facts == {"run": 2}


def test_what_was_made_before_there_was_an_object_store_is_shared_too(
    prefect_server,
    known_code,  # noqa: F811
    url,
    tmp_path,
) -> None:
    write, runs = counted()
    note = run(write, Store.open(tmp_path / "one"), "a")
    run(write, Store.open(tmp_path / "one", url), "a")
    assert run(lambda store: write.recorded(store, "a"), Store.open(tmp_path / "two", url)) == note
    assert runs == [0]


def test_a_file_lost_in_the_bucket_is_uploaded_again_or_made_anew(
    prefect_server,
    known_code,  # noqa: F811
    s3,
    machines,
    tmp_path,
    url,
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


def test_a_result_lost_here_is_replaced_by_the_one_that_another_machine_made(
    prefect_server,
    known_code,  # noqa: F811
    url,
    tmp_path,
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


@pytest.mark.parametrize("damage", [lambda content: content[:40], lambda content: content + b" " * 2_000_000])
def test_a_damaged_record_in_the_bucket_is_replaced(
    prefect_server,
    known_code,  # noqa: F811
    s3,
    machines,
    damage,
) -> None:
    one, two = machines
    write, runs = counted()
    run(write, one, "a")
    (record,) = records_of(s3, one)
    content = s3.get(record)
    s3.put(record, damage(content))
    run(write, two, "a")
    assert runs == [0, 1]
    assert Note.model_validate_json(s3.get(record)).file == Note.model_validate_json(content).file


def hostile_records(trace: Path) -> list[bytes]:
    """What Prefect itself would load: any class, or a pickle."""

    class Touch:
        def __reduce__(self):
            return trace.touch, ()

    plain = {"__class__": "pathlib.Path", "data": str(trace)}
    pickled = base64.encodebytes(cloudpickle.dumps(Touch())).decode()
    metadata = {"storage_key": "x", "serializer": {"type": "pickle"}}
    return [
        json.dumps(plain).encode(),
        json.dumps({"metadata": metadata, "result": pickled}).encode(),
        json.dumps({"file": {"key": "../../etc/passwd", "sha256": "0" * 64, "size": 1}}).encode(),
    ]


@pytest.mark.parametrize("number", range(3))
def test_a_hostile_record_in_the_bucket_is_not_loaded(
    prefect_server,
    known_code,  # noqa: F811
    s3,
    machines,
    tmp_path,
    number,
) -> None:
    one, two = machines
    write, runs = counted()
    note = run(write, one, "a")
    (record,) = records_of(s3, one)
    s3.put(record, hostile_records(tmp_path / "trace")[number])
    assert run(write, two, "a").file == note.file
    assert runs == [0, 1]
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    "key",
    ["../x", "/etc/passwd", "store/../../x", "store//x", "store/./x", "store\\x", ".results/x", "store", "store/x\n"],
)
def test_no_key_leads_out_of_the_store(key) -> None:
    with pytest.raises(ValueError, match="key"):
        FileRef(key=key, sha256="0" * 64, size=1)


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "", ".hidden"])
def test_no_published_run_lies_elsewhere(name) -> None:
    with pytest.raises(ValueError, match="name"):
        PublishedRun(name=name, published=())


def test_a_server_that_goes_down_costs_no_work(prefect_server, known_code, s3, machines) -> None:  # noqa: F811
    one, two = machines
    write, runs = counted(lambda run: s3.stop())
    try:
        with pytest.raises(StoreError, match=r"does not answer.*\n.*run the same command again") as caught:
            run(write, one, "a")
        assert caught.value.transient
        with pytest.raises(StoreError, match="does not answer"):
            run(write, two, "a")
    finally:
        s3.start()
    assert runs == [0], "a server that does not answer is no cache without a result"
    note = run(write, one, "a")
    assert run(write, two, "a") == note
    assert runs == [0]


@pytest.mark.parametrize(
    ("variables", "message", "transient"),
    [
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "does not answer at http://127.0.0.1:1 .*\n.*AWS_ENDPOINT", True),
        ({"AWS_ENDPOINT_URL": "nonsense"}, "cannot be used.*\n.*AWS_ENDPOINT_URL as https://host:port", False),
        ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "NoCredentials.*\nSet AWS_ACCESS_KEY_ID", False),
        ({"AWS_SECRET_ACCESS_KEY": None}, "PartialCredentials.*\nSet AWS_ACCESS_KEY_ID", False),
    ],
)
def test_a_store_that_cannot_be_used_is_found_at_once(
    url, monkeypatch, tmp_path, variables, message, transient
) -> None:
    for name, value in variables.items():
        monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    with pytest.raises(StoreError, match=message) as caught:
        Store.open(tmp_path, url)
    assert caught.value.transient is transient
    assert SECRET not in str(caught.value)


def test_a_bucket_that_is_not_there_is_found_at_once(url, tmp_path) -> None:
    with pytest.raises(StoreError, match=r"no bucket trousers .*\n.*--store-url"):
        Store.open(tmp_path, "s3://trousers")


@pytest.mark.parametrize(
    "address",
    ["garments", "http://garments/x", "s3://", "s3://a:secret@garments/x", "s3://garments/../x", "s3://garments/x?y=z"],
)
def test_an_address_that_is_none_is_not_repeated(tmp_path, address) -> None:
    with pytest.raises(StoreError, match=r"not one of S3.*\n.*s3://bucket/prefix") as caught:
        Store.open(tmp_path, address)
    assert "secret@" not in str(caught.value)


def test_three_rights_are_enough_and_one_less_is_found_at_once(s3, url, monkeypatch, tmp_path) -> None:
    def become(*actions: str) -> None:
        iam, name = s3.client("iam"), uuid.uuid4().hex
        iam.create_user(UserName=name)
        found = iam.create_access_key(UserName=name)["AccessKey"]
        objects, bucket = f"arn:aws:s3:::{url.removeprefix('s3://')}/*", f"arn:aws:s3:::{BUCKET}"
        rights = [
            {"Effect": "Allow", "Action": action, "Resource": bucket if action == "s3:ListBucket" else objects}
            for action in actions
        ]
        policy = json.dumps({"Version": "2012-10-17", "Statement": rights})
        iam.put_user_policy(UserName=name, PolicyName="rights", PolicyDocument=policy)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", found["AccessKeyId"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", found["SecretAccessKey"])
        object_store._client.cache_clear()

    become("s3:GetObject", "s3:PutObject", "s3:ListBucket")
    with s3.asking_who_it_is():
        one, two = Store.open(tmp_path / "one", url), Store.open(tmp_path / "two", url)
        ref = one.put_bytes(b"hello", ".txt")
        assert two.missing([ref]) == [ref]
        one.share([ref])
        assert two.path(ref).read_bytes() == b"hello"
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        object_store._client.cache_clear()
        with pytest.raises(StoreError, match=r"refuses these credentials \(SignatureDoesNotMatch\)"):
            Store.open(tmp_path, url)
    for missing in ("s3:GetObject", "s3:PutObject"):
        become(*({"s3:GetObject", "s3:PutObject", "s3:ListBucket"} - {missing}))
        with (
            s3.asking_who_it_is(),
            pytest.raises(StoreError, match=r"refuses these credentials \(AccessDenied\).*\n.*s3:PutObject"),
        ):
            Store.open(tmp_path, url)


def test_without_an_address_nothing_of_it_is_imported(tmp_path) -> None:
    code = (
        "import sys; from pathlib import Path; import flows.train_flow; from gan.store import Store\n"
        "store = Store.open(Path(sys.argv[1])); store.path(store.put_bytes(b'x', '.txt')); store.share([])\n"
        "sys.exit('boto3' in sys.modules or 'botocore' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=PROJECT, check=False).returncode == 0


def test_two_machines_one_bucket_and_a_server_that_loses_everything(s3, url, tmp_path) -> None:
    checkout = Checkout.make(tmp_path / "project", tmp_path / "prefect")
    checkout.env |= {**s3.env, "FASHION_GAN_STORE_URL": url}
    checkout.save_all_the_time()
    checkout.edit("gan/object_store.py", "ATTEMPTS, ATTEMPTS_AT_START = 6, 2", "ATTEMPTS, ATTEMPTS_AT_START = 2, 2")
    one, two = tmp_path / "one", tmp_path / "two"
    data = ("--dataset", "mine", "--data-dir", write_own_data(tmp_path / "mine"))
    command = ("flows/train_flow.py", *FEW, *data, "--output-dir")
    with checkout.start(*command, one) as process:
        wait_for_checkpoint(one, process)
        s3.stop()
        output, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "does not answer" in output
    assert "Traceback" not in output
    s3.start()
    assert ran(checkout.train(*command[1:], one)) == {"render", "compare", "publish"}, "what was finished is kept"
    output = checkout.run(*command, two)
    assert output.count("Finished in state Cached") == len(STAGES_OF_OWN_DATA)
    files = {path.relative_to(one): path.read_bytes() for path in one.glob("runs/few/**/*") if path.is_file()}
    assert len(files) > 20
    assert {path.relative_to(two): path.read_bytes() for path in two.glob("runs/few/**/*") if path.is_file()} == files
    assert (two / "latest" / "report.html").is_file()
    assert SECRET not in output
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path
    for key in s3.keys(""):
        assert SECRET.encode() not in s3.get(key), key
