"""Stage 6: the run's folder, and what a reviewer sees of it in the Prefect UI."""

import json
import shutil
import subprocess
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from gan.config import RunConfig
from gan.publishing import (
    CONFIG,
    METRICS,
    check_run_name,
    point_latest,
    published_files,
    staged_run,
    write_json,
    write_manifest,
)
from gan.report.words import data_uri, describe_number
from gan.store import FileRef, Store
from tasks.code_identity import COMPUTING_LIBRARIES, PROJECT_ROOT
from tasks.records import Comparison, NormalizedData, Pictures, PublishedRun, RawData, TrainedGan
from tasks.stage import stage


@stage(run_name="publish {run.name}", timeout_seconds=1800)
def publish(
    store: Store,
    run: RunConfig,
    raw: RawData,
    data: NormalizedData,
    trained: TrainedGan,
    pictures: Pictures,
    comparison: Comparison,
) -> PublishedRun:
    """Publish everything in `runs/<name>`, whole or not at all."""
    started = time.perf_counter()
    check_run_name(store.root, run.name, run.content())
    with staged_run(store.root, run.name) as folder:
        for path, ref in _files(data, trained, pictures, comparison).items():
            (folder / path).parent.mkdir(exist_ok=True)
            shutil.copyfile(store.path(ref), folder / path)
        records = {"fetch": raw, "normalize": data, "train": trained, "render": pictures, "compare": comparison}
        timings = {name: record.seconds for name, record in records.items()}
        timings["publish"] = round(time.perf_counter() - started, 3)  # so far: this file is a part of it
        write_json(folder / CONFIG, run.content())
        write_json(folder / METRICS, _metrics(trained, comparison, timings))
        write_manifest(folder, _manifest(run, raw, data, trained))
    return PublishedRun(name=run.name, published=published_files(store.root, run.name))


def present(store: Store, run: PublishedRun) -> None:
    """Make a run, new or cached, the latest one, and show it in the UI: pictures, numbers, where the files are.

    Called within a flow run, whose artifacts these become. Pictures are data URIs in markdown, since the UI shows no
    local files; one in a description becomes a thumbnail.
    """
    point_latest(store.root, run.name)
    folder = store.root / "runs" / run.name
    metrics = json.loads((folder / METRICS).read_text(encoding="utf-8"))["metrics"]
    final_grid, samples_grid, real, generated, average = (
        data_uri(folder / name)
        for name in ("final_grid.png", "samples_grid.png", "real_grid.png", "generated_grid.png", "average_grid.png")
    )
    create_markdown_artifact(
        key="final-grid",
        markdown=f"# {run.name}\n\nMore of the same snapshot:\n\n![64 fixed latents]({samples_grid})",
        description=f"![Nine fixed latents after the last step]({final_grid})",
    )
    create_markdown_artifact(
        key="real-beside-fake",
        markdown="| Real (test split) | Generated (not chosen) | The same, averaged weights |\n|---|---|---|\n"
        f"| {_picture(real, 'real')} | {_picture(generated, 'generated')} | {_picture(average, 'averaged')} |",
        description="64 real test images beside the first 64 generated ones",
    )
    create_table_artifact(
        key="metrics",
        table=[
            {
                "metric": metric["title"],
                "generated": describe_number(metric["value"]),
                "averaged weights": describe_number(metric["average"]),
                "floor (real)": describe_number(metric["floor"]),
                "n": f"{metric['n']:,}",
                "features": metric["extractor"],
                "how to read it": metric["reading"],
            }
            for metric in metrics.values()
        ],
        description="Generated images against the test split; the floor is the same for real training images",
    )
    create_markdown_artifact(
        key="report",
        markdown=f"{(folder / 'report.md').read_text(encoding='utf-8')}\n\n## Files\n\n{_file_list(folder, run)}",
        description=f"Digest, and where the files are: {folder}",
    )


def _picture(source: str, name: str) -> str:
    """A picture in a table cell; three of this width stand side by side on an artifact's page."""
    return f'<img src="{source}" alt="{name}" width="245">'


def _files(data: NormalizedData, trained: TrainedGan, pictures: Pictures, comparison: Comparison) -> dict[str, FileRef]:
    """What is copied into a run's folder, by its path there."""
    grids = zip(trained.snapshot_steps, pictures.grids, strict=True)
    return {
        "report.html": comparison.report_html,
        "report.md": comparison.report_markdown,
        "generator.keras": trained.generator,
        "generator_average.keras": trained.average,
        "history.csv": trained.history,
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
        "curves.png": comparison.curves,
        **{f"grids/step-{step:06}.png": grid for step, grid in grids},
    }


def _metrics(trained: TrainedGan, comparison: Comparison, timings: dict[str, float]) -> dict[str, Any]:
    return {
        "metrics": {metric.name: metric.model_dump(exclude={"name"}) for metric in comparison.metrics},
        "timings_seconds": timings,
        "training": trained.facts,
        "warnings": list(trained.warnings),
    }


def _manifest(run: RunConfig, raw: RawData, data: NormalizedData, trained: TrainedGan) -> dict[str, Any]:
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
        "code": _commit(),
        "python": python_version(),
        "libraries": {name: version(name) for name in sorted({*COMPUTING_LIBRARIES.values(), "prefect"})},
    }


def _commit() -> dict[str, Any]:
    """The commit of the code, and whether files differ from it; nulls outside of git."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(PROJECT_ROOT), *arguments], capture_output=True, text=True, timeout=20, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    commit = git("rev-parse", "HEAD")
    changes = git("status", "--porcelain")
    return {"commit": commit, "modified": None if changes is None else bool(changes)}


def _file_list(folder: Path, run: PublishedRun) -> str:
    rows = [f"| `{Path(ref.key).relative_to(f'runs/{run.name}')}` | {ref.size:,} |" for ref in run.published]
    return "\n".join([f"In `{folder}`:", "", "| file | bytes |", "|---|---:|", *rows])
