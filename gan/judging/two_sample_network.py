"""A classifier two-sample test with a convolutional network on pixels.

Lopez-Paz and Oquab 2017, arXiv:1610.06545: a network learns to separate real from generated images, and is tested on
images of both kinds that it has not seen. An accuracy of 0.5 is guessing. The measured accuracy is a lower bound on
that of the best classifier: a larger network, more images or more steps may find more differences. The network finds
many more than a linear classifier on features (docs/judging.md).
"""

from dataclasses import dataclass

import numpy as np

from gan.data.pixels import IMAGE_SIZE, normalize_images
from gan.judging.metrics.two_sample import balanced_accuracy
from gan.models.backend import keras, tf
from gan.system.progress import progress

MAX_TRAINING_IMAGES = 25_000
SHARE_OF_TRAINING, SHARE_OF_TESTING = 25 / 60, 10 / 60
"""The floor splits the training split: up to 25/60 as real and 25/60 as generated images to train on, 10/60 as unseen
generated images."""

CONVOLUTIONS = (16, 3, 1), (32, 4, 2), (64, 4, 2)
"""Channels, size and stride. The first one has no stride: fine texture is what gives most images away."""

SLOPE, MOMENTUM = 0.1, 0.9
BATCH_SIZE, EPOCHS, MIN_STEPS = 64, 3, 100
PEAK_LEARNING_RATE, WARM_UP_SHARE = 6e-3, 0.1
MAX_EVALUATED = 500


@dataclass(frozen=True)
class TwoSampleResult:
    """The logits of "real" that the network gives to images it was not trained on."""

    real_logits: np.ndarray  # float32 (n,)
    fake_logits: np.ndarray  # float32 (m,)

    @property
    def accuracy(self) -> float:
        """Return the mean of the shares of real and of generated images that are classified correctly, 0 to 1."""
        return balanced_accuracy(self.real_logits, self.fake_logits)


def num_training_images(num_real: int, num_samples: int) -> int:
    """Return how many images of each kind to train on, given the sizes of the training split and of the sample."""
    wanted = round(num_samples * SHARE_OF_TRAINING / SHARE_OF_TESTING)
    return min(MAX_TRAINING_IMAGES, int(num_real * SHARE_OF_TRAINING), wanted)


def two_sample_test(
    real: np.ndarray,
    fake: np.ndarray,
    unseen_real: np.ndarray,
    unseen_fake: np.ndarray,
    *,
    seed: int,
    epochs: int | None = None,
) -> TwoSampleResult:
    """Train a network to separate real from generated images, and apply it to unseen ones.

    Equal seeds give equal bytes on the same device with the same number of processors.

    Args:
        real: Real images to train on, uint8 (k, 28, 28).
        fake: As many generated images to train on, uint8 (k, 28, 28).
        unseen_real: Real images to test on, uint8 (n, 28, 28).
        unseen_fake: Generated images to test on, uint8 (m, 28, 28).
        seed: Seeds the weights and the order of the images.
        epochs: Passes over the images; None for EPOCHS, or more if they have fewer than MIN_STEPS steps.
    """
    if len(real) != len(fake):
        raise ValueError(f"two_sample_test got {len(real)} real and {len(fake)} generated images; it expects as many.")
    network = _build_network(seed)
    _fit(network, real, fake, np.random.default_rng(seed), epochs)
    return TwoSampleResult(*(_logits(network, pixels) for pixels in (unseen_real, unseen_fake)))


def real_against_real(
    pixels: np.ndarray, unseen_real: np.ndarray, *, num: int, seed: int, epochs: int | None = None
) -> TwoSampleResult:
    """Return the result for real images in place of generated ones: what a perfect generator would reach.

    Args:
        pixels: The training split, uint8 (m, 28, 28); disjoint parts of it stand for real and for generated images.
        unseen_real: Real images to test on, uint8 (n, 28, 28).
        num: Images of each kind to train on, at most `num_training_images` of m.
        seed: Seeds the choice of the parts, the weights and the order of the images.
        epochs: As in `two_sample_test`.
    """
    order = np.random.default_rng(seed).permutation(len(pixels))
    rest = order[2 * num : 2 * num + min(len(unseen_real), int(len(pixels) * SHARE_OF_TESTING))]
    real, fake = pixels[order[:num]], pixels[order[num : 2 * num]]
    return two_sample_test(real, fake, unseen_real, pixels[rest], seed=seed, epochs=epochs)


def _build_network(seed: int) -> keras.Model:
    """Build CONVOLUTIONS with BatchNormalization, and one logit."""
    seeds = iter(np.random.SeedSequence(seed).generate_state(len(CONVOLUTIONS) + 1).tolist())
    stack: list[keras.Layer] = []
    for width, size, strides in CONVOLUTIONS:
        initializer = keras.initializers.HeNormal(seed=next(seeds))
        shape = {"strides": strides, "padding": "same", "use_bias": False, "kernel_initializer": initializer}
        stack += [
            keras.layers.Conv2D(width, size, **shape),
            keras.layers.BatchNormalization(momentum=MOMENTUM),
            keras.layers.LeakyReLU(SLOPE),
        ]
    last = keras.layers.Dense(1, kernel_initializer=keras.initializers.GlorotUniform(seed=next(seeds)))
    return keras.Sequential([keras.Input((IMAGE_SIZE, IMAGE_SIZE, 1)), *stack, keras.layers.Flatten(), last])


def _fit(
    network: keras.Model, real: np.ndarray, fake: np.ndarray, rng: np.random.Generator, epochs: int | None
) -> None:
    """Minimize the cross-entropy with Adam; half of each batch is real.

    The learning rate rises linearly, then falls along a cosine to 2 % of its peak.
    """
    half = min(BATCH_SIZE // 2, len(real))
    steps_per_epoch = len(real) // half
    epochs = epochs or max(EPOCHS, -(-MIN_STEPS // steps_per_epoch))
    steps = epochs * steps_per_epoch
    warm_up = max(1, round(WARM_UP_SHARE * steps))
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=PEAK_LEARNING_RATE, warmup_steps=warm_up
    )
    optimizer = keras.optimizers.Adam(schedule)
    optimizer.build(network.trainable_variables)
    loss_of = keras.losses.BinaryCrossentropy(from_logits=True)
    labels = tf.constant(np.repeat([1.0, 0.0], half).astype(np.float32)[:, np.newaxis])

    @tf.function(autograph=False)
    def step(images: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = loss_of(labels, network(images, training=True))
        optimizer.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)

    with progress("Training a network to separate real from generated images", steps, unit="steps") as update:
        for epoch in range(epochs):
            orders = rng.permutation(len(real)), rng.permutation(len(fake))
            for index in range(steps_per_epoch):
                rows = slice(index * half, (index + 1) * half)
                batch = np.concatenate([real[orders[0][rows]], fake[orders[1][rows]]])
                step(tf.constant(normalize_images(batch)))
                update(epoch * steps_per_epoch + index + 1, f"epoch {epoch + 1} of {epochs}")


def _logits(network: keras.Model, pixels: np.ndarray) -> np.ndarray:
    starts = range(0, len(pixels), MAX_EVALUATED)
    batches = (normalize_images(pixels[start : start + MAX_EVALUATED]) for start in starts)
    return np.concatenate([np.asarray(network(batch, training=False)) for batch in batches])[:, 0]
