"""One training iteration of the recipe `article`; `gan.training.losses` defines its losses.

Every random draw is a function of (seed, step). A training that resumes from a checkpoint therefore draws the same
batches and latents as an uninterrupted one, and ends with the same weights on the same device.
"""

from gan.config import TrainConfig
from gan.models.backend import tf
from gan.models.networks import Networks
from gan.training.draws import Draw, draw_indices, draw_latents
from gan.training.losses import fake_accuracy, fake_loss, generator_loss, real_accuracy, real_loss
from gan.training.train_step import TrainStep


def update_discriminator(
    networks: Networks, real_images: tf.Tensor, fake_images: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Run two separate Adam updates of the discriminator: on real images (label 1), then on fake images (label 0).

    Return loss and accuracy, each taken before its update and averaged over the two updates; float32 scalars.
    """
    discriminator, weights = networks.discriminator, networks.discriminator.trainable_variables
    losses, accuracies = [], []
    halves = (real_images, real_loss, real_accuracy), (fake_images, fake_loss, fake_accuracy)
    for images, loss_of, accuracy_of in halves:
        with tf.GradientTape() as tape:
            logits = discriminator(images, training=True)
            loss = loss_of(logits)
        networks.d_optimizer.apply(tape.gradient(loss, weights), weights)
        losses.append(loss)
        accuracies.append(accuracy_of(logits))
    return sum(losses) / 2, sum(accuracies) / 2


def update_generator(networks: Networks, latents: tf.Tensor) -> tf.Tensor:
    """Run one Adam update of the generator, through a discriminator that does not change; return the loss before it.

    The generator runs in training mode: BatchNormalization uses batch statistics and updates its moving statistics.
    """
    weights = networks.generator.trainable_variables
    with tf.GradientTape() as tape:
        logits = networks.discriminator(networks.generator(latents, training=True), training=False)
        loss = generator_loss(logits)
    networks.g_optimizer.apply(tape.gradient(loss, weights), weights)
    return loss


def make_train_step(networks: Networks, images: tf.Tensor, config: TrainConfig) -> TrainStep:
    """Compile one iteration of the article (its step 5, a to e), which changes the networks in place.

    `images` are the training split, float32 (n, 28, 28, 1) in [-1, 1], resident on the device.
    """
    num, shape = config.batch_size, (config.batch_size, config.recipe.latent_dim)

    def train_step(step: tf.Tensor, _penalize: bool) -> tf.Tensor:
        real_images = tf.gather(images, draw_indices(config.seed, step, num, images.shape[0]))  # (num, 28, 28, 1)
        latents = draw_latents(config.seed, step, Draw.DISCRIMINATOR_LATENTS, shape)
        fake_images = networks.generator(latents, training=False)  # (num, 28, 28, 1), with the moving statistics
        d_loss, d_accuracy = update_discriminator(networks, real_images, fake_images)
        g_loss = update_generator(networks, draw_latents(config.seed, step, Draw.GENERATOR_LATENTS, shape))
        return tf.stack([d_loss, d_accuracy, g_loss])

    compiled: TrainStep = tf.function(train_step, jit_compile=config.recipe.uses_xla, autograph=False)
    return compiled
