"""A damaged, hostile or unreachable bucket, on a real server of the S3 API on this machine."""

import base64
import json
import tracemalloc
import uuid
from pathlib import Path

import cloudpickle
import pytest
from s3_server import BUCKET, SECRET, key_of, records_of
from test_stage import Note, counted, run

from gan.errors import StoreError
from gan.runs.bucket import prune_bucket
from gan.storage import object_store
from gan.storage.store import FileRef, Store
from tasks.records import PublishedRun


@pytest.mark.parametrize("damaged", [b"hellp", b"", b"hello and more"])
def test_an_altered_object_is_never_returned_and_the_next_upload_repairs_it(s3, machines, damaged) -> None:
    one, two = machines
    ref = one.put_bytes(b"hello", ".txt")
    one.share([ref])
    s3.put(key_of(one, ref), damaged)
    with pytest.raises(StoreError, match=r"missing or was altered.*\n.*s3://.*Run the same command again"):
        two.path(ref)
    assert two.missing([ref]) == [ref], "the object counts as missing"
    assert not [path for path in two.root.rglob("*") if path.is_file()]
    one.share([ref])
    assert two.path(ref).read_bytes() == b"hello"


def test_an_object_of_another_size_is_not_downloaded(s3, machines, monkeypatch) -> None:
    one, two = machines
    ref = one.put_bytes(b"hello", ".txt")
    s3.put(key_of(one, ref), bytes(1_000_000))
    monkeypatch.setattr(object_store.ObjectStore, "download", lambda *_: pytest.fail("it was downloaded"))
    with pytest.raises(StoreError, match="missing or was altered"):
        two.path(ref)
    assert s3.get(key_of(one, ref)) == b""


def test_a_large_object_in_place_of_a_small_one_is_not_read(s3, machines) -> None:
    store = machines[0].remote
    store.write("small", bytes(object_store.MAX_READ_BYTES))
    assert len(store.read("small")) == object_store.MAX_READ_BYTES
    s3.put(f"{store.prefix}/small", bytes(40_000_000))
    tracemalloc.start()
    assert store.read("small") is None
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("damage", [lambda content: content[:40], lambda content: content + b" " * 2_000_000])
def test_a_damaged_record_in_the_bucket_is_replaced(prefect_server, known_code, s3, machines, damage) -> None:
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
    """Return records that Prefect itself would load: any class, or a pickle."""

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
    prefect_server, known_code, s3, machines, tmp_path, number
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
    [
        *("../x", "/etc/passwd", "store/../../x", "store/a/../b", "store//x", "store/./x", "store\\x"),
        *("store", "store/x\n", "store/a b", "runs/.x", ".results/x", "other/x"),
    ],
)
def test_no_key_leaves_the_store(key) -> None:
    with pytest.raises(ValueError, match="key"):
        FileRef(key=key, sha256="0" * 64, size=1)


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "", ".hidden"])
def test_no_name_of_a_published_run_leaves_its_folder(name) -> None:
    with pytest.raises(ValueError, match="name"):
        PublishedRun(name=name, published=())


def test_a_server_that_goes_down_loses_no_work(prefect_server, known_code, s3, machines) -> None:
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
def test_an_unusable_store_is_an_error_at_the_start(url, monkeypatch, tmp_path, variables, message, transient) -> None:
    for name, value in variables.items():
        monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    with pytest.raises(StoreError, match=message) as caught:
        Store.open(tmp_path, url)
    assert caught.value.transient is transient
    assert SECRET not in str(caught.value)


def test_a_missing_bucket_is_an_error_at_the_start(url, tmp_path) -> None:
    with pytest.raises(StoreError, match=r"no bucket trousers .*\n.*--store-url"):
        Store.open(tmp_path, "s3://trousers")


@pytest.mark.parametrize(
    "address",
    ["garments", "http://garments/x", "s3://", "s3://a:secret@garments/x", "s3://garments/../x", "s3://garments/x?y=z"],
)
def test_an_invalid_address_is_not_repeated_in_the_error(tmp_path, address) -> None:
    with pytest.raises(StoreError, match=r"not one of S3.*\n.*s3://bucket/prefix") as caught:
        Store.open(tmp_path, address)
    assert "secret@" not in str(caught.value)


@pytest.fixture
def become(s3, url, monkeypatch):
    """Return a function that makes a user with the given rights, and lets this process act as that user."""

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

    return become


def test_three_rights_are_enough_and_a_missing_one_is_an_error_at_the_start(
    s3, url, become, monkeypatch, tmp_path
) -> None:
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


def test_removing_objects_needs_one_more_right(s3, url, become, tmp_path) -> None:
    store = Store.open(tmp_path / "one", url)
    ref = store.put_bytes(b"hello", ".txt")
    with s3.days_ago(40):
        store.share([ref])
    become("s3:GetObject", "s3:PutObject", "s3:ListBucket")
    with s3.asking_who_it_is():
        prune_bucket(store, 30, remove=False, dry_run=False)
        with pytest.raises(StoreError, match=r"refuses these credentials.*\n.*s3:DeleteObject on"):
            prune_bucket(store, 30, remove=True, dry_run=False)
    become("s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:DeleteObject")
    with s3.asking_who_it_is():
        assert len(prune_bucket(store, 30, remove=True, dry_run=False)) == 1
