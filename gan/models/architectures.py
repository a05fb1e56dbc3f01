"""The layers of a recipe's two networks, in order: dense ones as the article has them, and convolutions."""

from collections.abc import Iterator, Sequence

from gan.data.pixels import IMAGE_SIZE
from gan.models.backend import keras
from gan.recipes import Recipe

IMAGE_SHAPE = (IMAGE_SIZE, IMAGE_SIZE, 1)
INITIAL_DEVIATION = 0.02
GROUP_READER = "group_reader"

Initializers = Iterator[keras.initializers.Initializer]


def glorot_uniform(seeds: Sequence[int]) -> Initializers:
    """Keras's default for Dense, for each layer with a seed of its own."""
    return (keras.initializers.GlorotUniform(seed=seed) for seed in seeds)


def narrow_normal(seeds: Sequence[int]) -> Initializers:
    """N(0, 0.02^2), as DCGAN starts (Radford et al. 2016, arXiv:1511.06434, section 4)."""
    return (keras.initializers.RandomNormal(stddev=INITIAL_DEVIATION, seed=seed) for seed in seeds)


def dense_generator(recipe: Recipe, seeds: Sequence[int], *, synchronized: bool) -> list[keras.Layer]:
    """Blocks of Dense, LeakyReLU and BatchNormalization, then a pixel for each of the last Dense's units."""
    initializers = glorot_uniform(seeds)
    stack: list[keras.Layer] = []
    for index, units in enumerate(recipe.generator_units):
        stack += [
            keras.layers.Dense(units, kernel_initializer=next(initializers), name=f"dense_{index}"),
            keras.layers.LeakyReLU(recipe.leaky_relu_slope, name=f"leaky_relu_{index}"),
            _batch_norm(recipe, index, synchronized=synchronized),
        ]
    return [
        *stack,
        keras.layers.Dense(
            IMAGE_SIZE**2, activation="tanh", kernel_initializer=next(initializers), name="dense_pixels"
        ),
        keras.layers.Reshape(IMAGE_SHAPE, name="images"),
    ]


def dense_discriminator(recipe: Recipe, seeds: Sequence[int]) -> list[keras.Layer]:
    """All pixels into blocks of Dense and LeakyReLU, then one logit, or one for each class or group (kind)."""
    initializers = glorot_uniform(seeds)
    stack: list[keras.Layer] = [keras.layers.Flatten(name="flatten")]
    for index, units in enumerate(recipe.discriminator_units):
        stack += [
            keras.layers.Dense(units, kernel_initializer=next(initializers), name=f"dense_{index}"),
            keras.layers.LeakyReLU(recipe.leaky_relu_slope, name=f"leaky_relu_{index}"),
        ]
    return [*stack, _logits(recipe, initializers)]


def convolutional_generator(recipe: Recipe, seeds: Sequence[int], *, synchronized: bool) -> list[keras.Layer]:
    """From 7 x 7 over 14 x 14 to 28 x 28 pixels, as DCGAN: channels of each size are the recipe's widths.

    BatchNormalization comes before LeakyReLU here, as it does there.
    """
    initializers = narrow_normal(seeds)
    first, *others = recipe.generator_units
    side = IMAGE_SIZE >> len(others)
    stack: list[keras.Layer] = [
        keras.layers.Dense(side * side * first, kernel_initializer=next(initializers), name="dense"),
        keras.layers.Reshape((side, side, first), name="channels_0"),
    ]
    for index, channels in enumerate(recipe.generator_units):
        if index:
            stack.append(
                keras.layers.Conv2DTranspose(
                    channels, 4, strides=2, padding="same", kernel_initializer=next(initializers), name=f"conv_{index}"
                )
            )
        stack += [
            _batch_norm(recipe, index, synchronized=synchronized),
            keras.layers.LeakyReLU(recipe.leaky_relu_slope, name=f"leaky_relu_{index}"),
        ]
    return [
        *stack,
        keras.layers.Conv2D(
            1, 3, padding="same", activation="tanh", kernel_initializer=next(initializers), name="images"
        ),
    ]


def convolutional_discriminator(recipe: Recipe, seeds: Sequence[int]) -> list[keras.Layer]:
    """From 28 x 28 over 14 x 14 to 7 x 7 pixels, a look round at that size, then one logit, or one for each kind.

    No normalization: penalties on its gradients take the place of that (R3GAN, arXiv:2501.05441, section 3).
    """
    initializers = narrow_normal(seeds)
    stack: list[keras.Layer] = []
    *halving, last = recipe.discriminator_units
    for index, channels in enumerate((*halving, last)):
        size, strides = (4, 2) if index < len(halving) else (3, 1)
        stack += [
            keras.layers.Conv2D(
                channels,
                size,
                strides=strides,
                padding="same",
                kernel_initializer=next(initializers),
                name=f"conv_{index}",
            ),
            keras.layers.LeakyReLU(recipe.leaky_relu_slope, name=f"leaky_relu_{index}"),
        ]
    return [
        *stack,
        keras.layers.Flatten(name="flatten"),
        _logits(recipe, initializers),
    ]


def group_reader(recipe: Recipe, bounds: Sequence[float]) -> keras.Model:
    """Latents, float32 (n, latent_dim), to the same with the first number as a one-hot group in the last places.

    Of layers that Keras itself has, so that a saved generator is read without code of ours.
    """
    latents = keras.Input((recipe.latent_dim,), name="latents")
    column = keras.layers.Reshape((recipe.latent_dim, 1), name="column")(latents)
    first = keras.layers.Cropping1D((0, recipe.latent_dim - 1), name="first")(column)
    others = keras.layers.Cropping1D((1, 0), name="others")(column)
    flat_first, flat_others = (keras.layers.Flatten(name=f"flat_{one.name}")(one) for one in (first, others))
    group = keras.layers.Discretization(bin_boundaries=list(bounds), name="group")(flat_first)
    one_hot = keras.layers.CategoryEncoding(recipe.num_groups, output_mode="one_hot", name="one_hot")(group)
    outputs = keras.layers.Concatenate(name="latents_and_group")([flat_others, one_hot])
    return keras.Model(latents, outputs, name=GROUP_READER)


def _logits(recipe: Recipe, initializers: Initializers) -> keras.Layer:
    """The last layer of a discriminator."""
    return keras.layers.Dense(max(1, recipe.num_kinds), kernel_initializer=next(initializers), name="logits")


def _batch_norm(recipe: Recipe, index: int, *, synchronized: bool) -> keras.Layer:
    return keras.layers.BatchNormalization(
        momentum=recipe.batch_norm_momentum, synchronized=synchronized, name=f"batch_norm_{index}"
    )
