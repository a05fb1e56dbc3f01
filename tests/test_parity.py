"""Our step beside the article's own code on Keras 2: same initial weights, batches and latents, 20 iterations.

Both sides run in float64 here. In float32 they drift apart: Adam's first steps move a weight by the sign of its
gradient, near enough, so where a gradient is almost zero its rounding decides (after 20 iterations up to 6e-4 in a
weight, with some seeds). In float64 the same code leaves rounding no room: every weight, moving statistic and moment of
Adam agrees to 1e-6, measured 2e-8 and less (the learning rate itself is a float32 on one side).
"""

import warnings

import numpy as np
import pytest

from gan.backend import keras, tf
from gan.config import TrainConfig
from gan.training import Draw, Networks, draw_indices, draw_latents, make_train_step

ITERATIONS = 20
TOLERANCE = 1e-6


class Article:
    """The tutorial's models and its loop body, as it is written, on Keras 2."""

    def __init__(self, k2) -> None:
        layers, recipe_adam = k2.layers, lambda: k2.optimizers.Adam(learning_rate=0.0002, beta_1=0.5)
        self.generator = k2.Sequential(
            [
                layers.Dense(256, input_dim=100),
                layers.LeakyReLU(alpha=0.2),
                layers.BatchNormalization(momentum=0.8),
                layers.Dense(512),
                layers.LeakyReLU(alpha=0.2),
                layers.BatchNormalization(momentum=0.8),
                layers.Dense(1024),
                layers.LeakyReLU(alpha=0.2),
                layers.BatchNormalization(momentum=0.8),
                layers.Dense(784, activation="tanh"),
                layers.Reshape((28, 28, 1)),
            ]
        )
        self.discriminator = k2.Sequential(
            [
                layers.Flatten(input_shape=(28, 28, 1)),
                layers.Dense(512),
                layers.LeakyReLU(alpha=0.2),
                layers.Dense(256),
                layers.LeakyReLU(alpha=0.2),
                layers.Dense(1, activation="sigmoid"),
            ]
        )
        self.discriminator.compile(loss="binary_crossentropy", optimizer=recipe_adam(), metrics=["accuracy"])
        self.discriminator.trainable = False
        latents = k2.Input(shape=(100,))
        self.combined = k2.Model(latents, self.discriminator(self.generator(latents)))
        self.combined.compile(loss="binary_crossentropy", optimizer=recipe_adam())

    def iterate(self, real_images: np.ndarray, latents: np.ndarray, fresh_latents: np.ndarray) -> np.ndarray:
        ones, zeros = np.ones((len(real_images), 1)), np.zeros((len(real_images), 1))
        fake_images = self.generator.predict(latents, verbose=0)
        real = self.discriminator.train_on_batch(real_images, ones)
        fake = self.discriminator.train_on_batch(fake_images, zeros)
        d_loss, d_accuracy = np.add(real, fake) / 2
        return np.array([d_loss, d_accuracy, self.combined.train_on_batch(fresh_latents, ones)])


@pytest.fixture
def k2():
    """Keras 2, both Keras set to float64."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tf_keras
    tf_keras.backend.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield tf_keras
    tf_keras.backend.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


def adam_slots(optimizer) -> list[np.ndarray]:
    """First and second moments, in the order of the weights, of either Keras."""
    return [np.asarray(variable) for variable in optimizer.variables if len(variable.shape) > 0]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", [0, 12345])
def test_twenty_iterations_agree_with_the_articles_code_on_keras_2(k2, tiny_images, seed) -> None:
    config = TrainConfig(seed=seed, steps=ITERATIONS)
    images = tiny_images
    ours, article = Networks.build(config.recipe, seed), Article(k2)
    article.generator.set_weights(ours.generator.get_weights())
    article.discriminator.set_weights(ours.discriminator.get_weights())
    train_step = make_train_step(ours, tf.constant(images), config)
    draw = tf.function(draw_latents, jit_compile=True)

    for number in range(ITERATIONS):
        step = tf.constant(number, tf.int64)
        real_images = images[draw_indices(seed, step, 128, len(images)).numpy()]
        latents, fresh_latents = (
            draw(seed, step, kind, (128, 100)).numpy() for kind in (Draw.DISCRIMINATOR_LATENTS, Draw.GENERATOR_LATENTS)
        )
        expected = article.iterate(real_images, latents, fresh_latents)
        np.testing.assert_allclose(train_step(step).numpy(), expected, atol=TOLERANCE)

    for name, mine, theirs in [
        ("generator", ours.generator.get_weights(), article.generator.get_weights()),
        ("discriminator", ours.discriminator.get_weights(), article.discriminator.get_weights()),
        ("g_optimizer", adam_slots(ours.g_optimizer), adam_slots(article.combined.optimizer)),
        ("d_optimizer", adam_slots(ours.d_optimizer), adam_slots(article.discriminator.optimizer)),
    ]:
        for one, other in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=TOLERANCE, err_msg=name)
