"""Images from a trained generator: for the pipeline, and for anybody with a published run.

python -m gan.generate artifacts/latest --num-images 64 --seed 1 --out clothes.png
python -m gan.generate artifacts/latest --class Sandal --out sandals.png      with a recipe that takes classes
"""

from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import App, Parameter
from cyclopts.validators import Number

from gan.command import check_output, output_file, run_command
from gan.data.samples import MAX_IMAGES, save_samples
from gan.errors import SettingsError
from gan.models.backend import keras
from gan.models.generation import class_counts, generate_pixels, labels_of
from gan.models.latents import sample_inputs
from gan.models.networks import load_model
from gan.report.rendering import draw_grid, save_png
from gan.runs.manifest import DATA_SUMMARY
from gan.storage.links import follow_text_link

MAX_COLUMNS, MAX_GRID = 16, 1024


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
    run = follow_text_link(run)
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
    model = follow_text_link(run) / ("generator_average.keras" if average else "generator.keras")
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


if __name__ == "__main__":
    run_command(app)
