"""Losses as pure functions of logits. A logit says how real an image looks to the discriminator: D(x) = sigmoid(logit).

With labels y, binary cross-entropy is -E[y log D(x) + (1 - y) log(1 - D(x))]; with -log sigmoid(l) = softplus(-l) and
-log(1 - sigmoid(l)) = softplus(l) it needs no logarithm of a number near zero.
"""

from gan.models.backend import tf


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


def relativistic_loss(winners: tf.Tensor, losers: tf.Tensor) -> tf.Tensor:
    """Relativistic pairing loss: E[softplus(-(winner - loser))], eq. 2 of R3GAN, arXiv:2501.05441.

    It asks how much more real the winner looks than the loser beside it, so no mode of the data may be left to itself
    (Jolicoeur-Martineau 2018, arXiv:1807.00734; Sun et al. 2020, arXiv:2011.04926).

    Args:
        winners: float32, shape (n, 1), logits that are to be the larger ones: of real images for the discriminator,
            of generated ones for the generator.
        losers: float32, shape (n, 1), the others.

    Returns:
        float32 scalar >= 0; log 2 where they are equal.
    """
    return tf.reduce_mean(tf.nn.softplus(losers - winners))


def gradient_penalty(gradients: tf.Tensor) -> tf.Tensor:
    """Squared length of a logit's gradient by its image: E ||grad D(x)||^2, without the factor gamma / 2.

    On real images R1, on generated ones R2: eq. 9 and 10 of Mescheder et al. 2018, arXiv:1801.04406.

    Args:
        gradients: float32, shape (n, height, width, channels).

    Returns:
        float32 scalar >= 0.
    """
    return tf.reduce_mean(tf.reduce_sum(tf.square(gradients), axis=(1, 2, 3)))


def ranking_accuracy(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
    """Share of pairs of which the real image looks more real; scalar of the logits' dtype in [0, 1]."""
    return tf.reduce_mean(tf.cast(real_logits > fake_logits, real_logits.dtype))


def real_accuracy(real_logits: tf.Tensor) -> tf.Tensor:
    """Share of real images believed to be real (D > 0.5); scalar of the logits' dtype in [0, 1]."""
    return tf.reduce_mean(tf.cast(real_logits > 0.0, real_logits.dtype))


def fake_accuracy(fake_logits: tf.Tensor) -> tf.Tensor:
    """Share of generated images not believed to be real (D <= 0.5); scalar of the logits' dtype in [0, 1]."""
    return tf.reduce_mean(tf.cast(fake_logits <= 0.0, fake_logits.dtype))
