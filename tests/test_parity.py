"""Our step beside the article's own code on Keras 2: same initial weights, batches and latents, 20 iterations.

Both sides run in float64 here. In float32 they drift apart: Adam's first steps move a weight by the sign of its
gradient, near enough, so where a gradient is almost zero its rounding decides (after 20 iterations up to 6e-4 in a
weight, with some seeds). In float64 the same code leaves rounding no room: every weight, moving statistic and moment of
Adam agrees to 1e-6, measured 2e-8 and less (the learning rate itself is a float32 on one side).
"""

import numpy as np
import pytest

from bench.article import Article, k2
from gan.backend import keras, tf
from gan.config import TrainConfig
from gan.networks import Networks
from gan.training import Draw, draw_indices, draw_latents, make_advance, make_train_step

ITERATIONS = 20
TOLERANCE = 1e-6


@pytest.fixture
def float64():
    """Keras 2 and Keras 3 in double precision."""
    k2.backend.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    k2.backend.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


def adam_slots(optimizer) -> list[np.ndarray]:
    """First and second moments, in the order of the weights, of either Keras."""
    return [np.asarray(variable) for variable in optimizer.variables if len(variable.shape) > 0]


@pytest.mark.usefixtures("float64")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("seed", "steps_a_call"), [(0, 1), (12345, 4)])
def test_twenty_iterations_agree_with_the_articles_code_on_keras_2(tiny_images, seed, steps_a_call) -> None:
    config = TrainConfig(seed=seed, steps=ITERATIONS)
    images = tiny_images
    ours, article = Networks.build(config.recipe, seed), Article()
    article.generator.set_weights(ours.generator.get_weights())
    article.discriminator.set_weights(ours.discriminator.get_weights())
    advance = make_advance(make_train_step(ours, tf.constant(images), config), steps_a_call)
    rows = [row for start in range(0, ITERATIONS, steps_a_call) for row in advance(start, start + steps_a_call)]
    draw = tf.function(draw_latents, jit_compile=True)

    for number in range(ITERATIONS):
        step = tf.constant(number, tf.int64)
        real_images = images[draw_indices(seed, step, 128, len(images)).numpy()]
        latents, fresh_latents = (
            draw(seed, step, kind, (128, 100)).numpy() for kind in (Draw.DISCRIMINATOR_LATENTS, Draw.GENERATOR_LATENTS)
        )
        expected = article.iterate(real_images, latents, fresh_latents)
        np.testing.assert_allclose(rows[number], expected, atol=TOLERANCE)

    for name, mine, theirs in [
        ("generator", ours.generator.get_weights(), article.generator.get_weights()),
        ("discriminator", ours.discriminator.get_weights(), article.discriminator.get_weights()),
        ("g_optimizer", adam_slots(ours.g_optimizer), adam_slots(article.combined.optimizer)),
        ("d_optimizer", adam_slots(ours.d_optimizer), adam_slots(article.discriminator.optimizer)),
    ]:
        for one, other in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=TOLERANCE, err_msg=name)
