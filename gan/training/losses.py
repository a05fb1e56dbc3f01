"""Losses and accuracies as pure functions of logits.

A logit states how real an image is to the discriminator: D(x) = sigmoid(logit). Logits are float32 (n, 1). Every
function returns a float32 scalar. Losses are at least 0, and log 2 at zero logits; accuracies lie in [0, 1].

With labels y, binary cross-entropy is -E[y log D(x) + (1 - y) log(1 - D(x))]. Because -log sigmoid(l) = softplus(-l)
and -log(1 - sigmoid(l)) = softplus(l), no logarithm of a number near zero is needed.
"""

from gan.models.backend import tf


def real_loss(real_logits: tf.Tensor) -> tf.Tensor:
    """Return binary cross-entropy with label 1: E[softplus(-D_logit(x))], the first term of eq. 1, arXiv:1406.2661."""
    return tf.reduce_mean(tf.nn.softplus(-real_logits))


def fake_loss(fake_logits: tf.Tensor) -> tf.Tensor:
    """Return binary cross-entropy with label 0: E[softplus(D_logit(G(z)))], the second term of the same equation."""
    return tf.reduce_mean(tf.nn.softplus(fake_logits))


def generator_loss(fake_logits: tf.Tensor) -> tf.Tensor:
    """Return the non-saturating loss of section 3, arXiv:1406.2661: the loss of generated images with label 1."""
    return real_loss(fake_logits)


def relativistic_loss(winners: tf.Tensor, losers: tf.Tensor) -> tf.Tensor:
    """Return the relativistic pairing loss E[softplus(-(winner - loser))], eq. 2 of R3GAN, arXiv:2501.05441.

    It compares each real image with a generated one, so the generator cannot ignore a mode of the data
    (Jolicoeur-Martineau 2018, arXiv:1807.00734; Sun et al. 2020, arXiv:2011.04926).

    Args:
        winners: Logits to be raised: those of real images for the discriminator, of generated ones for the generator.
        losers: Logits to be lowered, one for each winner.
    """
    return tf.reduce_mean(tf.nn.softplus(losers - winners))


def gradient_penalty(gradients: tf.Tensor) -> tf.Tensor:
    """Return the mean squared norm of the logits' gradients: E ||grad D(x)||^2, without the factor gamma / 2.

    On real images it is R1, on generated ones R2: eq. 9 and 10 of Mescheder et al. 2018, arXiv:1801.04406.

    Args:
        gradients: Gradient of each image's logit with respect to the image, float32 (n, height, width, channels).
    """
    return tf.reduce_mean(tf.reduce_sum(tf.square(gradients), axis=(1, 2, 3)))


def ranking_accuracy(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
    """Return the share of pairs in which the real image has the larger logit."""
    return tf.reduce_mean(tf.cast(real_logits > fake_logits, real_logits.dtype))


def real_accuracy(real_logits: tf.Tensor) -> tf.Tensor:
    """Return the share of real images classified as real (D > 0.5)."""
    return tf.reduce_mean(tf.cast(real_logits > 0.0, real_logits.dtype))


def fake_accuracy(fake_logits: tf.Tensor) -> tf.Tensor:
    """Return the share of generated images classified as generated (D <= 0.5)."""
    return tf.reduce_mean(tf.cast(fake_logits <= 0.0, fake_logits.dtype))
