import numpy as np
import pytest
from builders import small_extractor, smooth_pixels
from narrowing import not_none

from gan.judging.definitions import METRICS
from gan.judging.features import Extractor
from gan.judging.image_statistics import ImageStatistics, influence_on_duplicates, real_radii
from gan.judging.judge import Judge, SnapshotJudge
from gan.judging.measured import rounded
from gan.judging.metrics.memorization import relative_to_other_images, relative_to_test
from gan.judging.metrics.neighbours import K_PRECISION_RECALL, ball_radii, density_coverage, precision_recall
from gan.judging.metrics.similar_images import ImageIndex, nearest_others
from gan.judging.metrics.two_sample import held_out_logits

N = 100


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    return small_extractor()


@pytest.fixture(scope="module")
def train_pixels() -> np.ndarray:
    return smooth_pixels(400, seed=0)


@pytest.fixture(scope="module")
def judge(extractor, train_pixels) -> Judge:
    return Judge(extractor, train_pixels, smooth_pixels(150, seed=1), n=N, seed=0)


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (N, 28, 28), dtype=np.uint8)


def numbers(statistics: ImageStatistics) -> dict[str, float]:
    return {definition.name: definition.measure(statistics) for definition in METRICS}


@pytest.fixture(scope="module")
def real_like(judge) -> ImageStatistics:
    """Statistics of images from the same distribution that are neither training nor test images."""
    return judge.examine(smooth_pixels(N, seed=3))


def test_real_images_have_values_near_the_floor(judge, real_like) -> None:
    found, floor = numbers(real_like), numbers(judge.floor)
    for share in ("precision", "recall", "coverage", "two_sample_accuracy"):
        assert found[share] == pytest.approx(floor[share], abs=0.15), share
    assert (found["density"], floor["density"]) == pytest.approx((1, 1), abs=0.25)
    assert found["two_sample_accuracy"] == pytest.approx(0.5, abs=0.15)
    assert found["total_variation"] == pytest.approx(floor["total_variation"], rel=0.1)
    assert found["class_entropy"] == pytest.approx(floor["class_entropy"], abs=0.3)
    assert found["confidence"] == pytest.approx(floor["confidence"], abs=0.05)
    assert found["nearest_training_image"] == pytest.approx(1, abs=0.3)
    assert found["near_copies"] < 0.1
    assert floor["nearest_training_image"] == pytest.approx(1, abs=0.3)
    assert floor["near_copies"] == pytest.approx(0.01, abs=0.02)
    standard_error = not_none(next(d for d in METRICS if d.name == "kernel_distance").standard_error)
    assert abs(found["kernel_distance"]) < 3 * standard_error(real_like)


def test_noise_is_worse_than_the_floor_in_the_direction_of_each_metric(judge, noise) -> None:
    found, floor = numbers(judge.examine(noise)), numbers(judge.floor)
    for definition in METRICS:
        value, at_best = found[definition.name], floor[definition.name]
        if definition.better == "lower":
            assert value > 1.5 * abs(at_best), definition.name
        elif definition.better == "up to real":
            assert value < 0.5 * at_best, definition.name
    assert found["two_sample_accuracy"] > 0.95
    assert found["total_variation"] > 3 * floor["total_variation"]
    assert found["nearest_training_image"] > 3
    assert found["near_copies"] == 0


def test_copies_of_training_images_are_near_copies_whose_nearest_image_is_the_original(judge, train_pixels) -> None:
    copies = judge.examine(train_pixels[200 : 200 + N])
    found = numbers(copies)
    assert (found["near_copies"], found["nearest_training_image"]) == (1, 0)
    np.testing.assert_array_equal(copies.fake.nearest, np.arange(200, 200 + N))


def test_a_collapsed_generator_has_one_class_no_recall_and_finite_numbers(judge) -> None:
    found = numbers(judge.examine(np.repeat(smooth_pixels(1, seed=5), N, axis=0)))
    assert found["class_entropy"] == 0
    assert found["recall"] == 0
    assert found["coverage"] < 0.2
    assert found["two_sample_accuracy"] > 0.9
    assert np.isfinite(list(found.values())).all()


def test_a_resample_of_every_image_once_changes_no_metric(real_like) -> None:
    every = np.arange(N)
    taken = real_like.take(every, every)
    assert numbers(taken) == numbers(real_like)
    for side in ("real", "fake"):
        for name in getattr(taken, side)._fields:
            original, chosen = getattr(getattr(real_like, side), name), getattr(getattr(taken, side), name)
            np.testing.assert_array_equal(chosen, original)


def test_a_resample_takes_rows_of_each_side_independently(real_like) -> None:
    taken = real_like.take(np.array([4, 4, 2]), np.array([7]))
    np.testing.assert_array_equal(taken.real.features, real_like.real.features[[4, 4, 2]])
    np.testing.assert_array_equal(taken.fake.features, real_like.fake.features[[7]])


