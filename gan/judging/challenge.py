"""Compare a new generator with the champion, and let the gate decide."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gan.data.samples import load_samples
from gan.judging.bootstrap import Difference, bootstrap_differences
from gan.judging.definitions import Metric
from gan.judging.gate import Decision, decide
from gan.judging.judge import Judge

FULL_N = 10_000
"""Number of images that a champion is judged by; the whole test split if that is smaller."""


@dataclass(frozen=True)
class Incumbent:
    """The champion, as far as a new run can be compared with it."""

    name: str
    average_samples: Path | None  # .npz, samples of the averaged weights
    obstacle: str = ""  # why a comparison is impossible; empty if it is possible


def challenge_champion(
    judge: Judge,
    average_pixels: np.ndarray,
    metrics: Sequence[Metric],
    warnings: Sequence[str],
    champion: Incumbent | None,
    known: Mapping[Path, Sequence[Difference]],
    *,
    seed: int,
) -> Decision:
    """Decide whether the averaged generator may become the champion.

    Args:
        judge: Judge of n images.
        average_pixels: uint8, shape (k, 28, 28), k >= n: samples of the averaged generator.
        metrics: The metrics of the run.
        warnings: Signs of collapse in its training.
        champion: The present champion; None if there is none.
        known: Differences of the averaged weights from other runs, by the file of the other's samples.
        seed: Seeds the bootstrap.
    """
    full_n = min(FULL_N, judge.num_test)
    if champion is None:
        return decide(metrics, warnings, None, (), full_n=full_n)
    if champion.average_samples is None:
        return decide(metrics, warnings, champion.name, (), champion.obstacle, full_n=full_n)
    differences = known.get(champion.average_samples)
    if differences is None:
        champion_pixels = load_samples(champion.average_samples)
        judge = judge.with_n(min(judge.n, len(champion_pixels)))
        differences = bootstrap_differences(
            judge.examine(average_pixels),
            judge.examine(champion_pixels),
            judge.floor,
            extractor=judge.extractor.name,
            seed=seed,
        )
    return decide(metrics, warnings, champion.name, differences, full_n=full_n)
