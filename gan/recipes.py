"""Training recipes: cards with hyperparameters, references to papers, costs and results.

A recipe is a value, not code: equal cards give equal trainings, and the whole card is part of the cache key. No stage
imports this module, so an edit of one card, or a new one, leaves the results of the others cached.
"""

from types import MappingProxyType
from typing import Literal

from gan.recipe import Recipe

RecipeName = Literal["article", "mlp", "conv", "conditional", "conv-gpu", "conditional-gpu"]


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

CARDS = (ARTICLE, MLP, CONV, CONDITIONAL, CONV_GPU, CONDITIONAL_GPU)

RECIPES = MappingProxyType({recipe.name: recipe for recipe in CARDS})
"""All recipes, by name."""
