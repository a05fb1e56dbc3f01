import numpy as np

from gan.models.backend import keras, tf
from gan.training.losses import (
    fake_accuracy,
    fake_loss,
    generator_loss,
    gradient_penalty,
    ranking_accuracy,
    real_accuracy,
    real_loss,
    relativistic_loss,
)

LOGITS = tf.constant([[-3.0], [-0.5], [0.0], [0.25], [4.0]])


def test_losses_are_binary_cross_entropy_of_the_sigmoid() -> None:
    probabilities = tf.sigmoid(LOGITS)
    cross_entropy = keras.losses.BinaryCrossentropy()
    np.testing.assert_allclose(real_loss(LOGITS), cross_entropy(tf.ones((5, 1)), probabilities), rtol=1e-5)
    np.testing.assert_allclose(fake_loss(LOGITS), cross_entropy(tf.zeros((5, 1)), probabilities), rtol=1e-5)
    np.testing.assert_allclose(generator_loss(LOGITS), real_loss(LOGITS))


def test_losses_of_extreme_logits_are_finite() -> None:
    extreme = tf.constant([[-1e4], [1e4]])
    np.testing.assert_allclose([real_loss(extreme), fake_loss(extreme)], [5e3, 5e3])


def test_accuracy_counts_correct_classifications() -> None:
    np.testing.assert_allclose([real_accuracy(LOGITS), fake_accuracy(LOGITS)], [2 / 5, 3 / 5])


def test_the_relativistic_loss_depends_on_the_difference_of_the_logits() -> None:
    np.testing.assert_allclose(relativistic_loss(LOGITS, LOGITS), np.log(2), rtol=1e-6)
    ahead = relativistic_loss(winners=LOGITS + 3, losers=LOGITS)
    np.testing.assert_allclose(ahead, np.log1p(np.exp(-3)), rtol=1e-5)
    np.testing.assert_allclose(ranking_accuracy(LOGITS, tf.zeros((5, 1))), 2 / 5)


def test_the_gradient_penalty_is_the_mean_squared_norm() -> None:
    gradients = np.zeros((2, 4, 4, 1), np.float32)
    gradients[0, 0, :2, 0] = 3, 4
    np.testing.assert_allclose(gradient_penalty(tf.constant(gradients)), 25 / 2)
