"""Images from a generator, and the classes to generate them for."""

import itertools
import json
from pathlib import Path

import numpy as np

from gan.data.pixels import denormalize_images
from gan.models.backend import keras
from gan.models.latents import GeneratorInputs, interpolate_latents
from gan.models.networks import has_groups

MAX_TRAINING_IMAGES = 10_000_000


def generate_pixels(generator: keras.Model, inputs: GeneratorInputs) -> np.ndarray:
    """Run the generator in inference mode, batch by batch; return pixels, uint8, shape (n, 28, 28)."""
    batches = (generator(batch.arrays, training=False) for batch in inputs.batches())
    return np.concatenate([denormalize_images(np.asarray(images)) for images in batches])


def generate_paths(generator: keras.Model, inputs: GeneratorInputs, num_points: int) -> np.ndarray:
    """Generate num_points images on the path from each of k latents to the next (spherical interpolation).

    A path keeps the class or group of its start. Return pixels, uint8 ((k - 1) * num_points, 28, 28), path after path.
    """
    paths = [interpolate_latents(start, end, num_points) for start, end in itertools.pairwise(inputs.latents)]
    if has_groups(generator):
        for path in paths:
            path[:, 0] = path[0, 0]
    classes = None if inputs.classes is None else np.repeat(inputs.classes[:-1], num_points, axis=0)
    return generate_pixels(generator, GeneratorInputs(np.concatenate(paths), classes))


def class_counts(summary: Path, generator: keras.Model) -> dict[str, int]:
    """Read the number of training images of each class, by name and in the order of labels, from a run's summary.

    Returns an empty dictionary if the file `data_summary.json` is not valid or does not match the generator's classes.
    """
    try:
        content = json.loads(summary.read_text(encoding="utf-8"))
        counts = {str(name): int(count) for name, count in content["train"]["images_per_class"].items()}
    except (OSError, ValueError, OverflowError, RecursionError, KeyError, TypeError, AttributeError):
        # overflow: Infinity as a count; recursion: JSON of a thousand nested lists
        return {}
    of_generator = [tensor.shape[-1] for tensor in generator.inputs[1:]] == [len(counts)]
    is_valid = of_generator and min(counts.values()) >= 0 and 0 < sum(counts.values()) <= MAX_TRAINING_IMAGES
    return counts if is_valid else {}


def labels_of(counts: dict[str, int]) -> np.ndarray | None:
    """Return a label for each image that `class_counts` has counted, int (n,), in order; None for an empty result."""
    return np.repeat(np.arange(len(counts)), list(counts.values())) if counts else None
