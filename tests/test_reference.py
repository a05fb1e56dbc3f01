"""The run that a new run is compared with: never itself, a run of other data or a damaged run."""

import json
import shutil

import numpy as np
import pytest
from builders import article_config, change_first_label, put_data, write_own_data
from narrowing import not_none

import tasks.reference
from flows.checks import check_before_work
from flows.settings import RunSettings
from gan.config import RunConfig, SampleConfig
from gan.data.catalog import FASHION_MNIST
from gan.data.folder import describe_folder
from gan.errors import SettingsError
from gan.recipes import RECIPES, RecipeName
from gan.runs.publish import write_json, write_manifest
from gan.storage.links import LATEST, set_link
from gan.storage.store import Store
from tasks.records import NormalizedData, TrainedGan
from tasks.reference import check_comparable, find_reference


@pytest.fixture
def data(store: Store) -> NormalizedData:
    return put_data(store, np.zeros((3, 28, 28, 1), np.float32))


def trained(store: Store, generator: bytes, average: bytes | None = None) -> TrainedGan:
    ref = store.put_bytes(generator, ".keras")
    averaged = store.put_bytes(average or b"average of " + generator, ".keras")
    return TrainedGan(
        generator=ref,
        average=averaged,
        history=ref,
        snapshots=ref,
        average_snapshots=ref,
        warnings=(),
    )


def publish(store: Store, data: NormalizedData, name: str, reference=None) -> None:
    """Publish a run whose generator file contains its name."""
    folder = store.root / "runs" / name
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("generator.keras", "generator_average.keras", "samples.npz", "samples_average.npz"):
        (folder / file).write_bytes(name.encode())
    (folder / "generator_average.keras").write_bytes(b"average of " + name.encode())
    digests = {split: {"images": data.train_images.sha256} for split in ("train", "test")}
    write_manifest(
        folder,
        {
            "data": {"name": data.dataset, "sha256": digests},
            "reference": reference and reference.model_dump(mode="json"),
        },
    )
    set_link(store.root, LATEST, f"runs/{name}")


def run_of(name: str) -> RunConfig:
    return RunConfig(name=name, train=article_config(), samples=SampleConfig())


def reference_of(store: Store, data: NormalizedData, name: str, compare_with=None):
    return find_reference(store, run_of(name), data, trained(store, name.encode()), compare_with)


def test_the_first_run_has_no_reference_and_a_later_run_has_the_latest(store, data) -> None:
    assert reference_of(store, data, "a") is None
    publish(store, data, "a")
    found = reference_of(store, data, "b")
    assert found.name == "a"
    assert store.path(found.samples).read_bytes() == b"a"


def test_runs_that_are_repeated_alternately_keep_their_references(store, data) -> None:
    publish(store, data, "a")
    first = reference_of(store, data, "b")
    publish(store, data, "b", first)
    assert reference_of(store, data, "a") is None, "it is the first run, which has no reference"
    assert reference_of(store, data, "b") == first, "not itself, though it is the latest"
    publish(store, data, "a")
    assert reference_of(store, data, "b") == first
    assert reference_of(store, data, "b", store.root / "latest") == first.model_copy(), (
        "the link and the name lead to the same run"
    )


def test_a_twin_under_another_name_has_the_same_reference(store, data) -> None:
    publish(store, data, "a")
    first = reference_of(store, data, "b")
    publish(store, data, "b", first)
    twin = find_reference(store, run_of("twin"), data, trained(store, b"b"), None)
    assert twin == first


def test_a_run_with_another_averaged_generator_is_another_run(store, data) -> None:
    publish(store, data, "a")
    assert find_reference(store, run_of("b"), data, trained(store, b"a", average=b"longer"), None).name == "a"


def test_a_reference_is_kept_after_its_folder_is_damaged(store, data) -> None:
    publish(store, data, "a")
    publish(store, data, "b", reference_of(store, data, "b"))
    (store.root / "runs" / "a" / "manifest.json").unlink()
    assert reference_of(store, data, "b").name == "a"


def test_a_run_of_new_code_is_compared_with_the_run_of_old_code_of_the_same_name(store, data) -> None:
    publish(store, data, "nightly")
    found = find_reference(store, run_of("nightly"), data, trained(store, b"of the new code"), None)
    assert found.name == "nightly"
    assert store.path(found.average).read_bytes() == b"average of nightly"


def list_in_catalog(store: Store, name: str, run: RunConfig, *, day: int, badge: str = "Not fit for the gate") -> None:
    """Write what the list of all runs needs of a published run."""
    folder = store.root / "runs" / name
    manifest = json.loads((folder / "manifest.json").read_text())
    recipe, gate = run.train.recipe.name, {"passes": False}
    manifest |= {"published": f"2026-11-{day:02}T03:00:00Z", "recipe": recipe, "seed": 0, "gate": gate}
    names = "frechet_distance", "recall", "coverage", "two_sample_accuracy"
    metrics = {name: {"average": 1.0, "n": 100, "extractor": "cnn"} for name in names}
    write_json(folder / "manifest.json", manifest)
    write_json(folder / "metrics.json", {"badge": badge, "verdict": "", "metrics": metrics, "training": {}})
    write_json(folder / "config.json", run.content().model_dump(mode="json"))


