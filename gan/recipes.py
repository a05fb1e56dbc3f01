"""Training recipes: cards with hyperparameters, references to papers, costs and results.

A recipe is a value, not code: equal cards give equal trainings, and the whole card is part of the cache key.
"""

import json
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from gan.errors import SettingsError

RecipeName = Literal["article", "mlp", "conv", "conditional", "conv-gpu", "conditional-gpu"]

Precision = Literal["float32", "tf32"]
Layers = Literal["dense", "convolutional"]
"""The hidden layers of both networks, in gan/models/architectures.py."""

Width = Annotated[int, Field(strict=True, ge=1, le=2048)]
"""Units or channels of a layer. Strict, so that true is not 1."""


class Recipe(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """The card of one way to train a generator."""

    name: RecipeName = Field(description="name of the recipe, as in --recipe")
    paper: str = Field(description="papers that the method is taken from")
    algorithm: Literal["article", "relativistic"] = Field(description="the training iteration: gan/training/<name>.py")
    steps: PositiveInt = Field(description="iterations of the recipe's algorithm")
    batch_size: PositiveInt = Field(description="images per step")
    latent_dim: int = Field(ge=2, le=1024, description="length of a latent vector z ~ N(0, I)")
    layers: Layers = Field("dense", description="layers of both networks")
    num_classes: NonNegativeInt = Field(
        0, le=1000, description="classes that both networks are conditioned on; 0: none"
    )
    num_groups: NonNegativeInt = Field(
        0, le=1000, description="groups of similar images, to condition on in place of classes; 0: none"
    )
    mismatch_weight: NonNegativeFloat = Field(
        0.0, description="weight of the discriminator's loss on real images with another image's class or group"
    )
    generator_units: tuple[Width, ...] = Field(
        max_length=8, description="units of the generator's hidden layers, or channels from the smallest map to 28 x 28"
    )
    discriminator_units: tuple[Width, ...] = Field(
        max_length=8,
        description="units of the discriminator's hidden layers, or channels of the convolutions: one for each halving "
        "from 28 x 28, then one that keeps the size",
    )
    leaky_relu_slope: NonNegativeFloat = Field(description="slope of LeakyReLU below zero")
    batch_norm_momentum: NonNegativeFloat = Field(lt=1, description="weight of the old moving statistics in an update")
    gradient_penalty: NonNegativeFloat = Field(0.0, description="gamma, the weight of the penalties R1 and R2")
    penalty_every: Literal[1, 2, 4] = Field(
        1, description="steps between two penalties; each is multiplied by this number (lazy regularization)"
    )
    learning_rate: PositiveFloat = Field(description="of Adam, for both networks")
    adam_beta_1: NonNegativeFloat = Field(lt=1, description="decay of Adam's first moment")
    adam_beta_2: NonNegativeFloat = Field(lt=1, description="decay of Adam's second moment")
    adam_epsilon: PositiveFloat = Field(description="added to the square root of Adam's second moment")
    average_half_life_images: PositiveInt = Field(description="half-life of the averaged generator weights, in images")
    average_ramp_up: PositiveFloat = Field(
        0.05, le=1, description="upper limit of the half-life, as a share of the images seen so far"
    )

    @property
    def num_conditions(self) -> int:
        """Return the number of classes or groups that both networks are conditioned on; 0 if there are none."""
        return self.num_classes or self.num_groups

    @property
    def uses_xla(self) -> bool:
        """Return whether XLA compiles a training step on a CPU, where it makes convolutions slower (docs/recipes.md).

        On a GPU it always does.
        """
        return self.layers == "dense"

    @property
    def gpu_precision(self) -> Precision:
        """Return the precision of a loop on a GPU: TF32 for convolutions, float32 for dense layers.

        TF32 rounds factors to 10 bits of mantissa, and sums in float32. For convolutions, TF32 and a free choice of
        algorithms are twice as fast, and give other bytes each time (docs/training.md). Dense layers stay in float32.
        """
        return "tf32" if self.layers == "convolutional" else "float32"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.num_conditions and self.algorithm == "article":
            raise ValueError("num_classes and num_groups are not for the article, whose networks are unconditional")
        if self.num_classes and self.num_groups:
            raise ValueError("num_groups replace classes, so a recipe with num_classes has none")
        if self.algorithm == "article" and (self.gradient_penalty or self.penalty_every > 1):
            raise ValueError("gradient_penalty and penalty_every are not for the article, which has no penalties")
        if self.mismatch_weight and not self.num_conditions:
            raise ValueError("mismatch_weight is for recipes with classes or groups, such as conditional or conv")
        widths, num_halvings = len(self.generator_units), len(self.discriminator_units) - 1
        if self.layers == "convolutional" and not (2 <= widths <= 3 and 1 <= num_halvings <= 2):
            raise ValueError(
                f"generator_units and discriminator_units have {widths} and {num_halvings + 1} widths; convolutional "
                "networks have 2 or 3 each, since 28 pixels can be halved twice"
            )
        return self


def _derive(recipe: Recipe, **changes: object) -> Recipe:
    return Recipe.model_validate(recipe.model_dump() | changes)


ARTICLE = Recipe(
    name="article",
    paper="Goodfellow et al. 2014, arXiv:1406.2661, as a 2024 tutorial teaches it",
    algorithm="article",
    steps=10_001,
    batch_size=128,
    latent_dim=100,
    generator_units=(256, 512, 1024),
    discriminator_units=(512, 256),
    leaky_relu_slope=0.2,
    batch_norm_momentum=0.8,
    learning_rate=2e-4,
    adam_beta_1=0.5,
    adam_beta_2=0.999,
    adam_epsilon=1e-7,
    average_half_life_images=20_000,
)
"""The baseline, reproduced exactly: dense networks, binary cross-entropy, two discriminator updates a step.

2 to 4 minutes on two cores; Fréchet distance 24.6 ± 0.8, averaged weights 12.3 ± 0.5 (three seeds).
The averaged weights are not part of the article; they do not influence its result, the last weights.
"""

MLP = Recipe(
    name="mlp",
    paper="Huang et al. 2025 (R3GAN), arXiv:2501.05441, on dense networks, conditioned on groups as in "
    "Liu et al. 2020, arXiv:2006.10728, and Reed et al. 2016, arXiv:1605.05396",
    algorithm="relativistic",
    steps=20_000,
    batch_size=128,
    latent_dim=100,
    num_groups=50,
    mismatch_weight=1.0,
    generator_units=(256, 512, 1024),
    discriminator_units=(1024, 512),
    leaky_relu_slope=0.2,
    batch_norm_momentum=0.8,
    gradient_penalty=0.2,
    penalty_every=4,
    learning_rate=8e-4,
    adam_beta_1=0.0,
    adam_beta_2=0.99,
    adam_epsilon=1e-7,
    average_half_life_images=250_000,
    average_ramp_up=0.1,
)
"""Dense networks with a larger discriminator and newer losses; settings found by experiment (docs/recipes.md).

20,000 steps of 13 to 27 ms on two cores, 5 to 10 minutes: less than the tutorial's own code needs for the article.
Averaged weights: Fréchet distance 3.42 ± 0.09, recall 0.23 ± 0.00, coverage 0.73 ± 0.00 (three seeds).
"""

CONV = _derive(
    MLP,
    name="conv",
    paper="Huang et al. 2025 (R3GAN), arXiv:2501.05441, on networks as in DCGAN, arXiv:1511.06434, conditioned on "
    "groups as in Liu et al. 2020, arXiv:2006.10728, and Reed et al. 2016, arXiv:1605.05396",
    steps=25_000,
    batch_size=32,
    latent_dim=64,
    layers="convolutional",
    num_groups=100,
    generator_units=(96, 64, 32),
    discriminator_units=(32, 64, 96),
    learning_rate=1e-3,
    adam_epsilon=1e-8,
    average_half_life_images=50_000,
    average_ramp_up=0.05,
)
"""Convolutional networks with the losses of `mlp`, for two cores; settings found by experiment (docs/recipes.md).

On Fashion-MNIST a group has 600 images on average; use fewer groups for a smaller data set (--set num_groups=10).
25,000 steps of 25 to 65 ms on two cores, 10 to 27 minutes. Averaged weights: Fréchet distance 1.15 ± 0.07, recall
0.57 ± 0.01, coverage 0.89 ± 0.00 (three seeds).
"""

CONDITIONAL = _derive(
    CONV,
    name="conditional",
    paper="conv, conditioned on classes as in Mirza and Osindero 2014, arXiv:1411.1784, Miyato and Koyama 2018, "
    "arXiv:1802.05637, and Reed et al. 2016, arXiv:1605.05396",
    num_classes=10,
    num_groups=0,
)
"""`conv` conditioned on class labels, so that images of a chosen class can be generated.

It takes about as long as `conv`. Averaged weights: Fréchet distance 0.71 ± 0.01, recall 0.66 ± 0.01, coverage
0.89 ± 0.00; another classifier assigns 98.1 ± 0.3 % of its images to the requested class (three seeds).
"""

CONV_GPU = _derive(
    CONV,
    name="conv-gpu",
    steps=40_000,
    batch_size=64,
    latent_dim=128,
    generator_units=(192, 128, 64),
    discriminator_units=(64, 128, 192),
    learning_rate=5e-4,
    average_half_life_images=200_000,
)
"""`conv` with wider networks and larger batches, for one modern GPU.

About a minute on an H200, estimated from its time a step. Averaged weights of seed 0 after half of these steps: Fréchet
distance 0.87, recall 0.66, coverage 0.91. The whole training has not been measured.
"""

CONDITIONAL_GPU = _derive(
    CONV_GPU,
    name="conditional-gpu",
    paper=CONDITIONAL.paper,
    num_classes=10,
    num_groups=0,
    mismatch_weight=0.3,
)
"""`conv-gpu` conditioned on class labels, with less loss on mismatches than `conditional`, which leaves more recall.

About a minute on an H200, estimated from its time a step. Averaged weights of seed 0: Fréchet distance 0.50, recall
0.75, coverage 0.92.
"""

FIXED_FIELDS = frozenset({"name", "paper", "algorithm", "layers", "steps", "batch_size"})
"""Fields that --set cannot change: they define the recipe, or have their own options."""


def parse_overrides(settings: Sequence[str]) -> dict[str, list[str]]:
    """Split settings, name=value or name=value,value for a sweep, into names and values; [1,2] is one value.

    Raises SettingsError if a setting has another form, or a name occurs twice.
    """
    found: dict[str, list[str]] = {}
    for setting in settings:
        given, _, together = setting.partition("=")
        name, values = given.strip().replace("-", "_"), re.split(r",(?![^\[]*\])", together)
        if not (name and all(value.strip() for value in values)):
            raise SettingsError(f"--set got {setting!r}; it expects name=value, such as learning_rate=1e-4.")
        if name in found:
            raise SettingsError(f"--set names {name} twice; a sweep takes all its values at once, with commas between.")
        found[name] = [value.strip() for value in values]
    return found


def override(recipe: Recipe, changes: Mapping[str, str]) -> Recipe:
    """Return a recipe with other values on its card, but the same name.

    `changes` has JSON values by field, such as {"learning_rate": "1e-4"}. Raises SettingsError if a recipe has no such
    field, or the field cannot have that value.
    """
    for name, value in changes.items():
        if name not in Recipe.model_fields or name in FIXED_FIELDS:
            fields = ", ".join(field for field in Recipe.model_fields if field not in FIXED_FIELDS)
            meant = "".join(f" Did you mean {field}?" for field in get_close_matches(name, fields.split(", "), n=1))
            raise SettingsError(
                f"--set got {name}={value}, but a recipe has no {name} to set.{meant} It has: {fields}."
            )
    try:
        values = {name: _parse(value) for name, value in changes.items()}
        if any(isinstance(value, bool) for value in values.values()):
            raise ValueError("true and false are not numbers")
        card = recipe.model_dump() | values
        if not (card["num_classes"] or card["num_groups"]) and "mismatch_weight" not in values:
            card["mismatch_weight"] = 0.0  # mismatches need conditions
        return Recipe.model_validate(card)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        names = [str(detail["loc"][0])] if detail["loc"] else list(changes)
        given = ", ".join(f"{name}={changes[name]}" for name in names)
        is_tuple = detail["type"] == "tuple_type"
        message = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
        problem = "expected numbers, as in [512,256]" if is_tuple else message
        raise SettingsError(f"--set got {given}: {problem}.") from error
    except ValueError as error:
        given = ", ".join(f"{name}={value}" for name, value in changes.items())
        raise SettingsError(f"--set got {given}; each value is a number, or numbers as in [512,256].") from error


def _parse(value: str) -> Any:
    """Return a JSON value, or a number as people write it (.0004)."""
    try:
        return json.loads(value)
    except ValueError:
        return float(value)


CARDS = (ARTICLE, MLP, CONV, CONDITIONAL, CONV_GPU, CONDITIONAL_GPU)

RECIPES = MappingProxyType({recipe.name: recipe for recipe in CARDS})
"""All recipes, by name."""
