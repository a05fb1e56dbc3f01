"""Stage 6: the run's folder, and what a reviewer sees of it in the Prefect UI."""

import json
import shutil
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from platform import python_version
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from gan.config import RunConfig
from gan.formatting import describe_number
from gan.report.markup import code_span, data_uri, escape_markdown
from gan.runs.champion import describe_standing
from gan.runs.publish import CONFIG, METRICS, published_files, staged_run, write_json, write_manifest
from gan.storage.links import LATEST, point_to
from gan.storage.store import FileRef, Store
from tasks.code_identity import COMPUTING_LIBRARIES, commit
from tasks.failures import explain_refused_writes
from tasks.records import (
    Champion,
    Comparison,
    FittedExtractor,
    NormalizedData,
    Pictures,
    PublishedRun,
    RawData,
    Reference,
    StageRecord,
    TrainedGan,
)
from tasks.stage import PROCESSORS, stage


@stage(run_name="publish {run.name}", timeout_seconds=1800)
def publish(
    store: Store,
    run: RunConfig,
    raw: RawData,
    data: NormalizedData,
    extractor: FittedExtractor,
    trained: TrainedGan,
    pictures: Pictures,
    reference: Reference | None,
    champion: Champion | None,
    comparison: Comparison,
) -> PublishedRun:
    """Publish everything in `runs/<name>`, whole or not at all."""
    started = time.perf_counter()
    with staged_run(store.root, run.name) as folder:
        for path, ref in _files(data, extractor, trained, pictures, comparison).items():
            (folder / path).parent.mkdir(exist_ok=True)
            shutil.copyfile(store.path(ref), folder / path)
        records = {"fetch": raw, "normalize": data, "train": trained, "render": pictures, "compare": comparison}
        timings = {name: record.seconds for name, record in records.items()}
        timings["publish"] = round(time.perf_counter() - started, 3)  # so far: this file is a part of it
        write_json(folder / CONFIG, run.content())
        write_json(folder / METRICS, _metrics(data, extractor, trained, reference, comparison, timings))
        made_of = [*records.values(), extractor]
        write_manifest(
            folder,
            {
                **_manifest(run, raw, data, trained, made_of),
                "processors": {name: record.facts.get(PROCESSORS) for name, record in records.items()},
                "reference": reference and reference.model_dump(mode="json"),
                "champion": champion and champion.model_dump(mode="json"),
                "gate": comparison.gate.model_dump(mode="json"),
            },
        )
    return PublishedRun(name=run.name, published=published_files(store.root, run.name))


def present(store: Store, run: PublishedRun, disk: str) -> None:
    """Make a run, new or cached, the latest one, and show it in the UI: verdict, pictures, numbers, places.

    Called within a flow run, whose artifacts these become. Pictures are data URIs in markdown, since the UI shows no
    local files; one in a description becomes a thumbnail.

    Args:
        store: The output folder.
        run: What is in it.
        disk: How much the output folder takes.
    """
    with explain_refused_writes("The run", store):
        point_to(store.root, LATEST, f"runs/{run.name}")
    folder = store.root / "runs" / run.name
    content = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    gate = escape_markdown(describe_standing(store.root, run.name))
    create_markdown_artifact(
        key="verdict",
        markdown=f"# {run.name}\n\n{gate}\n\n{_differences(content)}"
        f"{_data_warnings(content)}"
        f"The full report, with the blind test: {code_span(str(folder / 'report.html'))}\n\n"
        f"{_picture(folder / 'quality.png', 'Fréchet distance and recall at every snapshot')}",
        description=escape_markdown(content["verdict"]),
    )
    _present_pictures(folder, run.name)
    create_table_artifact(
        key="metrics",
        table=[
            {
                "metric": metric["title"],
                "generated": describe_number(metric["value"]),
                "averaged weights": describe_number(metric["average"]),
                "floor (real)": describe_number(metric["floor"]),
                "n": f"{metric['n']:,}",
                "features, and how to read it": f"{metric['extractor']}: {metric['reading']}{_why_undefined(metric)}",
            }
            for metric in content["metrics"].values()
        ],
        description="Generated images against the test split; the floor is the same for real training images",
    )
    digest = (folder / "report.md").read_text(encoding="utf-8")
    create_markdown_artifact(
        key="report",
        markdown=f"{digest}\n\n## Files\n\n{_file_list(folder, run)}\n\nDisk: {escape_markdown(disk)}",
        description=f"Digest, and where the files are: {escape_markdown(str(folder))}",
    )


