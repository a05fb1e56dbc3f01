"""The card of a training recipe: what it consists of, and which values it may have."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

Precision = Literal["float32", "tf32"]
Layers = Literal["dense", "convolutional"]
"""The hidden layers of both networks, in gan/models/architectures.py."""

Width = Annotated[int, Field(strict=True, ge=1, le=2048)]
"""Units or channels of a layer. Strict, so that true is not 1."""


class Recipe(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """The card of one way to train a generator."""

    name: str = Field(description="name of the recipe, as in --recipe")
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