def test_resamples_of_a_mean_vary_by_its_standard_error(real_like) -> None:
    rng = np.random.default_rng(0)
    kernel = next(definition for definition in METRICS if definition.name == "kernel_distance")
    resampled = [kernel.measure(real_like.take(rng.integers(0, N, N), rng.integers(0, N, N))) for _ in range(300)]
    assert np.std(resampled) == pytest.approx(not_none(kernel.standard_error)(real_like), rel=0.15)


def test_metrics_have_the_values_of_both_generators_and_of_the_floor(judge, real_like, noise) -> None:
    average = judge.examine(noise)
    metrics = judge.metrics(real_like, average)
    assert [metric.name for metric in metrics] == [definition.name for definition in METRICS]
    for metric, definition in zip(metrics, METRICS, strict=True):
        expected = tuple(rounded(definition.measure(each)) for each in (real_like, average, judge.floor))
        assert (metric.value, metric.average, metric.floor) == expected
        assert metric.n == N
        assert (metric.standard_error is not None) == (metric.name == "kernel_distance")
    extractors = {metric.name: metric.extractor for metric in metrics}
    assert extractors["recall"] == "small@00000000"
    assert (extractors["near_copies"], extractors["total_variation"]) == ("aligned pixels", "grey levels")


def test_snapshots_of_noise_collapse_and_real_like_images_are_ranked_in_that_order(extractor, noise) -> None:
    collapsed = np.repeat(smooth_pixels(1, seed=5), N, axis=0)
    snapshot_judge = SnapshotJudge(extractor, smooth_pixels(150, seed=1), N)
    distances, recalls = np.transpose([snapshot_judge(each) for each in (noise, collapsed, smooth_pixels(N, seed=6))])
    assert distances[0] > distances[1] > distances[2]
    assert recalls[0] == recalls[1] == 0
    assert recalls[2] > 0.8


def test_snapshots_of_fewer_images_are_compared_with_as_many_test_images(judge) -> None:
    pixels, test_pixels = smooth_pixels(150, seed=7), smooth_pixels(40, seed=8)
    by_30, by_40 = (SnapshotJudge(judge.extractor, test_pixels, num) for num in (30, 150))
    assert (by_30.n, by_40.n) == (30, 40)
    assert by_30(pixels) == by_30(pixels[:30])
    assert by_40(pixels) == by_40(pixels[:40]) != by_30(pixels)


def test_snapshots_are_compared_with_all_classes_even_if_the_split_is_sorted(extractor) -> None:
    bright, dark = np.full((60, 28, 28), 200, np.uint8), np.zeros((60, 28, 28), np.uint8)
    judge = SnapshotJudge(extractor, np.concatenate([bright, dark]), 40)
    one_class, both = np.repeat(bright[:1], 40, axis=0), np.concatenate([bright[:20], dark[:20]])
    assert judge(both)[0] < judge(one_class)[0] / 2


def test_a_classifier_can_be_fitted_again_for_a_subset(judge, real_like) -> None:
    part = real_like.classify_again(slice(0, None, 2), seed=0)
    real, fake = judge.test.values[::2], judge.extractor.features(smooth_pixels(N, seed=3)).values[::2]
    real_logits, fake_logits = held_out_logits(real, fake, np.random.default_rng(0))
    np.testing.assert_array_equal(part.real.logits, real_logits)
    np.testing.assert_array_equal(part.fake.logits, fake_logits)
    np.testing.assert_array_equal(part.fake.precise, real_like.fake.precise[::2])


def test_influences_change_no_value_but_that_of_a_resample(real_like) -> None:
    for influence in (
        real_like.real.on_precision,
        real_like.real.on_density,
        real_like.fake.on_recall,
        real_like.fake.on_coverage,
        real_like.fake.on_duplicates,
    ):
        assert abs(influence.mean()) < 1e-12
        assert influence.std() > 0


def test_the_influence_on_near_duplicates_is_what_leaving_out_an_image_changes() -> None:
    """With 16 images, every other image is a candidate for the nearest two."""
    images = smooth_pixels(16, 5)
    images[3:5] = np.roll(images[2], 1, axis=1)  # three like each other
    images[9] = images[8, :, ::-1]  # and a pair
    limit, found = 0.02, nearest_others(images)
    near = found.distances <= limit
    assert near[[2, 3, 4, 8, 9]].all()
    assert not near.all()
    influence = influence_on_duplicates(found.nearest, near, found.to_second <= limit)
    without = [(nearest_others(np.delete(images, row, axis=0)).distances <= limit).sum() for row in range(16)]
    lost = near.sum() - near - np.array(without)  # besides the image itself
    np.testing.assert_array_equal(lost[[2, 3, 4, 8, 9]], [0, 0, 0, 1, 1])
    np.testing.assert_allclose(influence, lost - lost.mean())