def download_run(store: Store, run: PublishedRun) -> None:
    """Make the folder of a run that another machine has published in the object store, if it is not here as it was."""
    if store.remote is None or all(store.is_here(ref) for ref in run.published):
        return
    with staged_run(store.root, run.name) as folder:
        for ref in run.published:
            target = folder / PurePosixPath(ref.key).relative_to(f"runs/{run.name}")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(store.path(ref.by_content()), target)


def _present_pictures(folder: Path, name: str) -> None:
    create_markdown_artifact(
        key="final-grid",
        markdown=f"# {name}\n\nMore of the same snapshot:\n\n"
        f"{_picture(folder / 'samples_grid.png', '64 fixed latents')}",
        description=_thumbnail(folder / "final_grid.png", "Nine fixed latents after the last step"),
    )
    create_markdown_artifact(
        key="real-beside-fake",
        markdown="| Real (test split) | Generated (not chosen) | The same, averaged weights |\n|---|---|---|\n"
        f"| {_picture(folder / 'real_grid.png', 'real', 245)} "
        f"| {_picture(folder / 'generated_grid.png', 'generated', 245)} "
        f"| {_picture(folder / 'average_grid.png', 'averaged', 245)} |",
        description=_thumbnail(folder / "real_above_generated.png", "Real images above generated ones, not chosen"),
    )
    create_markdown_artifact(
        key="class-rows",
        markdown="# Class by class\n\n"
        f"{_picture(folder / 'class_rows.png', 'Of every class real and generated images')}",
        description="Of every class a row of real and a row of generated images; up to ten classes",
    )
    create_markdown_artifact(
        key="nearest-training-images",
        markdown="# Does it copy?\n\nGenerated above, the nearest training image below; the first ten, then the ten "
        f"that come nearest:\n\n{_picture(folder / 'neighbours.png', 'Generated images and their neighbours')}",
        description=_thumbnail(folder / "neighbours.png", "Generated images above the nearest training images"),
    )


def _picture(path: Path, alt: str, width: int | None = None) -> str:
    size = f' width="{width}"' if width else ""
    return f'<img src="{data_uri(path)}" alt="{alt}"{size}>'


def _thumbnail(path: Path, words: str) -> str:
    return f"![{words}]({data_uri(path)}) {words}"


def _why_undefined(metric: dict[str, Any]) -> str:
    """The reasons of the numbers of a metric that are not defined; empty if all are."""
    reasons = dict.fromkeys(metric.get("undefined", {}).values())
    return f". Not defined: {'; '.join(reasons)}" if reasons else ""


def _differences(content: dict[str, Any]) -> str:
    """What is better and what worse than the reference, a line each, if there is one."""
    if content["reference"] is None:
        return ""
    names = {"value": "Last weights", "average": "Averaged weights"}
    lines = [
        f"- {names[kind]}, {verdict}: " + ", ".join(row["title"] for row in rows.values() if row["verdict"] == verdict)
        for kind, rows in content["differences"].items()
        for verdict in ("better", "worse", "not defined")
        if any(row["verdict"] == verdict for row in rows.values())
    ]
    against = f"Against {escape_markdown(content['reference'])}, beyond noise:"
    return f"{against} nothing.\n\n" if not lines else against + "\n\n" + "\n".join(lines) + "\n\n"


def _data_warnings(content: dict[str, Any]) -> str:
    """What looks wrong in the data, a line each."""
    lines = [f"- {escape_markdown(warning)}\n" for warning in content["data_warnings"]]
    return "About the data:\n\n" + "".join(lines) + "\n" if lines else ""


