"""Publish small runs that can become the champion, and see which one is."""

import shutil

from gan.judging.gate import Decision
from gan.runs.manifest import AVERAGE_GENERATOR, AVERAGE_SAMPLES
from gan.runs.publish import write_manifest
from gan.storage.store import Store
from tasks.records import NormalizedData, TrainedGan

PASSES = Decision(passes=True, champion=None, reasons=("It is good.",))


def publish(
    store: Store, data: NormalizedData, name: str, gate: Decision = PASSES, champion=None, content: str = ""
) -> TrainedGan:
    """Publish a run whose files contain its name, or the given content; replace an earlier run of that name."""
    content = content or name
    folder = store.root / "runs" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in ("generator.keras", AVERAGE_GENERATOR, AVERAGE_SAMPLES):
        (folder / file).write_bytes(content.encode())
    digests = {split: {"images": data.train_images.sha256} for split in ("train", "test")}
    write_manifest(
        folder,
        {
            "data": {"name": data.dataset, "sha256": digests},
            "gate": gate.model_dump(mode="json"),
            "champion": champion and champion.model_dump(mode="json"),
        },
    )
    ref = store.put_bytes(content.encode(), ".keras")
    return TrainedGan(generator=ref, average=ref, history=ref, snapshots=ref, average_snapshots=ref, warnings=())


def champion_and_its_generator(store: Store) -> tuple[str, str]:
    """Return the name of the champion, and the content of its generator, by the link."""
    folder = store.root / "champion"
    return folder.resolve().name.rpartition("-")[0], (folder / AVERAGE_GENERATOR).read_text()
