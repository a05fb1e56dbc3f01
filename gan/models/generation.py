"""Images from a generator, and the classes that it is asked for."""

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
    """Run the generator in inference mode, batch by batch.

    Args:
        generator: As `gan.models.networks.build_generator` makes it: to float32 (n, 28, 28, 1) in [-1, 1].
        inputs: Of n images.

    Returns:
        uint8, shape (n, 28, 28).
    """
    batches = (generator(batch.arrays, training=False) for batch in inputs.batches())
    return np.concatenate([denormalize_images(np.asarray(images)) for images in batches])


def generate_paths(generator: keras.Model, inputs: GeneratorInputs, num_points: int) -> np.ndarray:
    """Images on the paths from each latent to the next (spherical interpolation), each path within one class or group.

    Args:
        generator: As for `generate_pixels`.
        inputs: The k corners.
        num_points: Images a path, both ends included.

    Returns:
        uint8, shape ((k - 1) * num_points, 28, 28), path after path.
    """
    paths = [interpolate_latents(start, end, num_points) for start, end in itertools.pairwise(inputs.latents)]
    if has_groups(generator):
        for path in paths:
            path[:, 0] = path[0, 0]
    classes = None if inputs.classes is None else np.repeat(inputs.classes[:-1], num_points, axis=0)
    return generate_pixels(generator, GeneratorInputs(np.concatenate(paths), classes))


def class_counts(summary: Path, generator: keras.Model) -> dict[str, int]:
    """Count the training images of each class of a generator.

    Args:
        summary: The run's `data_summary.json`.
        generator: The run's; has to take as many classes.

    Returns:
        Images by class name, in the order of labels; empty if the file does not say, or the generator takes no classes.
    """
    try:
        content = json.loads(summary.read_text(encoding="utf-8"))
        counts = {str(name): int(count) for name, count in content["train"]["images_per_class"].items()}
    except (OSError, ValueError, OverflowError, KeyError, TypeError, AttributeError):  # overflow: Infinity as a count
        return {}
    of_generator = [tensor.shape[-1] for tensor in generator.inputs[1:]] == [len(counts)]
    if not of_generator or min(counts.values()) < 0 or not 0 < sum(counts.values()) <= MAX_TRAINING_IMAGES:
        return {}
    return counts


def labels_of(counts: dict[str, int]) -> np.ndarray | None:
    """Labels in the shares of training images, int (n,), so that no class without any is asked for.

    Args:
        counts: As from `class_counts`; None comes of an empty one.
    """
    return np.repeat(np.arange(len(counts)), list(counts.values())) if counts else None
