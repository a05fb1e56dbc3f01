import os
import signal

import numpy as np
import pytest

from gan.backend import tf
from gan.checkpoints import Checkpoints
from gan.errors import TrainingError
from gan.training import Draw, Networks, draw_indices, draw_latents, make_train_step, train, update_discriminator
from gan.training import update_generator as update_generator_of


def weights(network) -> list[np.ndarray]:
    return [variable.numpy() for variable in network.variables]


def same(before: list[np.ndarray], after: list[np.ndarray]) -> list[bool]:
    return [np.array_equal(a, b) for a, b in zip(before, after, strict=True)]


@pytest.fixture
def networks(tiny_config) -> Networks:
    return Networks.build(tiny_config.recipe, seed=0)


@pytest.fixture
def checkpoints(tmp_path) -> Checkpoints:
    return Checkpoints(tmp_path / "checkpoints")


class Stop(Exception):  # noqa: N818
    """Ends a training from outside, as a crash would."""


def stop_after(steps: int):
    def on_step(done: int, row: np.ndarray) -> None:
        if done == steps:
            raise Stop

    return on_step


def test_discriminator_step_changes_every_weight_of_its_own_and_none_of_the_generator(networks, tiny_images) -> None:
    before_g, before_d = weights(networks.generator), weights(networks.discriminator)
    update_discriminator(networks, tf.constant(tiny_images[:8]), tf.constant(-tiny_images[:8]))
    assert all(same(before_g, weights(networks.generator)))
    assert not any(same(before_d, weights(networks.discriminator)))
    assert int(networks.d_optimizer.iterations) == 2, "two separate updates: real, then fake"
    assert int(networks.g_optimizer.iterations) == 0


def test_generator_step_changes_every_weight_of_its_own_and_none_of_the_discriminator(networks) -> None:
    before_g, before_d = weights(networks.generator), weights(networks.discriminator)
    update_generator_of(networks, tf.random.stateless_normal((8, 8), seed=(0, 0)))
    assert all(same(before_d, weights(networks.discriminator)))
    assert not any(same(before_g, weights(networks.generator))), "BatchNorm's moving statistics change here as well"
    assert int(networks.g_optimizer.iterations) == 1


def test_fakes_for_the_discriminator_leave_the_moving_statistics_alone(networks) -> None:
    before = weights(networks.generator)
    networks.generator(tf.ones((8, 8)), training=False)
    assert all(same(before, weights(networks.generator)))


def test_the_reported_values_are_means_of_the_two_updates(networks, tiny_images) -> None:
    real, fake = tf.constant(tiny_images[:8]), tf.constant(-tiny_images[:8])
    real_logits = networks.discriminator(real)
    d_loss, d_accuracy = update_discriminator(networks, real, fake)
    first_loss = float(tf.reduce_mean(tf.nn.softplus(-real_logits)))
    assert 0 <= float(d_accuracy) <= 1
    assert float(d_loss) > first_loss / 2


def test_the_first_adam_updates_have_the_recipes_size(networks, tiny_images, tiny_config) -> None:
    """Adam's first step is lr * g / (|g| + eps'): every weight with a gradient moves by the learning rate."""
    before = weights(networks.generator)[0]
    update_generator_of(networks, tf.random.stateless_normal((8, 8), seed=(0, 0)))
    moved = np.abs(weights(networks.generator)[0] - before)
    np.testing.assert_allclose(np.median(moved), tiny_config.recipe.learning_rate, rtol=0.02)


def test_randomness_is_a_function_of_seed_step_and_draw() -> None:
    def draw(seed: int, step: int, kind: Draw) -> np.ndarray:
        return draw_latents(seed, tf.constant(step, tf.int64), kind, (4, 8)).numpy()

    base = draw(0, 5, Draw.DISCRIMINATOR_LATENTS)
    np.testing.assert_array_equal(base, draw(0, 5, Draw.DISCRIMINATOR_LATENTS))
    others = [
        draw(1, 5, Draw.DISCRIMINATOR_LATENTS),
        draw(0, 6, Draw.DISCRIMINATOR_LATENTS),
        draw(0, 5, Draw.GENERATOR_LATENTS),
    ]
    assert not any(np.array_equal(base, other) for other in others)


