"""Two stages, the classifier two-sample test: generated against real images, and real against real ones (the floor)."""

import numpy as np

from gan.config import Device, SampleConfig
from gan.storage.store import FileRef, Store
from tasks.records import NormalizedData, TwoSampleRecord
from tasks.stage import stage

FLOOR_SEED = 0


@stage(
    run_name="floor: separate real from real images",
    timeout_seconds=3600,
    incidental=("device",),
    reads={"data": ("train_images", "test_images")},
)
def measure_floor(
    store: Store, data: NormalizedData, num_samples: int, epochs: int | None, device: Device
) -> TwoSampleRecord:
    """Train a network on two parts of the training split, and test it on the test split and a third part.

    Args:
        store: The store that has the data.
        data: The normalized data set.
        num_samples: Images that the run is judged on. The more they are, the more images the network is trained on.
        epochs: Passes over the training images; None for the default of `two_sample_test`.
        device: The device to compute on.
    """
    from gan.data.pixels import denormalize_images
    from gan.judging.two_sample_network import num_training_images, real_against_real
    from gan.models.backend import use_device

    use_device(device)
    train_images, test_images = store.load_array(data.train_images), store.load_array(data.test_images)
    num = num_training_images(len(train_images), num_samples)
    pixels, unseen = denormalize_images(train_images), denormalize_images(test_images)
    result = real_against_real(pixels, unseen, num=num, seed=FLOOR_SEED, epochs=epochs)
    return TwoSampleRecord(accuracy=result.accuracy, num_training=num, logits=store.put_array(result.fake_logits))


@stage(
    run_name="separate generated from real images",
    timeout_seconds=3600,
    incidental=("device",),
    reads={"data": ("train_images", "train_labels", "test_images")},
)
def separate(
    store: Store, data: NormalizedData, average: FileRef, samples: SampleConfig, epochs: int | None, device: Device
) -> TwoSampleRecord:
    """Train a network on real and on new generated images, and test it on the test split and the run's samples.

    Args:
        store: The store that has the data and the generator.
        data: The normalized data set.
        average: The averaged generator, .keras.
        samples: Settings of the images that the run is judged on.
        epochs: Passes over the training images; None for the default of `two_sample_test`.
        device: The device to compute on.
    """
    from gan.data.pixels import denormalize_images
    from gan.judging.two_sample_network import num_training_images, two_sample_test
    from gan.models.backend import use_device
    from gan.models.generation import generate_pixels
    from gan.models.latents import Stream, sample_inputs
    from gan.models.networks import load_model

    use_device(device)
    train_images, labels = store.load_array(data.train_images), store.load_array(data.train_labels)
    num = num_training_images(len(train_images), samples.num_images)
    generator = load_model(store.path(average))
    fake, unseen_fake = (
        generate_pixels(generator, sample_inputs(generator, size, seed=samples.seed, stream=stream, like_labels=labels))
        for size, stream in ((num, Stream.TWO_SAMPLE), (samples.num_images, Stream.SAMPLES))
    )
    rows = np.random.default_rng(samples.seed).permutation(len(train_images))[:num]
    real = denormalize_images(np.asarray(train_images)[np.sort(rows)])
    unseen_real = denormalize_images(store.load_array(data.test_images))
    result = two_sample_test(real, fake, unseen_real, unseen_fake, seed=samples.seed, epochs=epochs)
    return TwoSampleRecord(accuracy=result.accuracy, num_training=num, logits=store.put_array(result.fake_logits))
