"""The two networks of a recipe with their optimizers, and files of them that depend on nothing but the weights."""

import io
import json
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gan.errors import StoreError
from gan.models.architectures import (
    GROUP_READER,
    IMAGE_SHAPE,
    convolutional_discriminator,
    convolutional_generator,
    dense_discriminator,
    dense_generator,
    group_reader,
)
from gan.models.backend import keras
from gan.recipes import Recipe
from gan.storage.files import check_unpacked_size

_SHARED_OBJECT_ID = re.compile(rb'("shared_object_id": )(\d+)')

MAX_MODEL_BYTES = 2**32
"""More than the weights of the widest networks that a card can ask for; what is larger is no model of ours."""


def build_generator(
    recipe: Recipe, seed: int, *, group_bounds: Sequence[float] = (), synchronized: bool = False
) -> keras.Model:
    """The generator: latents, float32 (n, latent_dim), to images, float32 (n, 28, 28, 1) in [-1, 1] (tanh).

    One that is asked for classes takes [latents, classes], the classes one-hot, float32 (n, num_classes), and reads
    both as one vector (Mirza and Osindero 2014, arXiv:1411.1784, section 4.1). One with groups reads the group off the
    first number of a latent.

    Args:
        recipe: Kind of layers, widths, slope, momentum, classes or groups.
        seed: Seeds the initial weights, layer by layer.
        group_bounds: `gan.training.groups.group_bounds`, for a recipe with groups.
        synchronized: Whether BatchNormalization takes its statistics over the replicas of a `tf.distribute` strategy.

    Raises:
        ValueError: If there is not a bound between each two groups.
    """
    if len(group_bounds) != max(0, recipe.num_groups - 1):
        raise ValueError(f"build_generator got {len(group_bounds)} bounds for {recipe.num_groups} groups.")
    layers = {"dense": dense_generator, "convolutional": convolutional_generator}[recipe.layers]
    stack = layers(recipe, _layer_seeds(seed, stream=0), synchronized=synchronized)
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
    """Whether the first number of a latent says which group."""
    return any(layer.name == GROUP_READER for layer in generator.layers)


def build_discriminator(recipe: Recipe, seed: int) -> keras.Model:
    """The discriminator: images to the logit of "this is real".

    Images, float32 (n, 28, 28, 1), to logits, float32 (n, 1). The article's last sigmoid is not here but in the loss,
    where it can be computed without overflow: probability = sigmoid(logit).

    One that is told classes gives a logit for each, (n, num_classes): "this is a real one of that class". Only that of
    the image's own class counts: the projection discriminator (Miyato and Koyama 2018, arXiv:1802.05637, section 3)
    with what all classes share left in each class's weights. Groups are to it as classes are.

    Args:
        recipe: Kind of layers, widths, slope, classes or groups.
        seed: Seeds the initial weights, layer by layer.
    """
    layers = {"dense": dense_discriminator, "convolutional": convolutional_discriminator}[recipe.layers]
    stack = layers(recipe, _layer_seeds(seed, stream=1))
    return keras.Sequential([keras.Input(IMAGE_SHAPE, name="images"), *stack], name="discriminator")


def _layer_seeds(seed: int, stream: int) -> list[int]:
    """A seed for each layer of one of the two networks."""
    return [int(state >> 1) for state in np.random.SeedSequence((seed, stream)).generate_state(64)]


def build_optimizer(recipe: Recipe) -> keras.optimizers.Optimizer:
    """Adam (Kingma and Ba 2015, arXiv:1412.6980) as the recipe sets it."""
    return keras.optimizers.Adam(recipe.learning_rate, recipe.adam_beta_1, recipe.adam_beta_2, recipe.adam_epsilon)


@dataclass
class Networks:
    """What training changes: two networks, each with its own optimizer, and the average of the generator's weights."""

    generator: keras.Model
    discriminator: keras.Model
    g_optimizer: keras.optimizers.Optimizer
    d_optimizer: keras.optimizers.Optimizer
    average: keras.Model  # a generator as well

    @classmethod
    def build(
        cls, recipe: Recipe, seed: int, *, group_bounds: Sequence[float] = (), synchronized: bool = False
    ) -> "Networks":
        """Networks with initial weights and optimizers with empty slots."""
        networks = cls(
            build_generator(recipe, seed, group_bounds=group_bounds, synchronized=synchronized),
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
        """All state, in an order that never changes."""
        return [
            *self.generator.variables,
            *self.discriminator.variables,
            *self.g_optimizer.variables,
            *self.d_optimizer.variables,
            *self.average.variables,
        ]


def save_model(model: keras.Model, path: Path) -> None:
    """Save a model so that equal weights give equal bytes.

    A `.keras` file is a zip archive that holds the time of saving, and addresses in memory as the identities of
    shared objects; here it is written again without the one and with the others counted from 1.

    Args:
        model: Its layers have names of their own, so that nothing depends on what else the process has built.
        path: Ends in ".keras".
    """
    keras.saving.save_model(model, path)
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
                content = _SHARED_OBJECT_ID.sub(_counter(), content)
            target.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), content)


def _counter() -> Callable[[re.Match[bytes]], bytes]:
    """Replace each different number by how many different ones came before it, plus one."""
    seen: dict[bytes, int] = {}
    return lambda match: match[1] + str(seen.setdefault(match[2], len(seen) + 1)).encode()


def load_model(path: Path) -> keras.Model:
    """Load a model that `save_model` wrote; nothing in the file is executed.

    Raises:
        StoreError: If the file is no model that this version of Keras reads, or is of the size of none of ours.
    """
    try:
        check_unpacked_size(path, MAX_MODEL_BYTES)
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise StoreError(
            f"{path} is no model that Keras {keras.__version__} can load: {str(error).splitlines()[0]}\n"
            "Give one that this project wrote, such as the generator.keras of a published run."
        ) from error
