"""Training recipes: each a card that says where it is from, what it sets, what it costs and what it reaches.

A recipe is a value, not code that runs: equal cards give equal trainings, and the whole card is part of what a cached
training is known by.
"""

import json
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from gan.errors import SettingsError

RecipeName = Literal["article", "mlp", "conv", "conditional", "conv-gpu"]

Layers = Literal["dense", "convolutional"]
"""What both networks are made of: gan/models/architectures.py has them."""

Algorithm = Literal["article", "relativistic"]
"""Which file has the iteration: gan/training/article.py or gan/training/relativistic.py."""

Width = Annotated[int, Field(strict=True, ge=1, le=2048)]
"""Units or channels of a layer. Strict, so that true is not 1."""


class Recipe(BaseModel):
    """One way to train a generator."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: RecipeName = Field(description="what --recipe calls it")
    paper: str = Field(description="where the method is from")
    algorithm: Algorithm = Field(description="what an iteration does")
    steps: PositiveInt = Field(description="iterations of the recipe's algorithm")
    batch_size: PositiveInt = Field(description="images a step")
    latent_dim: int = Field(ge=2, le=1024, description="length of a latent vector z ~ N(0, I)")
    layers: Layers = Field("dense", description="what the networks are made of")
    num_classes: NonNegativeInt = Field(0, le=1000, description="classes that both networks are told of; 0: none")
    num_groups: NonNegativeInt = Field(
        0,
        le=1000,
        description="groups of images that look alike, in the place of classes (gan/training/groups.py); 0: none",
    )
    mismatch_weight: NonNegativeFloat = Field(
        0.0, description="of the discriminator's loss on real images that are said to be of another class or group"
    )
    generator_units: tuple[Width, ...] = Field(
        max_length=8,
        description="widths of the generator's hidden layers: units, or channels from the smallest size to 28 x 28",
    )
    discriminator_units: tuple[Width, ...] = Field(
        max_length=8,
        description="widths of the discriminator's hidden layers: units, or channels from 14 x 14 down, the last two "
        "of one size",
    )
    leaky_relu_slope: NonNegativeFloat = Field(description="slope of LeakyReLU below zero")
    batch_norm_momentum: NonNegativeFloat = Field(lt=1, description="weight of the old moving statistics in an update")
    gradient_penalty: NonNegativeFloat = Field(0.0, description="gamma of R1 and R2: how smooth the discriminator is")
    penalty_every: Literal[1, 2, 4] = Field(1, description="steps between two of these penalties, which count as often")
    learning_rate: PositiveFloat = Field(description="Adam step size, both networks")
    adam_beta_1: NonNegativeFloat = Field(lt=1, description="decay of Adam's first moment")
    adam_beta_2: NonNegativeFloat = Field(lt=1, description="decay of Adam's second moment")
    adam_epsilon: PositiveFloat = Field(description="added to the root of Adam's second moment")
    average_half_life_images: PositiveInt = Field(
        description="the average of the generator's weights forgets half of a weight in that many images"
    )
    average_ramp_up: PositiveFloat = Field(
        0.05, le=1, description="at most in this share of the images seen, so that initial weights are soon forgotten"
    )

    @property
    def num_kinds(self) -> int:
        """Kinds of images that both networks are told of: classes or groups; 0: none."""
        return self.num_classes or self.num_groups

    @model_validator(mode="after")
    def _check_what_is_read(self) -> Self:
        if self.num_kinds and self.algorithm == "article":
            raise ValueError("num_classes and num_groups are not for the article, whose networks are told of neither")
        if self.num_classes and self.num_groups:
            raise ValueError("num_groups stand in for classes, and a recipe with classes has none")
        if self.algorithm == "article" and (self.gradient_penalty or self.penalty_every > 1):
            raise ValueError("gradient_penalty and penalty_every are not for the article, which has no penalties")
        if self.mismatch_weight and not self.num_kinds:
            raise ValueError("mismatch_weight is for recipes with classes or groups, such as conditional or conv")
        return self

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        widths, num_halvings = len(self.generator_units), len(self.discriminator_units) - 1
        if self.layers == "convolutional" and not (2 <= widths <= 3 and 1 <= num_halvings <= 2):
            raise ValueError(
                f"generator_units and discriminator_units have {widths} and {num_halvings + 1} widths; with "
                "convolutions 2 or 3 each, since 28 pixels can be halved twice"
            )
        return self


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
The average is no part of the article: it stands beside the article's result, the last weights, and changes nothing.
"""

