"""Rank the training configurations of a sweep by the published runs of their seeds."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

from gan.judging.definitions import SHARES
from gan.judging.measured import NOT_FINITE, finite_or_none, rounded
from gan.judging.seeds import compare_seeds
from gan.report.leaderboard import MEASURES, Failure, Leaderboard, Result, Row, Spread
from gan.runs.catalog import read_entry
from gan.runs.manifest import AVERAGE_GENERATOR, read_manifest
from gan.runs.publish import METRICS_FILE


def read_result(variant: str, seed: int, folder: Path) -> Result:
    """Read the metrics of the published run in a folder, which has this configuration and seed."""
    content = json.loads((folder / METRICS_FILE).read_text(encoding="utf-8"))
    metrics = {name: content["metrics"][name] for name in MEASURES}
    entry = read_entry(folder)
    values = {name: finite_or_none(metric["average"]) for name, metric in metrics.items()}
    missing = [name for name, value in values.items() if value is None]
    first = metrics[MEASURES[0]]
    return Result(
        variant=variant,
        seed=seed,
        run=folder.name,
        folder=folder,
        values=values,
        undefined={name: metrics[name].get("undefined", {}).get("average", NOT_FINITE) for name in missing},
        titles={name: metric["title"] for name, metric in metrics.items()},
        n=first["n"],
        extractor=first["extractor"],
        generator=read_manifest(folder).sha256(AVERAGE_GENERATOR) or "",
        seconds=finite_or_none(content["training"]["training_seconds"]),
        data_warnings=tuple(content["data_warnings"]),
        floors={name: finite_or_none(metric["floor"]) for name, metric in metrics.items()},
        is_broken=entry is not None and entry.is_broken,
        commit=entry.code if entry else None,
        device=entry.device if entry else None,
    )


def rank(results: Sequence[Result], failures: Sequence[Failure]) -> Leaderboard:
    """Rank the configurations of published runs by their mean over seeds.

    Those with failed or broken trainings come last. Runs that were judged by other features, or on another number of
    images than most, count as failed: their numbers cannot be compared.
    """
    measures = Counter((result.n, result.extractor) for result in results)
    usual = measures.most_common(1)[0][0] if measures else None
    failures = [*failures, *(_incomparable(result) for result in results if (result.n, result.extractor) != usual)]
    results = [result for result in results if (result.n, result.extractor) == usual]
    rows = []
    for variant in dict.fromkeys(result.variant for result in results):
        of_variant = sorted((result for result in results if result.variant == variant), key=lambda result: result.seed)
        rows.append(
            Row(
                variant=variant,
                seeds=tuple(result.seed for result in of_variant),
                num_failed=sum(failure.variant == variant for failure in failures),
                measures={name: _spread_of(name, of_variant) for name in MEASURES},
                seconds=_spread([result.seconds for result in of_variant]),
                best=min(of_variant, key=lambda result: (result.is_broken, _undefined_last(result.distance))),
                results=tuple(of_variant),
            )
        )
    rows.sort(key=lambda row: (row.best.is_broken, row.faults != "", _undefined_last(row.distance.mean)))
    return Leaderboard(_with_gaps(rows), failures)


def _incomparable(result: Result) -> Failure:
    reason = f"It was judged on {result.n:,} images with {result.extractor} features, unlike most: not comparable."
    return Failure(result.variant, result.seed, reason)


def _with_gaps(rows: Sequence[Row]) -> list[Row]:
    """Compare each row with the first one.

    The intervals count all pairs of rows, because the data choose which row is the first.
    """
    num_pairs = len(rows) * (len(rows) - 1) // 2
    distances = [
        [result.distance for result in row.results if result.distance is not None and row.distance.mean is not None]
        for row in rows
    ]
    compared = [
        replace(row, gap=compare_seeds(of_row, distances[0], num_intervals=num_pairs))
        for row, of_row in zip(rows[1:], distances[1:], strict=True)
    ]
    return [*rows[:1], *compared]


def _undefined_last(value: float | None) -> tuple[bool, float]:
    return value is None, value or 0.0


def _spread_of(name: str, results: Sequence[Result]) -> Spread:
    reasons = dict.fromkeys(result.undefined[name] for result in results if name in result.undefined)
    spread = _spread([result.values[name] for result in results], "; ".join(reasons))
    return replace(spread, is_share=name in SHARES)


def _spread(values: Sequence[float | None], reason: str = NOT_FINITE) -> Spread:
    defined = [value for value in values if value is not None]
    if len(defined) < len(values):
        return Spread(None, None, reason)
    return Spread(rounded(fmean(defined)), rounded(stdev(defined)) if len(defined) > 1 else None)