def test_latents_are_standard_normal_and_indices_uniform_with_replacement() -> None:
    step = tf.constant(1, tf.int64)
    latents = draw_latents(0, step, Draw.GENERATOR_LATENTS, (2000, 50)).numpy()
    assert abs(latents.mean()) < 0.02
    assert abs(latents.std() - 1) < 0.02
    indices = draw_indices(0, step, 6000, 60).numpy()
    assert (indices.min(), indices.max()) == (0, 59)
    assert np.bincount(indices).std() == pytest.approx(10, rel=0.4), "with replacement: counts vary like a binomial's"


def test_the_compiled_step_is_the_algorithm(tiny_config, tiny_images) -> None:
    """XLA turns the same random bits into normal numbers in another way than eager kernels, so both draw by XLA."""
    images = tf.constant(tiny_images)
    draw = tf.function(draw_latents, jit_compile=True)
    compiled, by_hand = (Networks.build(tiny_config.recipe, seed=0) for _ in range(2))
    train_step = make_train_step(compiled, images, tiny_config)
    for number in range(3):
        step = tf.constant(number, tf.int64)
        row = train_step(step).numpy()
        real = tf.gather(images, draw_indices(tiny_config.seed, step, 8, len(tiny_images)))
        fake = by_hand.generator(draw(tiny_config.seed, step, Draw.DISCRIMINATOR_LATENTS, (8, 8)), training=False)
        d_loss, d_accuracy = update_discriminator(by_hand, real, fake)
        g_loss = update_generator_of(by_hand, draw(tiny_config.seed, step, Draw.GENERATOR_LATENTS, (8, 8)))
        np.testing.assert_allclose(row, [d_loss, d_accuracy, g_loss], rtol=1e-5)
    for one, other in zip(compiled.variables, by_hand.variables, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)  # XLA sums in another order than eager kernels


def test_training_records_every_step_and_the_asked_snapshots(tiny_config, tiny_images, checkpoints) -> None:
    seen = []
    result = train(tiny_images, tiny_config, checkpoints, on_step=lambda done, row: seen.append(done))
    assert seen == list(range(1, 13))
    assert result.history.shape == (12, 3)
    assert result.snapshot_steps == (0, 5, 10, 11)
    assert result.snapshots.shape == (4, 9, 28, 28)
    assert len({snapshot.tobytes() for snapshot in result.snapshots}) == 4


def equal_trainings(one, other) -> bool:
    return (
        one.history.tobytes() == other.history.tobytes()
        and one.snapshots.tobytes() == other.snapshots.tobytes()
        and all(same(weights(one.generator), weights(other.generator)))
        and all(same(weights(one.discriminator), weights(other.discriminator)))
    )


@pytest.mark.parametrize("stops", [(1,), (6,), (3, 7, 11)])
def test_a_training_that_was_interrupted_ends_with_the_same_bytes(tiny_config, tiny_images, tmp_path, stops) -> None:
    undisturbed = train(tiny_images, tiny_config, Checkpoints(tmp_path / "undisturbed"))
    every_step = Checkpoints(tmp_path / "disturbed", min_seconds_between=0)
    every_step.due = lambda: True
    for stop in stops:
        with pytest.raises(Stop):
            train(tiny_images, tiny_config, every_step, on_step=stop_after(stop))
    resumed = train(tiny_images, tiny_config, every_step)
    assert resumed.facts["resumed_at_step"] == stops[-1]
    assert equal_trainings(undisturbed, resumed)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_step_before_it_takes_effect(tiny_config, tiny_images, checkpoints, number) -> None:
    class Signalled(BaseException):
        pass

    def act(*_) -> None:
        raise Signalled

    before = signal.signal(number, act)
    try:
        with pytest.raises(Signalled):
            train(
                tiny_images,
                tiny_config,
                checkpoints,
                on_step=lambda done, row: done == 4 and os.kill(os.getpid(), number),
            )
    finally:
        signal.signal(number, before)
    assert checkpoints.latest_step() == 5


def test_a_loss_that_is_not_finite_stops_at_its_step_and_keeps_the_last_checkpoint(tiny_config, tiny_images, tmp_path):
    every_step = Checkpoints(tmp_path, min_seconds_between=0)
    every_step.due = lambda: True
    with pytest.raises(Stop):
        train(tiny_images, tiny_config, every_step, on_step=stop_after(4))
    with pytest.raises(
        TrainingError, match=r"step 4: a loss is not finite \(d_loss nan.*\n.*after 4 steps, is kept"
    ) as caught:
        train(np.full_like(tiny_images, np.nan), tiny_config, every_step)
    assert not caught.value.transient
    assert every_step.latest_step() == 4
