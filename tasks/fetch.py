"""Stage 1: the files of the data set, from wherever they can be had."""

import tempfile
from pathlib import Path

from prefect.logging import get_run_logger

from gan.data.catalog import Dataset, Kind, Split
from gan.data.sources import fetch_files
from gan.storage.store import FileRef, Store
from tasks.records import RawData
from tasks.stage import stage


@stage(run_name="fetch {dataset.title}", timeout_seconds=3600, incidental=("data_dir",))
def fetch(store: Store, dataset: Dataset, data_dir: Path | None) -> RawData:
    """Fetch and verify the four IDX files; `data_dir` is the only source when it is given."""
    log = get_run_logger()
    with tempfile.TemporaryDirectory(dir=store.partial_dir) as name:
        folder = Path(name)
        source = fetch_files(dataset, folder, data_dir=data_dir)

        def put(split: Split, kind: Kind) -> FileRef:
            return store.put_file((folder / dataset.file(split, kind).name).rename, suffix="-ubyte")

        raw = RawData(
            dataset=dataset.name,
            train_images=put("train", "images"),
            train_labels=put("train", "labels"),
            test_images=put("test", "images"),
            test_labels=put("test", "labels"),
            facts={"source": source},
        )
    log.info("%s from %s; SHA-256 of all four files verified", dataset.title, source)
    return raw