def test_a_run_is_compared_with_the_newest_of_its_settings_then_of_its_recipe(store, data) -> None:
    def of(recipe: RecipeName, seed: int, steps: int = 100) -> RunConfig:
        train = article_config(recipe=RECIPES[recipe], steps=steps, seed=seed)
        return RunConfig(name="new", train=train, samples=SampleConfig(seed=seed))

    def name_of_reference(run: RunConfig) -> str:
        return not_none(find_reference(store, run, data, trained(store, b"new"), None)).name

    published = (
        ("same", of("conv", 1)),
        ("longer", of("conv", 1, 200)),
        ("broken", of("conv", 2)),
        ("mlp", of("mlp", 1)),
    )
    for day, (name, run) in enumerate(published, 1):
        publish(store, data, name)
        list_in_catalog(store, name, run, day=day, badge="Broken" if name == "broken" else "Far from real")
    assert name_of_reference(of("conv", 5)) == "same"
    assert name_of_reference(of("conv", 5, 300)) == "longer", "the newest of the recipe that is not broken"
    assert name_of_reference(of("mlp", 5)) == "mlp"
    assert name_of_reference(of("conditional", 5)) == "mlp", "the latest of all"

    other_images = put_data(store, np.ones((3, 28, 28, 1), np.float32))
    for day, name in enumerate(("other 1", "other 2", "other 3"), 5):
        publish(store, other_images, name)
        list_in_catalog(store, name, of("conv", day), day=day)
    assert name_of_reference(of("conv", 5)) == "same", "other data does not count"


@pytest.mark.parametrize("damage", ["samples altered", "samples gone", "no manifest", "nonsense", "other data"])
def test_a_latest_run_that_is_damaged_or_of_other_data_is_skipped_without_an_error(store, data, damage, caplog) -> None:
    publish(store, data, "a")
    folder = store.root / "runs" / "a"
    if damage == "samples altered":
        (folder / "samples.npz").write_bytes(b"else")
    elif damage == "samples gone":
        (folder / "samples.npz").unlink()
    elif damage == "no manifest":
        (folder / "manifest.json").unlink()
    elif damage == "nonsense":
        write_json(folder / "manifest.json", {"data": None, "files": "x", "reference": 3})
    else:
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["data"]["sha256"]["test"]["images"] = "0" * 64
        write_json(folder / "manifest.json", manifest)
    assert reference_of(store, data, "b") is None
    assert ("Not compared with a:" in caplog.text) == (damage != "other data"), "nobody asked for that run"
    with pytest.raises(SettingsError, match=r"not a complete published run|other data"):
        reference_of(store, data, "b", folder)


@pytest.mark.parametrize("change", ["published again", "removed"])
def test_a_run_that_is_replaced_while_it_is_read_is_no_reference(store, data, change, caplog, monkeypatch) -> None:
    publish(store, data, "b")
    check = tasks.reference.check_files

    def check_then_change(folder, *given) -> None:
        check(folder, *given)
        shutil.rmtree(folder)
        if change == "published again":
            publish(store, data, "b")
            (folder / "samples.npz").write_bytes(b"other samples")

    monkeypatch.setattr(tasks.reference, "check_files", check_then_change)
    assert reference_of(store, data, "c") is None
    assert "published again or removed while it was read" in caplog.text or change == "removed"


def test_a_run_on_other_images_is_refused_before_any_work(store, data, tmp_path) -> None:
    """The name of the data set does not matter, nor do its labels."""
    own = describe_folder("tiny", write_own_data(tmp_path / "own"))
    publish(store, data, "a")
    folder = store.root / "runs" / "a"
    check_comparable(folder, own)  # unknown yet
    write_json(folder / "config.json", {"data": {"sha256": {file.name: file.sha256 for file in own.files}}})
    check_comparable(folder, own.model_copy(update={"name": "renamed"}))
    with pytest.raises(SettingsError, match=r"was trained on other data \(tiny\) than this run \(fashion-mnist\)"):
        check_comparable(folder, FASHION_MNIST)
    change_first_label(tmp_path / "own" / "train-labels-idx1-ubyte")
    check_comparable(folder, describe_folder("tiny", tmp_path / "own"))
    other = describe_folder("tiny", write_own_data(tmp_path / "other", num_train=101))
    with pytest.raises(SettingsError, match=r"other data of the same name \(tiny\)"):
        check_comparable(folder, other)


@pytest.mark.parametrize("nonsense", ["nobody", "x" * 300, "~nobodyhere/x", "a\0b", "<b>|"])
def test_a_reference_that_is_not_a_run_is_one_clear_error(nonsense, tmp_path) -> None:
    settings = RunSettings(compare_with=nonsense, output_dir=tmp_path)
    with pytest.raises(SettingsError, match="is not a complete published run"):
        check_before_work(settings)


def test_a_run_is_found_by_name_by_link_and_by_folder(store, data) -> None:
    publish(store, data, "a")
    folder = store.root / "runs" / "a"
    for given in ("a", "latest", str(folder)):
        assert RunSettings(compare_with=given, output_dir=store.root).reference_folder == folder
