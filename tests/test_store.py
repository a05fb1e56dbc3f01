import numpy as np
import pytest

from gan.errors import StoreError
from gan.storage.files import atomic_path
from gan.storage.store import FileRef, Store


def test_a_file_is_named_by_its_content_and_read_back(store: Store) -> None:
    ref = store.put_bytes(b"hello", ".txt")
    assert ref.key == f"store/{ref.sha256[:2]}/{ref.sha256}.txt"
    assert ref == store.put_bytes(b"hello", ".txt")
    assert store.path(ref).read_bytes() == b"hello"


def test_an_altered_or_missing_file_is_never_returned(store: Store) -> None:
    ref = store.put_bytes(b"hello", ".txt")
    (store.root / ref.key).write_bytes(b"hellp")
    assert not store.is_available(ref)
    with pytest.raises(StoreError, match=r"missing or was altered.*\n.*Run the same command again"):
        store.path(ref)
    (store.root / ref.key).unlink()
    with pytest.raises(StoreError, match="missing or was altered"):
        store.path(ref)


def test_storing_again_heals_an_altered_file(store: Store) -> None:
    ref = store.put_bytes(b"hello", ".txt")
    (store.root / ref.key).write_bytes(b"hellp")
    store.put_bytes(b"hello", ".txt")
    assert store.is_available(ref)


def test_a_failed_write_leaves_nothing(store: Store) -> None:
    def fail(path):
        path.write_bytes(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        store.put_file(fail, ".bin")
    assert [path for path in store.root.rglob("*") if path.is_file()] == []


def test_atomic_path_keeps_the_old_file_when_writing_fails(tmp_path) -> None:
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_path(target) as partial:
        partial.write_text(f"new {1 / 0}")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_every_name_that_a_file_may_have_can_be_written(tmp_path) -> None:
    """A name has at most 255 bytes, and this one has three for each letter."""
    target = tmp_path / f"{'衣' * 83}.png"
    with atomic_path(target) as partial:
        partial.write_bytes(b"new")
    assert target.read_bytes() == b"new"


def test_a_folder_in_place_of_an_output_file_is_refused_before_the_work(call, tmp_path) -> None:
    (tmp_path / "model.keras").mkdir()
    code, shown = call("gan.classifier", "--out", tmp_path / "model.keras")
    assert code == 1
    assert "model.keras cannot be written: it is a folder." in shown


def test_arrays_come_back_equal_and_read_only(store: Store) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    loaded = store.load_array(store.put_array(array))
    np.testing.assert_array_equal(loaded, array)
    assert not loaded.flags.writeable


def test_arrays_of_objects_are_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="Object arrays"):
        store.put_array(np.array([object()]))


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot be written.*\n.*--output-dir"):
        Store.open(tmp_path / "file" / "artifacts")


def test_references_are_plain_frozen_values() -> None:
    with pytest.raises(ValueError, match="sha256"):
        FileRef(key="store/x", sha256="short", size=1)