MLP = Recipe(
    name="mlp",
    paper="Huang et al. 2025 (R3GAN), arXiv:2501.05441, on dense networks, told groups as in Liu et al. 2020, "
    "arXiv:2006.10728, and Reed et al. 2016, arXiv:1605.05396",
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
"""Dense networks again, with a larger discriminator and today's losses; settings by trial (docs/recipes.md).

20,000 steps of 13 to 27 ms on two cores, 5 to 10 minutes: less than the tutorial's own code takes for the article.
Averaged weights: Fréchet distance 3.42 ± 0.09, recall 0.23 ± 0.00, coverage 0.73 ± 0.00 (three seeds).
"""

CONV = Recipe(
    name="conv",
    paper="Huang et al. 2025 (R3GAN), arXiv:2501.05441, on networks as in DCGAN, arXiv:1511.06434, told groups as in "
    "Liu et al. 2020, arXiv:2006.10728, and Reed et al. 2016, arXiv:1605.05396",
    algorithm="relativistic",
    steps=25_000,
    batch_size=32,
    latent_dim=64,
    layers="convolutional",
    num_groups=100,
    mismatch_weight=1.0,
    generator_units=(96, 64, 32),
    discriminator_units=(32, 64, 96),
    leaky_relu_slope=0.2,
    batch_norm_momentum=0.8,
    gradient_penalty=0.2,
    penalty_every=4,
    learning_rate=1e-3,
    adam_beta_1=0.0,
    adam_beta_2=0.99,
    adam_epsilon=1e-8,
    average_half_life_images=50_000,
)
"""Convolutions with the losses of `mlp`, for two cores; settings by trial (docs/recipes.md).

A group has 600 images on average here; give fewer groups for a smaller data set of one's own (--set num_groups=10).
25,000 steps of 25 to 65 ms on two cores, 10 to 27 minutes. Averaged weights: Fréchet distance 1.15 ± 0.07, recall
0.57 ± 0.01, coverage 0.89 ± 0.00 (three seeds).
"""

CONDITIONAL = Recipe.model_validate(
    CONV.model_dump()
    | {
        "name": "conditional",
        "paper": "conv, told the classes as in Mirza and Osindero 2014, arXiv:1411.1784, Miyato and Koyama 2018, "
        "arXiv:1802.05637, and Reed et al. 2016, arXiv:1605.05396",
        "num_classes": 10,
        "num_groups": 0,
    }
)
"""`conv` with class labels into both networks: a class can be asked for.

In about the same time as `conv`. Averaged weights: Fréchet distance 0.71 ± 0.01, recall 0.66 ± 0.01, coverage
0.89 ± 0.00; a classifier fitted apart takes 98.1 ± 0.3 % of its images for the class asked for (three seeds).
"""

CONV_GPU = Recipe.model_validate(
    CONV.model_dump()
    | {
        "name": "conv-gpu",
        "steps": 100_000,
        "batch_size": 256,
        "latent_dim": 128,
        "generator_units": (512, 384, 192),
        "discriminator_units": (128, 256, 384),
        "learning_rate": 2e-4,
        "average_half_life_images": 500_000,
    }
)
"""`conv` wider and longer, for one modern GPU: 26 million images. Never run whole, for want of a GPU."""

NOT_CHANGEABLE = frozenset({"name", "paper", "algorithm", "layers", "steps", "batch_size"})
"""What makes a recipe this one, and what has options of its own."""


def values_by_name(settings: Sequence[str]) -> dict[str, list[str]]:
    """What is set: each as name=value, or name=value,value for a sweep; a list in brackets is one value.

    Raises:
        SettingsError: If one is neither, or a name comes twice.
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


def changed(recipe: Recipe, changes: Mapping[str, str]) -> Recipe:
    """A recipe with other numbers on its card; it keeps its name, and is another training.

    Args:
        recipe: The card.
        changes: JSON values by field, such as {"learning_rate": "1e-4"}.

    Raises:
        SettingsError: If there is no such field, or it cannot have that value.
    """
    for name, value in changes.items():
        if name not in Recipe.model_fields or name in NOT_CHANGEABLE:
            fields = ", ".join(field for field in Recipe.model_fields if field not in NOT_CHANGEABLE)
            raise SettingsError(f"--set got {name}={value}, but a recipe has no {name} to set; it has: {fields}.")
    try:
        values = {name: json.loads(value) for name, value in changes.items()}
        if any(isinstance(value, bool) for value in values.values()):
            raise ValueError("true and false are no numbers")
        card = recipe.model_dump() | values
        if not (card["num_classes"] or card["num_groups"]) and "mismatch_weight" not in values:
            card["mismatch_weight"] = 0.0  # of kinds that are not there any more
        return Recipe.model_validate(card)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        names = [str(detail["loc"][0])] if detail["loc"] else list(changes)
        given = ", ".join(f"{name}={changes[name]}" for name in names)
        raise SettingsError(f"--set got {given}: {detail['msg'].removeprefix('Value error, ')}.") from error
    except ValueError as error:
        given = ", ".join(f"{name}={value}" for name, value in changes.items())
        raise SettingsError(f"--set got {given}; each value is a number, or numbers as in [512,256].") from error


RECIPES = MappingProxyType({recipe.name: recipe for recipe in (ARTICLE, MLP, CONV, CONDITIONAL, CONV_GPU)})
"""All recipes by name."""
