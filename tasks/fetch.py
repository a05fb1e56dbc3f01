"""The stage that fetches the files of the data set from the first source that has them."""

import tempfile
from pathlib import Path

from prefect.logging import get_run_logger

from gan.data.catalog import Dataset
from gan.data.sources import fetch_files
from gan.storage.store import Store
from tasks.records import RawData
from tasks.stage import stage


@stage(run_name="fetch {dataset.title}", timeout_seconds=3600, incidental=("data_dir",))
def fetch(store: Store, dataset: Dataset, data_dir: Path | None) -> RawData:
    """Fetch and verify the four IDX files; a given `data_dir` is the only source."""
    with tempfile.TemporaryDirectory(dir=store.partial_dir) as name:
        folder = Path(name)
        source = fetch_files(dataset, folder, data_dir=data_dir)
        refs = {
            f"{file.split}_{file.kind}": store.put_file((folder / file.name).rename, suffix="-ubyte")
            for file in dataset.files
        }
    get_run_logger().info("%s from %s; SHA-256 of all four files verified", dataset.title, source)
    return RawData.model_validate({"facts": {"source": source}, **refs})
