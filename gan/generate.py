"""Images from a trained generator: for the pipeline, and for anybody with a published run.

python -m gan.generate artifacts/latest --num-images 64 --seed 1 --out clothes.png
python -m gan.generate artifacts/latest --class Sandal --out sandals.png      with a recipe that takes classes
"""

import itertools
import json
import zipfile
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import App, Parameter
from cyclopts.validators import Number

from gan.backend import keras
from gan.command import check_output, output_file, run_command
from gan.datasets.pixels import IMAGE_SIZE, denormalize_images
from gan.errors import SettingsError, StoreError
from gan.links import folder_of
from gan.networks import has_groups, load_model
from gan.rendering import draw_grid, save_png
from gan.sampling import GeneratorInputs, interpolate_latents, sample_inputs
from gan.store import check_unpacked_size

MAX_COLUMNS, MAX_GRID = 16, 1024
DATA_SUMMARY = "data_summary.json"
MAX_IMAGES, MAX_TRAINING_IMAGES = 1_000_000, 10_000_000
MAX_SAMPLES_BYTES = MAX_IMAGES * IMAGE_SIZE**2 + 1024  # and a header


def generate_pixels(generator: keras.Model, inputs: GeneratorInputs) -> np.ndarray:
    """Run the generator in inference mode, batch by batch.

    Args:
        generator: As `gan.networks.build_generator` makes it: to float32 (n, 28, 28, 1) in [-1, 1].
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


def save_samples(pixels: np.ndarray, path: Path, labels: np.ndarray | None = None) -> None:
    """Write images as a compressed `.npz`; equal images give equal bytes.

    Args:
        pixels: uint8, shape (n, 28, 28); key `images`.
        path: The file.
        labels: int, shape (n,), below 256: the classes that were asked for; key `labels`, uint8. None: no such key.
    """
    asked = {} if labels is None else {"labels": labels.astype(np.uint8)}
    with path.open("wb") as file:  # given a name, NumPy would add a suffix of its own
        np.savez_compressed(file, allow_pickle=False, images=pixels, **asked)


def load_samples(path: Path) -> np.ndarray:
    """The inverse of `save_samples`; nothing in the file is executed.

    Raises:
        StoreError: If the file does not hold images, or more than a run can have.
    """
    try:
        check_unpacked_size(path, MAX_SAMPLES_BYTES)
        with np.load(path, allow_pickle=False) as arrays:
            pixels: np.ndarray = arrays["images"]
    except (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        raise StoreError(f"{path} holds no images: {error}.\nGive the samples.npz of a published run.") from error
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE):
        raise StoreError(f"{path} holds {pixels.dtype} of shape {pixels.shape}; expected uint8 of (n, 28, 28).")
    return pixels


app = App(
    name="python -m gan.generate",
    help="Draw images from the generator of a published run.",
    version_flags=(),
    suppress_keyboard_interrupt=False,
)


@app.default
def generate(
    run: Path,
    *,
    num_images: Annotated[int, Parameter(validator=Number(gte=1, lte=MAX_IMAGES))] = 64,
    seed: Annotated[int, Parameter(validator=Number(gte=0, lt=2**31))] = 0,
    average: Annotated[bool, Parameter(negative=())] = False,
    of_class: Annotated[str | None, Parameter(name="--class")] = None,
    out: Path,
) -> None:
    """Draw images from the generator of a published run.

    Parameters
    ----------
    run
        Folder of a published run, such as artifacts/latest.
    num_images
        Images to draw.
    seed
        Seeds the latents; equal seeds give equal images.
    average
        Draw from the averaged weights instead of the last ones.
    of_class
        Name or number of the class to ask for, of a generator that takes classes; else as in its training images.
    out
        A .png (a grid of at most 1,024) or .npz file (key "images", uint8, (n, 28, 28); with classes also "labels").
    """
    check_output(out, ".png", ".npz")
    if out.suffix == ".png" and num_images > MAX_GRID:
        raise SettingsError(
            f"--num-images got {num_images:,}; a grid shows at most {MAX_GRID:,}. Give --out a name that ends in .npz."
        )
    run = folder_of(run)
    generator = load_generator(run, average=average)
    counts = class_counts(run / DATA_SUMMARY, generator)
    like_labels = labels_of(counts)
    if of_class is not None:
        like_labels = np.array([_label(of_class, generator, counts, run)])
    inputs = sample_inputs(generator, num_images, seed=seed, like_labels=like_labels)
    pixels = generate_pixels(generator, inputs)
    with output_file(out) as partial:
        if out.suffix == ".npz":
            save_samples(pixels, partial, inputs.labels)
        else:
            columns = min(MAX_COLUMNS, round(num_images**0.5))
            save_png(draw_grid(pixels, columns, scale=3, caption=f"{num_images:,} images, seed {seed}"), partial)


def load_generator(run: Path, *, average: bool) -> keras.Model:
    """A generator of a published run.

    Args:
        run: The run's folder.
        average: The averaged weights instead of the last ones.

    Raises:
        SettingsError: If the folder does not hold it.
        StoreError: If it is no model.
    """
    model = folder_of(run) / ("generator_average.keras" if average else "generator.keras")
    if not model.is_file():
        raise SettingsError(
            f"{run} holds no {model.name}.\nGive the folder of a published run, such as artifacts/latest."
        )
    return load_model(model)


def _label(given: str, generator: keras.Model, counts: dict[str, int], run: Path) -> int:
    """The label of a class by its name or number.

    Raises:
        SettingsError: If the generator takes no classes, or has none like that, or was not trained on any image of it.
    """
    if len(generator.inputs) == 1:
        raise SettingsError(
            f"--class got {given!r}, but the generator of {run} takes no classes.\n"
            "Give a run of a recipe that does, such as conditional."
        )
    names = list(counts) or [str(label) for label in range(generator.inputs[1].shape[-1])]
    alike = [label for label, name in enumerate(names) if name.casefold() == given.casefold()]
    if given in names:
        label = names.index(given)
    elif len(alike) == 1:
        label = alike[0]
    else:
        label = int(given) if given.isdecimal() and given.isascii() else -1
    if not 0 <= label < len(names):
        known = ", ".join(f"{label} {name}" if name != str(label) else name for label, name in enumerate(names))
        raise SettingsError(f"--class got {given!r}; the classes are {known}.")
    if counts and not counts[names[label]]:
        raise SettingsError(
            f"--class got {given!r}, but {run} had no training images of {names[label]}: its generator has not learned "
            "that class.\nAsk for another class, or train on data that has images of it."
        )
    return label


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


if __name__ == "__main__":
    run_command(app)
