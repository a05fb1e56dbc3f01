"""Draw images from the averaged generator of a published run, on the command line.

python -m gan.generate artifacts/latest --num-images 64 --seed 1 --out clothes.png
python -m gan.generate artifacts/latest --class Sandal --out sandals.png      for a class-conditional generator
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from cyclopts import Parameter
from cyclopts.validators import Number

from gan.command import check_output, new_app, output_file, run_command, terminal
from gan.config import SEED_LIMIT
from gan.data.samples import MAX_IMAGES, save_samples
from gan.errors import SettingsError
from gan.runs.manifest import AVERAGE_GENERATOR, DATA_SUMMARY, GENERATOR
from gan.storage.links import follow_text_link

if TYPE_CHECKING:  # --help and a refused option must not wait for TensorFlow
    from gan.models.backend import keras

MAX_COLUMNS, MAX_GRID = 16, 1024

app = new_app("gan.generate")


@app.default
def generate(
    run: Path,
    *,
    num_images: Annotated[int, Parameter(validator=Number(gte=1, lte=MAX_IMAGES))] = 64,
    seed: Annotated[int, Parameter(validator=Number(gte=0, lt=SEED_LIMIT))] = 0,
    last_weights: Annotated[bool, Parameter(negative=())] = False,
    of_class: Annotated[str | None, Parameter(name="--class")] = None,
    out: Path,
) -> None:
    """Draw images from the averaged generator of a published run.

    Args:
        run: Folder of a published run, such as artifacts/latest.
        num_images: Number of images to draw.
        seed: Seed of the latents; equal seeds give equal images.
        last_weights: Use the weights after the last step (the article's result) instead of their moving average.
        of_class: Name or number of the class to draw, for a class-conditional generator; by default classes are as
            frequent as in the training images.
        out: Output file: .png (a grid of at most 1,024 images) or .npz (key "images", uint8, shape (n, 28, 28);
            a class-conditional generator adds "labels").
    """
    check_output(out, ".png", ".npz")
    if out.suffix == ".png" and num_images > MAX_GRID:
        raise SettingsError(
            f"--num-images got {num_images:,}; a grid shows at most {MAX_GRID:,}. Give --out a name that ends in .npz."
        )
    from gan.models.backend import use_device
    from gan.models.generation import class_counts, generate_pixels, labels_of
    from gan.models.latents import sample_inputs
    from gan.report.rendering import draw_grid, png_bytes

    use_device("auto")
    run = follow_text_link(run)
    generator = load_generator(run, average=not last_weights)
    counts = class_counts(run / DATA_SUMMARY, generator)
    like_labels = labels_of(counts) if of_class is None else np.array([_find_label(of_class, generator, counts, run)])
    inputs = sample_inputs(generator, num_images, seed=seed, like_labels=like_labels)
    pixels = generate_pixels(generator, inputs)
    made = f"{num_images:,} image{'s' * (num_images > 1)}"
    with output_file(out) as partial:
        if out.suffix == ".npz":
            save_samples(pixels, partial, inputs.labels)
        else:
            columns = min(MAX_COLUMNS, round(num_images**0.5))
            grid = draw_grid(pixels, columns, scale=3, caption=f"{made}, seed {seed}")
            partial.write_bytes(png_bytes(grid))
    terminal().print(f"{made} in {out}")


def load_generator(run: Path, *, average: bool) -> "keras.Model":
    """Load the generator of a published run, with averaged or with last weights."""
    model = follow_text_link(run) / (AVERAGE_GENERATOR if average else GENERATOR)
    if not model.is_file():
        raise SettingsError(f"{run} has no {model.name}.\nGive the folder of a run, such as artifacts/latest.")
    from gan.models.networks import load_model

    return load_model(model)


def _find_label(given: str, generator: "keras.Model", counts: dict[str, int], run: Path) -> int:
    """Return the label of the class with this name or number; refuse a class that the generator has not learned."""
    if len(generator.inputs) == 1:
        raise SettingsError(
            f"--class got {given!r}, but the generator of {run} is not class-conditional.\n"
            "Give a run of a class-conditional recipe, such as conditional."
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
            "that class.\nGive another class, or train on data that has images of it."
        )
    return label


if __name__ == "__main__":
    run_command(app)
