"""One training step on several devices of a machine: each replica processes its part of the global batch.

Off by default: networks of this size spend more time on communication than on computation (docs/training.md).
"""

from gan.config import TrainConfig
from gan.errors import SettingsError
from gan.models.backend import tf
from gan.models.networks import Networks
from gan.training.article import TrainStep, update_discriminator, update_generator
from gan.training.draws import Draw, draw_indices, draw_latents_by_xla


def build_replicated(config: TrainConfig, strategy: tf.distribute.Strategy) -> Networks:
    """Build networks with a copy on every device; BatchNormalization uses the statistics of the global batch.

    Raises:
        SettingsError: If the batch cannot be split evenly.
    """
    num = strategy.num_replicas_in_sync
    if config.batch_size % num:
        raise SettingsError(
            f"A batch of {config.batch_size} cannot be split evenly over {num} devices.\n"
            f"Give a --batch-size that is a multiple of {num}."
        )
    with strategy.scope():
        networks = Networks.build(config.recipe, config.seed, synchronized=True)
        for optimizer in (networks.g_optimizer, networks.d_optimizer):
            optimizer.loss_scale_factor = num  # Keras sums gradients over replicas, but each loss is a mean
    return networks


def make_parallel_step(
    networks: Networks, images: tf.Tensor, config: TrainConfig, strategy: tf.distribute.Strategy
) -> TrainStep:
    """Compile the article's iteration for all devices; it uses the same batches and latents as on one device.

    XLA compiles the draws only: inside an XLA program, Keras's optimizers cannot exchange gradients.
    """
    num, shape = config.batch_size, (config.batch_size, config.recipe.latent_dim)
    share = num // strategy.num_replicas_in_sync

    def replica_step(real_images: tf.Tensor, latents: tf.Tensor, fresh_latents: tf.Tensor) -> tf.Tensor:
        first = tf.distribute.get_replica_context().replica_id_in_sync_group * share
        mine = slice(first, first + share)
        fake_images = networks.generator(latents[mine], training=False)
        d_loss, d_accuracy = update_discriminator(networks, real_images[mine], fake_images)
        g_loss = update_generator(networks, fresh_latents[mine])
        return tf.stack([d_loss, d_accuracy, g_loss])

    @tf.function(autograph=False)
    def parallel_step(step: tf.Tensor, _phase: int = 0) -> tf.Tensor:
        batch = (
            tf.gather(images, draw_indices(config.seed, step, num, images.shape[0])),
            draw_latents_by_xla(config.seed, step, Draw.DISCRIMINATOR_LATENTS, shape),
            draw_latents_by_xla(config.seed, step, Draw.GENERATOR_LATENTS, shape),
        )
        return strategy.reduce("MEAN", strategy.run(replica_step, args=batch), axis=None)

    compiled: TrainStep = parallel_step
    return compiled
