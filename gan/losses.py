"""Losses as pure functions of logits. A logit says how real an image looks to the discriminator: D(x) = sigmoid(logit).

With labels y, binary cross-entropy is -E[y log D(x) + (1 - y) log(1 - D(x))]; with -log sigmoid(l) = softplus(-l) and
-log(1 - sigmoid(l)) = softplus(l) it needs no logarithm of a number near zero.
"""

from gan.backend import tf


def real_loss(real_logits: tf.Tensor) -> tf.Tensor:
    """Binary cross-entropy with label 1: E[softplus(-D_logit(x))], the first term of eq. 1, arXiv:1406.2661.

    Args:
        real_logits: float32, shape (n, 1), of real images.

    Returns:
        float32 scalar >= 0; log 2 at zero logits.
    """
    return tf.reduce_mean(tf.nn.softplus(-real_logits))


def fake_loss(fake_logits: tf.Tensor) -> tf.Tensor:
    """Binary cross-entropy with label 0: E[softplus(D_logit(G(z)))], the second term of eq. 1, arXiv:1406.2661.

    Args:
        fake_logits: float32, shape (n, 1), of generated images.

    Returns:
        float32 scalar >= 0; log 2 at zero logits.
    """
    return tf.reduce_mean(tf.nn.softplus(fake_logits))


def generator_loss(fake_logits: tf.Tensor) -> tf.Tensor:
    """The non-saturating loss of section 3, arXiv:1406.2661: label 1 for generated images.

    It is the real loss of fake logits: the generator wants its images believed.
    """
    return real_loss(fake_logits)


def real_accuracy(real_logits: tf.Tensor) -> tf.Tensor:
    """Share of real images believed to be real (D > 0.5); scalar of the logits' dtype in [0, 1]."""
    return tf.reduce_mean(tf.cast(real_logits > 0.0, real_logits.dtype))


def fake_accuracy(fake_logits: tf.Tensor) -> tf.Tensor:
    """Share of generated images not believed to be real (D <= 0.5); scalar of the logits' dtype in [0, 1]."""
    return tf.reduce_mean(tf.cast(fake_logits <= 0.0, fake_logits.dtype))