def _files(
    data: NormalizedData,
    extractor: FittedExtractor,
    trained: TrainedGan,
    pictures: Pictures,
    comparison: Comparison,
) -> dict[str, FileRef]:
    """What is copied into a run's folder, by its path there."""
    grids = zip(trained.snapshot_steps, pictures.grids, strict=True)
    return {
        "report.html": comparison.report_html,
        "report.md": comparison.report_markdown,
        "generator.keras": trained.generator,
        "generator_average.keras": trained.average,
        "extractor.keras": extractor.weights,
        "history.csv": comparison.history,
        "samples.npz": comparison.samples,
        "samples_average.npz": comparison.average_samples,
        "data_summary.json": data.summary,
        "real_examples.png": pictures.real_examples,
        "final_grid.png": pictures.final_grid,
        "samples_grid.png": pictures.samples_grid,
        "training.webp": pictures.animation,
        "interpolation.png": pictures.interpolation,
        "real_grid.png": comparison.real_grid,
        "generated_grid.png": comparison.generated_grid,
        "average_grid.png": comparison.average_grid,
        "real_above_generated.png": comparison.pairs,
        "class_rows.png": comparison.class_rows,
        "neighbours.png": comparison.neighbours,
        "quality.png": comparison.quality,
        "curves.png": comparison.curves,
        **{f"grids/step-{step:06}.png": grid for step, grid in grids},
    }


def _metrics(
    data: NormalizedData,
    extractor: FittedExtractor,
    trained: TrainedGan,
    reference: Reference | None,
    comparison: Comparison,
    timings: dict[str, float],
) -> dict[str, Any]:
    return {
        "verdict": comparison.verdict,
        "metrics": {metric.name: metric.model_dump(exclude={"name"}) for metric in comparison.metrics},
        "differences": {
            kind: {row.name: {**row.model_dump(exclude={"name"}), "verdict": row.verdict} for row in rows}
            for kind, rows in (("value", comparison.differences), ("average", comparison.average_differences))
        },
        "reference": reference and reference.name,
        "history_quality": comparison.history_quality,
        "class_shares": [row.model_dump() for row in comparison.class_shares],
        "asked_classes": comparison.asked_classes and comparison.asked_classes.model_dump(),
        "extractor_sha256": extractor.weights.sha256,
        "timings_seconds": timings,
        "training": trained.facts,
        "warnings": list(trained.warnings),
        "data_warnings": [*data.warnings, *extractor.warnings],
    }


def _manifest(
    run: RunConfig,
    raw: RawData,
    data: NormalizedData,
    trained: TrainedGan,
    made_of: list[StageRecord],
) -> dict[str, Any]:
    splits = {"train": (data.train_images, data.train_labels), "test": (data.test_images, data.test_labels)}
    return {
        "run": run.name,
        "published": datetime.now(UTC).isoformat(timespec="seconds"),
        "recipe": run.train.recipe.name,
        "seed": run.train.seed,
        "device": trained.facts.get("device"),
        "data": {
            "name": data.dataset,
            "source": raw.facts.get("source"),
            "sha256": {
                split: {"images": images.sha256, "labels": labels.sha256} for split, (images, labels) in splits.items()
            },
        },
        "code": commit(),
        "python": python_version(),
        "libraries": {name: version(name) for name in sorted({*COMPUTING_LIBRARIES.values(), "prefect"})},
        # everything in the store that the run was made of: kept as long as the run is
        "stored": sorted({ref.sha256 for record in made_of for ref in record.files()}),
    }


def _file_list(folder: Path, run: PublishedRun) -> str:
    rows = [f"| `{Path(ref.key).relative_to(f'runs/{run.name}')}` | {ref.size:,} |" for ref in run.published]
    return "\n".join([f"In {code_span(str(folder))}:", "", "| file | bytes |", "|---|---:|", *rows])
