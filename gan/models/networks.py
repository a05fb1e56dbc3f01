"""The two networks of a recipe with their optimizers, and model files whose bytes depend on the weights only."""

import io
import json
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gan.errors import StoreError, first_line
from gan.models.architectures import DISCRIMINATORS, GENERATORS, GROUP_READER, IMAGE_SHAPE, group_reader
from gan.models.backend import keras
from gan.recipe import Recipe
from gan.storage.files import check_unpacked_size

_SHARED_OBJECT_ID = re.compile(rb'("shared_object_id": )(\d+)')

MAX_MODEL_BYTES = 2**32
"""Limit on the unpacked size of a model file; the widest networks that a recipe allows are smaller."""


def build_generator(recipe: Recipe, seed: int, *, group_bounds: Sequence[float] = ()) -> keras.Model:
    """Build the generator: latents, float32 (n, latent_dim), to images, float32 (n, 28, 28, 1) in [-1, 1] (tanh).

    With conditioning on classes its inputs are [latents, classes], the classes one-hot, float32 (n, num_classes); they
    are concatenated (Mirza and Osindero 2014, arXiv:1411.1784, section 4.1). With conditioning on groups it reads the
    group from the first number of each latent; `group_bounds` are then the result of `gan.training.groups`.
    """
    if len(group_bounds) != max(0, recipe.num_groups - 1):
        raise ValueError(f"build_generator got {len(group_bounds)} bounds for {recipe.num_groups} groups.")
    stack = GENERATORS[recipe.layers](recipe, _layer_seeds(seed, stream=0))
    latents = keras.Input((recipe.latent_dim,), name="latents")
    if not recipe.num_classes:
        front = [group_reader(recipe, group_bounds)] if recipe.num_groups else []
        return keras.Sequential([latents, *front, *stack], name="generator")
    classes = keras.Input((recipe.num_classes,), name="classes")
    outputs = keras.layers.Concatenate(name="latents_and_classes")([latents, classes])
    for layer in stack:
        outputs = layer(outputs)
    return keras.Model([latents, classes], outputs, name="generator")


def has_groups(generator: keras.Model) -> bool:
    """Return whether the generator reads a group from the first number of each latent."""
    return any(layer.name == GROUP_READER for layer in generator.layers)


def build_discriminator(recipe: Recipe, seed: int) -> keras.Model:
    """Build the discriminator: images, float32 (n, 28, 28, 1), to logits of "this image is real", float32 (n, 1).

    The article's final sigmoid is part of the loss, where it cannot overflow: probability = sigmoid(logit).

    With conditioning on classes or groups it gives a logit for each condition, float32 (n, num_conditions): "this is a
    real image of that class". Only the logit of the image's own condition is used. This is the projection discriminator
    (Miyato and Koyama 2018, arXiv:1802.05637, section 3), with the unconditional term merged into each class's weights.
    """
    stack = DISCRIMINATORS[recipe.layers](recipe, _layer_seeds(seed, stream=1))
    return keras.Sequential([keras.Input(IMAGE_SHAPE, name="images"), *stack], name="discriminator")


def _layer_seeds(seed: int, stream: int) -> list[int]:
    """Return a seed for each layer of a network; each network has its own stream."""
    return [int(state >> 1) for state in np.random.SeedSequence((seed, stream)).generate_state(64)]


def build_optimizer(recipe: Recipe) -> keras.optimizers.Optimizer:
    """Return Adam (Kingma and Ba 2015, arXiv:1412.6980) with the recipe's settings."""
    return keras.optimizers.Adam(recipe.learning_rate, recipe.adam_beta_1, recipe.adam_beta_2, recipe.adam_epsilon)


@dataclass
class Networks:
    """The variables of a training: two networks with their optimizers, and the averaged generator."""

    generator: keras.Model
    discriminator: keras.Model
    g_optimizer: keras.optimizers.Optimizer
    d_optimizer: keras.optimizers.Optimizer
    average: keras.Model  # a generator with averaged weights

    @classmethod
    def build(cls, recipe: Recipe, seed: int, *, group_bounds: Sequence[float] = ()) -> "Networks":
        """Build networks with initial weights; arguments as for `build_generator`."""
        networks = cls(
            build_generator(recipe, seed, group_bounds=group_bounds),
            build_discriminator(recipe, seed),
            build_optimizer(recipe),
            build_optimizer(recipe),
            build_generator(recipe, seed, group_bounds=group_bounds),
        )
        networks.g_optimizer.build(networks.generator.trainable_variables)
        networks.d_optimizer.build(networks.discriminator.trainable_variables)
        return networks

    @property
    def variables(self) -> list[keras.Variable]:
        """Return all variables in a fixed order, on which checkpoints rely."""
        parts = (self.generator, self.discriminator, self.g_optimizer, self.d_optimizer, self.average)
        return [variable for part in parts for variable in part.variables]


def save_model(model: keras.Model, path: Path) -> None:
    """Save a model to a path that ends in ".keras", so that equal weights give equal bytes.

    A `.keras` file is a zip archive that contains the time of saving, and addresses in memory as identifiers of shared
    objects. This function rewrites it without the time, and with identifiers that count from 1. Layers need explicit
    names, since Keras's automatic names depend on earlier models.
    """
    keras.saving.save_model(model, path)
    seen: dict[bytes, int] = {}
    with (
        zipfile.ZipFile(io.BytesIO(path.read_bytes())) as source,
        zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as target,
    ):
        for name in sorted(source.namelist()):
            content = source.read(name)
            if name == "metadata.json":
                metadata = json.loads(content)
                metadata.pop("date_saved", None)
                content = json.dumps(metadata, sort_keys=True).encode()
            elif name == "config.json":
                content = _SHARED_OBJECT_ID.sub(
                    lambda found: found[1] + str(seen.setdefault(found[2], len(seen) + 1)).encode(), content
                )
            target.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), content)


def load_model(path: Path) -> keras.Model:
    """Load a model that `save_model` wrote; no code in the file is executed.

    Raises:
        StoreError: If this version of Keras cannot load the file, or if it unpacks to more than MAX_MODEL_BYTES.
    """
    try:
        check_unpacked_size(path, MAX_MODEL_BYTES)
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except StoreError:
        raise
    except Exception as error:  # Keras, h5py and zipfile raise many kinds for damaged files
        reason = first_line(error) or type(error).__name__
        raise StoreError(
            f"{path} is no model that Keras {keras.__version__} can load: {reason}\n"
            "Give one that this project wrote, such as the generator.keras of a published run."
        ) from error
