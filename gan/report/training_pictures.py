"""The pictures of a training: real examples, a grid for every snapshot, and paths between latents."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gan.models.generation import generate_paths
from gan.models.latents import sample_inputs
from gan.models.networks import load_model
from gan.report.rendering import animation_bytes, draw_grid, draw_real_examples, draw_snapshots, png_bytes

PATHS, POINTS_A_PATH = 4, 10
ANIMATION, INTERPOLATION = "training.webp", "interpolation.png"


def draw_training(
    average: Path,
    images: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    snapshots: np.ndarray,
    snapshot_steps: Sequence[int],
    *,
    seed: int,
) -> dict[str, bytes]:
    """Draw the pictures of a run that need no comparison; return them by their path in the run's folder.

    Args:
        average: The generator with averaged weights, a `.keras` file; the paths between latents are its images.
        images: float32, shape (n, 28, 28, 1), values in [-1, 1]: the training images.
        labels: int, shape (n,), indices into `class_names`.
        class_names: Names by label.
        snapshots: uint8, shape (num_snapshots, num_images, 28, 28), of fixed latents.
        snapshot_steps: The step after which each snapshot was taken.
        seed: Seeds the choice of real images, and the latents.
    """
    model = load_model(average)
    grids = draw_snapshots(snapshots, snapshot_steps, num=9, columns=3, scale=7)
    larger_grids = draw_snapshots(snapshots, snapshot_steps, num=64, columns=8, scale=3)
    corners = sample_inputs(model, PATHS + 1, seed=seed, like_labels=labels)
    pictures = {
        "real_examples.png": draw_real_examples(images, labels, class_names, seed=seed),
        "final_grid.png": grids[-1],
        "samples_grid.png": larger_grids[-1],
        INTERPOLATION: draw_grid(generate_paths(model, corners, POINTS_A_PATH), POINTS_A_PATH, scale=3),
        **{f"grids/step-{step:06}.png": grid for step, grid in zip(snapshot_steps, grids, strict=True)},
    }
    return {ANIMATION: animation_bytes(larger_grids)} | {name: png_bytes(drawn) for name, drawn in pictures.items()}
