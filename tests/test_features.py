import numpy as np
import pytest
from builders import small_classifier, small_extractor, smooth_pixels

from gan.data.pixels import normalize_images
from gan.errors import StoreError
from gan.judging.classifier import build_classifier, fit_classifier, flip_and_shift
from gan.judging.features import SHIPPED_SHA256, Extractor, shipped_weights, softmax
from gan.models.networks import save_model
from gan.storage.files import sha256_of


def test_shipped_weights_have_the_expected_sha256_and_at_most_a_megabyte() -> None:
    for dataset, sha256 in SHIPPED_SHA256.items():
        path = shipped_weights(dataset)
        assert sha256_of(path) == sha256
        assert path.stat().st_size <= 1_000_000
        extractor = Extractor.load(path, dataset, sha256)
        assert extractor.name == f"{dataset}-cnn112@{sha256[:8]}"


def test_shipped_weights_have_the_architecture_of_the_command(tmp_path) -> None:
    """Their JSON descriptions, with layers, names and shapes, are equal."""
    shipped = Extractor.load(shipped_weights("fashion-mnist"), "fashion-mnist", SHIPPED_SHA256["fashion-mnist"])
    assert shipped.network.to_json() == build_classifier(10).to_json()


@pytest.mark.parametrize("damage", ["altered", "missing"])
def test_weights_with_another_sha256_are_refused(tmp_path, damage) -> None:
    path = tmp_path / "extractor.keras"
    save_model(small_classifier(3), path)
    sha256 = sha256_of(path)
    if damage == "altered":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    else:
        path.unlink()
    with pytest.raises(StoreError, match=f"not the expected file: SHA-256 .*, expected {sha256}"):
        Extractor.load(path, "tiny", sha256)


def test_features_do_not_depend_on_the_batch_size(monkeypatch) -> None:
    extractor = Extractor(small_classifier(3), "small", "0" * 64)
    pixels = smooth_pixels(10, seed=0)
    whole = extractor.features(pixels)
    monkeypatch.setattr("gan.judging.features.BATCH_SIZE", 4)
    by_four = extractor.features(pixels)
    np.testing.assert_allclose(by_four.values, whole.values, rtol=1e-5)
    np.testing.assert_allclose(by_four.probabilities.sum(axis=1), 1, rtol=1e-6)
    assert whole.classes.tolist() == whole.probabilities.argmax(axis=1).tolist()


def test_softmax_of_large_logits_does_not_overflow() -> None:
    np.testing.assert_allclose(softmax(np.array([[1e4, 1e4], [0, -1e4]])), [[0.5, 0.5], [1.0, 0.0]])
    np.testing.assert_array_equal(softmax(np.array([[3e38, -3e38]], np.float32)), [[1, 0]])


def test_augmentation_only_moves_and_mirrors_images() -> None:
    images = normalize_images(smooth_pixels(50, seed=0))
    images[:, [0, -1]] = images[:, :, [0, -1]] = -1  # a black border, so that no shift loses pixels
    moved = flip_and_shift(images, np.random.default_rng(0))
    assert moved.shape == images.shape
    np.testing.assert_allclose(np.sort(moved.reshape(50, -1)), np.sort(images.reshape(50, -1)))
    assert (moved != images).any(axis=(1, 2, 3)).mean() > 0.8


def test_a_classifier_learns_to_separate_two_visibly_different_classes(monkeypatch) -> None:
    monkeypatch.setattr("gan.judging.classifier.MIN_STEPS", 0)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 256).astype(np.uint8)
    noise = rng.integers(0, 256, (256, 28, 28), dtype=np.uint8)
    images = normalize_images(np.where(labels[:, np.newaxis, np.newaxis] == 1, smooth_pixels(256, seed=1), noise))
    classifier = fit_classifier(images[:192], labels[:192], 2, seed=0)
    _, logits = classifier(images[192:], training=True)  # moving averages have not converged after so few steps
    assert (np.asarray(logits).argmax(axis=1) == labels[192:]).mean() > 0.95


@pytest.mark.parametrize(
    ("layer", "value", "words"),
    [(-2, np.nan, "has weights"), (-1, np.nan, "has weights"), (-1, 3e38, "computes features")],
)
def test_broken_weights_raise_a_helpful_error(layer: int, value: float, words: str) -> None:
    extractor = small_extractor()
    broken = extractor.network.layers[layer]
    broken.set_weights([np.full_like(weights, value) for weights in broken.get_weights()])
    with pytest.raises(StoreError, match=rf"small@00000000 {words} that are not finite.*\n.*--refresh"):
        extractor.features(np.full((2, 28, 28), 255, np.uint8))