@pytest.mark.parametrize("name", ["precision", "recall", "density", "coverage"])
def test_the_influences_of_a_resample_change_a_metric_as_computing_it_again_does(judge, name) -> None:
    """The images of the side whose balls count are resampled; the balls of the remaining images are as before."""
    measure = next(definition.measure for definition in METRICS if definition.name == name)
    pixels = smooth_pixels(N, 3)
    statistics, real, fake = judge.examine(pixels), judge.test.values, judge.extractor.features(pixels).values
    rng, every, found, expected = np.random.default_rng(0), np.arange(N), [], []
    radii, fake_radii = real_radii(real), ball_radii(fake, K_PRECISION_RECALL)
    for _ in range(40):
        rows = rng.choice(N, N // 2, replace=False)
        if name in ("precision", "density"):
            of_rows = precision_recall(real[rows], fake, radii[0][rows], fake_radii)
            of_balls = density_coverage(real[rows], fake, radii[1][rows])
            taken = statistics.take(rows, every)
        else:
            of_rows = precision_recall(real, fake[rows], radii[0], fake_radii[rows])
            of_balls = density_coverage(real, fake[rows], radii[1])
            taken = statistics.take(every, rows)
        values = {
            "precision": of_rows.precise.mean(),
            "recall": of_rows.recalled.mean(),
            "density": of_balls.density.mean(),
            "coverage": of_balls.covered.mean(),
        }
        found.append(measure(taken))
        expected.append(values[name])
    assert np.corrcoef(found, expected)[0, 1] > 0.5


def test_near_copies_are_judged_by_class_and_against_the_whole_test_split_as_is_the_floor(judge) -> None:
    train, test = judge._splits
    index, pixels = ImageIndex(train), smooth_pixels(N, 9)
    classes, test_classes = (judge.extractor.features(images).classes for images in (pixels, test))
    test_distances = index.nearest(test)[1]
    relative, near_copy = relative_to_test(index.nearest(pixels)[1], classes, test_distances, test_classes)
    np.testing.assert_array_equal(judge.examine(pixels).fake.relative_distance, relative)
    np.testing.assert_array_equal(judge.examine(pixels).fake.near_copy, near_copy)
    relative, near_copy = relative_to_other_images(test_distances, test_classes)
    np.testing.assert_array_equal(judge.floor.fake.relative_distance, relative)
    np.testing.assert_array_equal(judge.floor.fake.near_copy, near_copy)


def test_images_that_repeat_with_small_changes_are_near_duplicates_by_class_and_compared_with_test_images(
    judge,
) -> None:
    pixels = smooth_pixels(N, 9)
    pixels[: N // 3] = np.roll(pixels[0], 1, axis=0)  # a third are one image
    pixels[1] = pixels[0, :, ::-1]
    pixels[2] = pixels[0] // 2
    statistics = judge.examine(pixels).fake
    assert statistics.near_duplicate[: N // 3].all()
    share, floor = (side.near_duplicate.mean() for side in (statistics, judge.floor.fake))
    assert N // 3 <= N * share <= 0.4 * N
    assert floor <= 0.05


def test_repeated_test_images_do_not_hide_near_duplicates(extractor, train_pixels) -> None:
    """The limit would be 0, as the nearest 1 % of test images are equal to another one."""
    test, pixels = smooth_pixels(N, 1), smooth_pixels(N, 9)
    test[:10] = test[10:20]
    noise = np.random.default_rng(0).integers(-1, 2, (N // 2, 28, 28))
    pixels[: N // 2] = np.clip(pixels[0].astype(int) + noise, 0, 255)
    judge = Judge(extractor, train_pixels, test, n=N, seed=0)
    assert judge.examine(pixels).fake.near_duplicate[: N // 2].all()


def test_equal_inputs_give_equal_metrics(extractor, judge, train_pixels, real_like) -> None:
    again = Judge(extractor, train_pixels, smooth_pixels(150, seed=1), n=N, seed=0)
    assert again.metrics(again.examine(smooth_pixels(N, seed=3)), again.floor) == judge.metrics(real_like, judge.floor)


def test_another_seed_chooses_other_real_images(extractor, judge, train_pixels) -> None:
    other = Judge(extractor, train_pixels, smooth_pixels(150, seed=1), n=N, seed=1)
    assert not np.array_equal(other.test_pixels, judge.test_pixels)


def test_the_statistics_of_an_image_do_not_depend_on_its_position(judge, real_like) -> None:
    reversed_order = judge.examine(smooth_pixels(N, seed=3)[::-1])
    for name in (
        "classes",
        "confidence",
        "precise",
        "density",
        "nearest",
        "relative_distance",
        "near_copy",
        "variation",
    ):
        found, expected = getattr(reversed_order.fake, name), getattr(real_like.fake, name)[::-1]
        np.testing.assert_allclose(found, expected, rtol=1e-5, err_msg=name)


def test_images_beyond_the_first_n_are_ignored(judge, real_like, noise) -> None:
    assert numbers(judge.examine(np.concatenate([smooth_pixels(N, seed=3), noise]))) == numbers(real_like)
