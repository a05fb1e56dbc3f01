"""The layers of a recipe's two networks, in order: dense ones as in the article, and convolutional ones as in DCGAN."""

from collections.abc import Iterator, Sequence

from gan.data.pixels import IMAGE_SIZE
from gan.models.backend import keras
from gan.recipe import Recipe

IMAGE_SHAPE = (IMAGE_SIZE, IMAGE_SIZE, 1)
GROUP_READER = "group_reader"

layers = keras.layers
Initializers = Iterator[keras.initializers.Initializer]


def glorot_uniform(seeds: Sequence[int]) -> Initializers:
    """Yield Keras's default initializer for Dense, with a different seed for each layer."""
    return (keras.initializers.GlorotUniform(seed=seed) for seed in seeds)


def narrow_normal(seeds: Sequence[int]) -> Initializers:
    """Yield initializers N(0, 0.02^2), as in DCGAN (Radford et al. 2016, arXiv:1511.06434, section 4)."""
    return (keras.initializers.RandomNormal(stddev=0.02, seed=seed) for seed in seeds)


def dense_generator(recipe: Recipe, seeds: Sequence[int]) -> list[keras.Layer]:
    """Build blocks of Dense, LeakyReLU and BatchNormalization, then a Dense layer with one unit for each pixel."""
    initializers = glorot_uniform(seeds)
    stack: list[keras.Layer] = []
    for index, units in enumerate(recipe.generator_units):
        stack += [
            layers.Dense(units, kernel_initializer=next(initializers), name=f"dense_{index}"),
            _leaky_relu(recipe, index),
            _batch_norm(recipe, index),
        ]
    return [
        *stack,
        layers.Dense(IMAGE_SIZE**2, activation="tanh", kernel_initializer=next(initializers), name="dense_pixels"),
        layers.Reshape(IMAGE_SHAPE, name="images"),
    ]


def dense_discriminator(recipe: Recipe, seeds: Sequence[int]) -> list[keras.Layer]:
    """Build blocks of Dense and LeakyReLU on the flattened image, then one logit, or one for each class or group."""
    initializers = glorot_uniform(seeds)
    stack: list[keras.Layer] = [layers.Flatten(name="flatten")]
    for index, units in enumerate(recipe.discriminator_units):
        dense = layers.Dense(units, kernel_initializer=next(initializers), name=f"dense_{index}")
        stack += [dense, _leaky_relu(recipe, index)]
    return [*stack, _logits(recipe, initializers)]


def convolutional_generator(recipe: Recipe, seeds: Sequence[int]) -> list[keras.Layer]:
    """Upsample from 7 x 7 over 14 x 14 to 28 x 28 pixels, as in DCGAN; the recipe's widths are the channels.

    BatchNormalization comes before LeakyReLU, also as in DCGAN.
    """
    initializers = narrow_normal(seeds)
    first, *others = recipe.generator_units
    side = IMAGE_SIZE >> len(others)
    stack: list[keras.Layer] = [
        layers.Dense(side * side * first, kernel_initializer=next(initializers), name="dense"),
        layers.Reshape((side, side, first), name="channels_0"),
    ]
    for index, channels in enumerate(recipe.generator_units):
        if index:
            convolution = {"strides": 2, "padding": "same", "kernel_initializer": next(initializers)}
            stack.append(layers.Conv2DTranspose(channels, 4, **convolution, name=f"conv_{index}"))
        stack += [_batch_norm(recipe, index), _leaky_relu(recipe, index)]
    pixels = {"padding": "same", "activation": "tanh", "kernel_initializer": next(initializers)}
    return [*stack, layers.Conv2D(1, 3, **pixels, name="images")]


def convolutional_discriminator(recipe: Recipe, seeds: Sequence[int]) -> list[keras.Layer]:
    """Downsample from 28 x 28 over 14 x 14 to 7 x 7 pixels, then convolve once more; end as `dense_discriminator`.

    There is no normalization; gradient penalties replace it (R3GAN, arXiv:2501.05441, section 3).
    """
    initializers = narrow_normal(seeds)
    stack: list[keras.Layer] = []
    last = len(recipe.discriminator_units) - 1
    for index, channels in enumerate(recipe.discriminator_units):
        size, strides = (4, 2) if index < last else (3, 1)
        convolution = {"strides": strides, "padding": "same", "kernel_initializer": next(initializers)}
        stack += [layers.Conv2D(channels, size, **convolution, name=f"conv_{index}"), _leaky_relu(recipe, index)]
    return [*stack, layers.Flatten(name="flatten"), _logits(recipe, initializers)]


GENERATORS = {"dense": dense_generator, "convolutional": convolutional_generator}
DISCRIMINATORS = {"dense": dense_discriminator, "convolutional": convolutional_discriminator}


def group_reader(recipe: Recipe, bounds: Sequence[float]) -> keras.Model:
    """Build a model that replaces the first number of each latent by its group, one-hot, behind the other numbers.

    It consists of Keras's own layers, so that a saved generator can be loaded without code of this project.
    """
    latents = keras.Input((recipe.latent_dim,), name="latents")
    column = layers.Reshape((recipe.latent_dim, 1), name="column")(latents)
    first = layers.Cropping1D((0, recipe.latent_dim - 1), name="first")(column)
    others = layers.Cropping1D((1, 0), name="others")(column)
    flat_first, flat_others = (layers.Flatten(name=f"flat_{part.name}")(part) for part in (first, others))
    group = layers.Discretization(bin_boundaries=list(bounds), name="group")(flat_first)
    one_hot = layers.CategoryEncoding(recipe.num_groups, output_mode="one_hot", name="one_hot")(group)
    outputs = layers.Concatenate(name="latents_and_group")([flat_others, one_hot])
    return keras.Model(latents, outputs, name=GROUP_READER)


def _logits(recipe: Recipe, initializers: Initializers) -> keras.Layer:
    return layers.Dense(max(1, recipe.num_conditions), kernel_initializer=next(initializers), name="logits")


def _leaky_relu(recipe: Recipe, index: int) -> keras.Layer:
    return layers.LeakyReLU(recipe.leaky_relu_slope, name=f"leaky_relu_{index}")


def _batch_norm(recipe: Recipe, index: int) -> keras.Layer:
    return layers.BatchNormalization(momentum=recipe.batch_norm_momentum, name=f"batch_norm_{index}")
