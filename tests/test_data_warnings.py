"""Data warnings in every output of a run; no image of a class without training images is generated."""

import json

import numpy as np
from builders import write_own_data
from narrowing import not_none
from pipeline import SMALL_CONV, STAGES_OF_OWN_DATA, Checkout, ran, states
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from gan.report.ranking import read_result
from tasks.artifacts import overview_key

HOSTILE = "<b>none|</b>"
WARNING = "No training images for 1 of 4 classes ("
IN_MARKDOWN = r"&lt;b&gt;none\|&lt;/b&gt;"
FEW = (*SMALL_CONV, "--steps", 6, "--sample-every", 3, "--batch-size", 16, "--num-samples", 100)


def markdown_of(key: str) -> str:
    """Return the latest artifact with this key from the tests' own server."""
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))
    return str(max(found, key=lambda artifact: not_none(artifact.created)).data)


def test_data_warnings_appear_everywhere_and_no_image_of_an_empty_class_is_generated(
    tmp_path, prefect_server, call
) -> None:
    checkout = Checkout.make_quick(tmp_path)
    data, folder = write_own_data(tmp_path / "own"), tmp_path / "artifacts"
    (data / "class-names.txt").write_text(f"small\nmedium\nlarge\n{HOSTILE}\n")
    where = ("--dataset", "mine", "--data-dir", data, "--output-dir", folder)
    command = ("flows/train_flow.py", "--recipe", "conditional", *FEW, *where)
    first, again = checkout.run(*command), checkout.run(*command)
    assert ran(states(first)) == set(STAGES_OF_OWN_DATA)
    assert ran(states(again)) == set()
    for output in (first, again):
        logged = output.index(f"Data: {WARNING}{HOSTILE})")
        assert "WARNING" in output[:logged].rpartition("\n")[2]
        assert logged < output.index("'train conditional, 6 steps, seed 0'"), "before anything is trained"
        assert f"\nData        {WARNING}" in output

    (run,) = (folder / "runs").glob("mine-conditional-6-seed0-*")
    summary, metrics = (json.loads((run / name).read_text()) for name in ("data_summary.json", "metrics.json"))
    assert metrics["data_warnings"][0].startswith(f"{WARNING}{HOSTILE})")
    assert summary["warnings"] == [text for text in metrics["data_warnings"] if "classifier" not in text]
    assert not [text for text in metrics["warnings"] if text in metrics["data_warnings"]], "the gate asks for those"
    assert read_result("conditional", 0, run).data_warnings == tuple(metrics["data_warnings"])
    page = (run / "report.html").read_text()
    assert f'<p class="warning"><strong>About the data:</strong> {WARNING}&lt;b&gt;none' in page
    assert HOSTILE not in page
    assert f"> **About the data:** {WARNING}{IN_MARKDOWN})" in (run / "report.md").read_text()
    assert f"About the data:\n\n- {WARNING}{IN_MARKDOWN})" in markdown_of(overview_key(run.name))
    assert f"> **About the data:** {WARNING}{IN_MARKDOWN})" in markdown_of("report")

    with np.load(run / "samples.npz") as samples:
        assert np.bincount(samples["labels"], minlength=4).tolist() == [34, 33, 33, 0], "as in the training images"
    asked = metrics["asked_classes"]
    assert asked.keys() == {"value", "average", "real"}
    assert all(0 <= share <= 1 for share in asked.values())
    assert "Each image was generated for a requested class" in page
    code, _ = call("gan.generate", run, "--class", "1", "--out", tmp_path / "asked.png")
    assert code == 0
    assert (tmp_path / "asked.png").is_file()
    code, shown = call("gan.generate", run, "--class", HOSTILE, "--out", tmp_path / "x.png")
    assert code == 1
    assert f"--class got '{HOSTILE}', but {run} had no training images of {HOSTILE}" in shown
