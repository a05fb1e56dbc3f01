"""One iteration of the recipe `article`, to be read beside it, line by line; `gan.training.losses` has the losses.

Everything random is a function of (seed, step): a training that is killed and goes on from a checkpoint draws the
same batches and latents, and ends with the same weights, as one that was never interrupted on the same device. The loop
around the iteration is in `gan.training.loop`, how it is run on some hardware in `gan.training.engine`.
"""

from gan.config import TrainConfig
from gan.models.backend import tf
from gan.models.networks import Networks
from gan.training.draws import Draw, draw_indices, draw_latents
from gan.training.losses import fake_accuracy, fake_loss, generator_loss, real_accuracy, real_loss
from gan.training.step import TrainStep, is_compiled_by_xla


def update_discriminator(
    networks: Networks, real_images: tf.Tensor, fake_images: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Two separate Adam updates of the discriminator: real images with label 1, then fake images with label 0.

    Returns:
        Means over the two updates of loss and accuracy, each taken before its update; float32 scalars.
    """
    discriminator, weights = networks.discriminator, networks.discriminator.trainable_variables
    losses, accuracies = [], []
    for images, loss_of, accuracy_of in (
        (real_images, real_loss, real_accuracy),
        (fake_images, fake_loss, fake_accuracy),
    ):
        with tf.GradientTape() as tape:
            logits = discriminator(images, training=True)
            loss = loss_of(logits)
        networks.d_optimizer.apply(tape.gradient(loss, weights), weights)
        losses.append(loss)
        accuracies.append(accuracy_of(logits))
    return sum(losses) / 2, sum(accuracies) / 2


def update_generator(networks: Networks, latents: tf.Tensor) -> tf.Tensor:
    """One Adam update of the generator, in training mode, through a discriminator that stays as it is.

    BatchNormalization uses the batch's statistics here, and this is where its moving statistics change.

    Returns:
        The loss before the update; float32 scalar.
    """
    weights = networks.generator.trainable_variables
    with tf.GradientTape() as tape:
        logits = networks.discriminator(networks.generator(latents, training=True), training=False)
        loss = generator_loss(logits)
    networks.g_optimizer.apply(tape.gradient(loss, weights), weights)
    return loss


def make_train_step(networks: Networks, images: tf.Tensor, config: TrainConfig) -> TrainStep:
    """Compile one iteration of the article (step 5, a to e).

    Args:
        networks: Changed in place by every call.
        images: The training split, float32 (n, 28, 28, 1) in [-1, 1], resident on the device.
        config: Batch size, seed and recipe.

    Returns:
        The compiled step.
    """
    num, shape = config.batch_size, (config.batch_size, config.recipe.latent_dim)

    def train_step(step: tf.Tensor, _phase: int = 0) -> tf.Tensor:
        real_images = tf.gather(images, draw_indices(config.seed, step, num, images.shape[0]))  # (num, 28, 28, 1)
        latents = draw_latents(config.seed, step, Draw.DISCRIMINATOR_LATENTS, shape)
        fake_images = networks.generator(latents, training=False)  # (num, 28, 28, 1), by the moving statistics
        d_loss, d_accuracy = update_discriminator(networks, real_images, fake_images)
        g_loss = update_generator(networks, draw_latents(config.seed, step, Draw.GENERATOR_LATENTS, shape))
        return tf.stack([d_loss, d_accuracy, g_loss])

    compiled: TrainStep = tf.function(train_step, jit_compile=is_compiled_by_xla(config.recipe), autograph=False)
    return compiled
