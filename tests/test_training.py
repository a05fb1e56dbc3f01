import os
import signal

import numpy as np
import pytest
from narrowing import not_none
from recording_callback import Stop, stop_after
from tiny_trainings import CPU, equal_trainings, every_step, newest_step, same, train, weights

import gan.training.engine
import gan.training.loop
from gan.errors import TrainingError
from gan.models.backend import keras, tf
from gan.models.networks import Networks
from gan.training.article import update_discriminator
from gan.training.article import update_generator as update_generator_of
from gan.training.checkpoints import Checkpoints
from gan.training.draws import Draw, draw_indices, draw_latents, draw_latents_by_xla
from gan.training.state import TrainingState

ON_GROUPS = {"num_groups": 4, "mismatch_weight": 1.0}


@pytest.fixture
def networks(tiny_config) -> Networks:
    return Networks.build(tiny_config.recipe, seed=0)


@pytest.fixture
def checkpoints(tmp_path) -> Checkpoints:
    return Checkpoints(tmp_path / "checkpoints")


def test_discriminator_step_changes_all_its_own_weights_and_none_of_the_generator(networks, tiny_images) -> None:
    before_g, before_d = weights(networks.generator), weights(networks.discriminator)
    update_discriminator(networks, tf.constant(tiny_images[:8]), tf.constant(-tiny_images[:8]))
    assert all(same(before_g, weights(networks.generator)))
    assert not any(same(before_d, weights(networks.discriminator)))
    assert int(networks.d_optimizer.iterations) == 2, "two separate updates: real, then fake"
    assert int(networks.g_optimizer.iterations) == 0


def test_generator_step_changes_all_its_own_weights_and_none_of_the_discriminator(networks) -> None:
    before_g, before_d = weights(networks.generator), weights(networks.discriminator)
    update_generator_of(networks, tf.random.stateless_normal((8, 8), seed=(0, 0)))
    assert all(same(before_d, weights(networks.discriminator)))
    assert not any(same(before_g, weights(networks.generator))), "BatchNorm's moving statistics change here as well"
    assert int(networks.g_optimizer.iterations) == 1


def test_a_step_updates_the_moving_statistics_from_the_generators_batch_only(
    tiny_config, tiny_images, shared_engines
) -> None:
    """The fakes for the discriminator do not change them."""
    engine = shared_engines.build(tiny_images, tiny_config, CPU)
    layers = engine.networks.generator.layers
    layer = next(layer for layer in layers if layer.name == "batch_norm_0")
    latents = draw_latents_by_xla(tiny_config.seed, tf.constant(0, tf.int64), Draw.GENERATOR_LATENTS, (8, 8))
    activations = layers[1](layers[0](latents)).numpy()
    engine.run_steps(0, 1)
    momentum = tiny_config.recipe.batch_norm_momentum
    np.testing.assert_allclose(layer.moving_mean, (1 - momentum) * activations.mean(axis=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(layer.moving_variance, momentum + (1 - momentum) * activations.var(axis=0), rtol=1e-4)


def test_the_reported_values_are_means_of_the_two_updates(networks, tiny_images) -> None:
    real, fake = tf.constant(tiny_images[:8]), tf.constant(-tiny_images[:8])
    by_hand = keras.models.clone_model(networks.discriminator)
    by_hand.set_weights(networks.discriminator.get_weights())
    d_loss, d_accuracy = update_discriminator(networks, real, fake)
    expected_loss, expected_accuracy = [], []
    optimizer = keras.optimizers.Adam(2e-4, 0.5)
    for images, label in ((real, 1.0), (fake, 0.0)):
        with tf.GradientTape() as tape:
            probability = tf.sigmoid(by_hand(images))
            loss = tf.reduce_mean(keras.losses.binary_crossentropy(tf.fill((8, 1), label), probability))
        expected_loss.append(float(loss))
        expected_accuracy.append(float(np.mean((probability.numpy() > 0.5) == label)))
        optimizer.apply_gradients(
            zip(tape.gradient(loss, by_hand.trainable_variables), by_hand.trainable_variables, strict=True)
        )
    assert float(d_loss) == pytest.approx(np.mean(expected_loss), rel=1e-5)
    assert float(d_accuracy) == pytest.approx(np.mean(expected_accuracy))


def test_the_first_adam_update_moves_weights_by_the_learning_rate(networks, tiny_images, tiny_config) -> None:
    """Adam's first step is lr * g / (|g| + eps'): every weight with a gradient moves by the learning rate."""
    before = weights(networks.generator)[0]
    update_generator_of(networks, tf.random.stateless_normal((8, 8), seed=(0, 0)))
    moved = np.abs(weights(networks.generator)[0] - before)
    np.testing.assert_allclose(np.median(moved), tiny_config.recipe.learning_rate, rtol=0.02)


def test_randomness_is_a_function_of_seed_step_and_draw() -> None:
    def draw(seed: int, step: int, which: Draw) -> np.ndarray:
        return draw_latents(seed, tf.constant(step, tf.int64), which, (4, 8)).numpy()

    def indices(seed: int, step: int) -> np.ndarray:
        return draw_indices(seed, tf.constant(step, tf.int64), 32, 1000).numpy()

    of_latents = Draw.DISCRIMINATOR_LATENTS, Draw.GENERATOR_LATENTS
    places = [(seed, step) for seed in (0, 1, 2) for step in range(4)]
    latents = {draw(*place, which).tobytes() for place in places for which in of_latents}
    assert latents == {draw(*place, which).tobytes() for place in places for which in of_latents}
    assert len(latents) == len(places) * len(of_latents), "no two steps, draws or seeds share latents"
    assert len({indices(*place).tobytes() for place in places}) == len(places)


def test_latents_are_standard_normal_and_indices_uniform_with_replacement() -> None:
    step = tf.constant(1, tf.int64)
    latents = draw_latents(0, step, Draw.GENERATOR_LATENTS, (2000, 50)).numpy()
    assert abs(latents.mean()) < 0.02
    assert abs(latents.std() - 1) < 0.02
    indices = draw_indices(0, step, 6000, 60).numpy()
    assert (indices.min(), indices.max()) == (0, 59)
    assert np.bincount(indices).std() == pytest.approx(10, rel=0.4), "with replacement: counts vary like a binomial's"


def test_the_compiled_step_is_the_algorithm(tiny_config, tiny_images, shared_engines) -> None:
    """Both sides draw with XLA, since eager kernels turn the same random bits into other normal numbers."""
    images = tf.constant(tiny_images)
    engine = shared_engines.build(tiny_images, tiny_config, CPU)
    compiled, by_hand = engine.networks, Networks.build(tiny_config.recipe, tiny_config.seed)
    for number in range(3):
        step = tf.constant(number, tf.int64)
        (row,) = engine.run_steps(number, number + 1)
        real = tf.gather(images, draw_indices(tiny_config.seed, step, 8, len(tiny_images)))
        fake = by_hand.generator(
            draw_latents_by_xla(tiny_config.seed, step, Draw.DISCRIMINATOR_LATENTS, (8, 8)), training=False
        )
        d_loss, d_accuracy = update_discriminator(by_hand, real, fake)
        g_loss = update_generator_of(
            by_hand, draw_latents_by_xla(tiny_config.seed, step, Draw.GENERATOR_LATENTS, (8, 8))
        )
        np.testing.assert_allclose(row, [d_loss, d_accuracy, g_loss], rtol=1e-5)
    for one, other in zip(compiled.variables, by_hand.variables, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)  # XLA sums in another order than eager kernels


def test_training_records_every_step_and_the_configured_snapshots(
    tiny_config, tiny_images, checkpoints, shared_engines
) -> None:
    seen = []
    result = train(tiny_images, tiny_config, checkpoints, on_step=lambda done, row: seen.append(done))
    assert seen == list(range(1, 13))
    assert result.history.shape == (12, 3)
    assert tiny_config.snapshot_steps == (0, 5, 10, 11)
    assert result.snapshots.shape == (4, 9, 28, 28)
    assert len({snapshot.tobytes() for snapshot in result.snapshots}) == 4
    assert result.average_snapshots.shape == (4, 9, 28, 28)
    first, second, *others = (snapshot.tobytes() for snapshot in result.average_snapshots)
    assert first == second, "the average is updated every eight steps"
    assert len({first, *others, *(snapshot.tobytes() for snapshot in result.snapshots)}) == 7


@pytest.mark.parametrize("stops", [(1,), (6,), (3, 7, 11)])
def test_an_interrupted_training_ends_with_the_same_bytes(
    tiny_config, tiny_images, tmp_path, shared_engines, stops
) -> None:
    assert_interruptions_change_nothing(tiny_images, tiny_config, tmp_path, stops)


def test_an_interrupted_training_that_compiles_its_own_step_ends_with_the_same_bytes(
    tiny_config, tiny_images, tmp_path
) -> None:
    assert_interruptions_change_nothing(tiny_images, tiny_config, tmp_path, (6,))


def assert_interruptions_change_nothing(images, config, folder, stops) -> None:
    uninterrupted = train(images, config, Checkpoints(folder / "uninterrupted"))
    disturbed = every_step(folder / "disturbed")
    for stop in stops:
        with pytest.raises(Stop):
            train(images, config, disturbed, on_step=stop_after(stop))
    resumed = train(images, config, disturbed)
    assert resumed.facts["resumed_at_step"] == stops[-1]
    assert equal_trainings(uninterrupted, resumed)


@pytest.mark.parametrize(
    ("unroll_from", "conditioning"),
    [
        pytest.param(0, ON_GROUPS, id="unrolled, on groups"),
        pytest.param(10**6, {}, id="one step per call, unconditional"),
        pytest.param(0, {}, id="unrolled, unconditional", marks=pytest.mark.drill),
        pytest.param(10**6, ON_GROUPS, id="one step per call, on groups", marks=pytest.mark.drill),
    ],
)
def test_a_resumed_training_of_mlp_continues_in_the_same_phase_of_its_penalties(
    tiny_mlp, tiny_images, tmp_path, monkeypatch, shared_engines, unroll_from, conditioning
) -> None:
    """Snapshots cut calls of four steps in two, after the steps 0, 5 and 10."""
    monkeypatch.setattr(gan.training.engine, "UNROLL_FROM_STEPS", unroll_from)
    config = tiny_mlp.model_copy(update={"recipe": tiny_mlp.recipe.model_copy(update=conditioning)})
    assert_interruptions_change_nothing(tiny_images, config, tmp_path, (1, 6))


def test_an_interrupted_training_of_convolutions_ends_with_the_same_bytes(
    tiny_conv, tiny_images, tmp_path, shared_engines
) -> None:
    config = tiny_conv.model_copy(update={"steps": 40, "batch_size": 32})
    assert_interruptions_change_nothing(tiny_images, config, tmp_path, (1, 22))


def test_the_checkpoints_of_another_training_are_refused(tiny_config, tiny_images, tmp_path, shared_engines) -> None:
    checkpoints = every_step(tmp_path)
    with pytest.raises(Stop):
        train(tiny_images, tiny_config, checkpoints, on_step=stop_after(2))
    for other in ({"seed": 4}, {"batch_size": 4}, {"steps": 10}):
        with pytest.raises(TrainingError, match="belong to another training"):
            train(tiny_images, tiny_config.model_copy(update=other), checkpoints)
    with pytest.raises(TrainingError, match="belong to another training"):
        train(-tiny_images, tiny_config, checkpoints)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("step", "saved"), [(4, 5), (12, 12)])  # in the next step, or at the end
def test_a_signal_takes_effect_after_the_step_is_saved(
    tiny_config, tiny_images, checkpoints, shared_engines, number, step, saved
) -> None:
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
                on_step=lambda done, row: done == step and os.kill(os.getpid(), number),
            )
    finally:
        signal.signal(number, before)
    assert newest_step(checkpoints) == saved


def test_a_signal_in_the_last_step_hides_no_event(tiny_config, tiny_images, checkpoints, shared_engines) -> None:
    seen: list[int] = []

    def on_step(done: int, _: np.ndarray) -> None:
        seen.append(done)
        if done == tiny_config.steps - 1:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        train(tiny_images, tiny_config, checkpoints, on_step=on_step)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [*range(1, tiny_config.steps + 1)]


def poison(checkpoints: Checkpoints, steps: int, value: float, name: str) -> None:
    """Replace the checkpoints by one in which a variable is not finite."""
    step, arrays = not_none(checkpoints.load_latest())
    assert step == steps
    for path in checkpoints.folder.iterdir():
        path.unlink()
    checkpoints.save(step, arrays | {name: np.full_like(arrays[name], value)})


def index_of(config, part: str, which: str) -> str:
    """The name in a checkpoint of the first variable of a part of the networks whose path has `which` in it."""
    networks = Networks.build(config.recipe, config.seed)
    wanted = next(v for v in getattr(networks, part).variables if which in v.path and len(v.shape) == 2)
    index = next(index for index, variable in enumerate(networks.variables) if variable is wanted)
    return f"variable_{index:03}"


def test_a_loss_that_is_not_finite_stops_training_and_keeps_the_last_checkpoint(
    tiny_config, tiny_images, tmp_path, shared_engines
):
    checkpoints = every_step(tmp_path)
    with pytest.raises(Stop):
        train(tiny_images, tiny_config, checkpoints, on_step=stop_after(4))
    kernel = index_of(tiny_config, "discriminator", "kernel")
    poison(checkpoints, 4, np.nan, kernel)
    with pytest.raises(
        TrainingError,
        match=r"step 4: not finite: d_loss \(not a number\), g_loss \(not a number\); \w+/dense_0/kernel\.\n",
    ) as caught:
        train(tiny_images, tiny_config, checkpoints)
    assert not caught.value.transient
    assert newest_step(checkpoints) == 4


@pytest.mark.parametrize("step", [3, 5])  # after step 3 the checkpoint meets the spoiled weights, after 5 the snapshot
def test_weights_spoiled_by_the_last_update_are_never_saved_or_drawn(
    tiny_config, tiny_images, tmp_path, shared_engines, step
) -> None:
    checkpoints = every_step(tmp_path)
    with pytest.raises(Stop):
        train(tiny_images, tiny_config, checkpoints, on_step=stop_after(step))
    poison(checkpoints, step, np.inf, index_of(tiny_config, "g_optimizer", "momentum"))
    saved = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(TrainingError, match=rf"step {step}: not finite: generator/dense_0/kernel\.\n"):
        train(tiny_images, tiny_config, checkpoints)
    assert sorted(path.name for path in tmp_path.iterdir()) == saved


def test_training_resumes_from_the_previous_checkpoint_if_the_newest_is_truncated(
    tiny_config, tiny_images, tmp_path, shared_engines
):
    uninterrupted = train(tiny_images, tiny_config, Checkpoints(tmp_path / "uninterrupted"))
    torn = every_step(tmp_path / "torn")
    with pytest.raises(Stop):
        train(tiny_images, tiny_config, torn, on_step=stop_after(7))
    newest = max((tmp_path / "torn").iterdir())
    newest.write_bytes(newest.read_bytes()[:-100])
    resumed = train(tiny_images, tiny_config, torn)
    assert resumed.facts["resumed_at_step"] == 6
    assert equal_trainings(uninterrupted, resumed)


def test_collapse_is_warned_of_once_and_stops_training_if_configured(
    tiny_config, tiny_images, tmp_path, monkeypatch, caplog, shared_engines
):
    monkeypatch.setattr("gan.training.loop.CHECK_EVERY", 2)
    monkeypatch.setattr("gan.training.guards.MIN_STEPS", 4)
    monkeypatch.setattr("gan.training.guards.MIN_RELATIVE_SPREAD", 1e9)
    result = train(tiny_images, tiny_config, every_step(tmp_path / "on"))
    (warning,) = result.warnings
    assert warning.startswith("Mode collapse after 4 steps")
    assert caplog.text.count("Mode collapse") == 1
    interrupted = every_step(tmp_path / "interrupted")
    with pytest.raises(Stop):
        train(tiny_images, tiny_config, interrupted, on_step=stop_after(8))
    _, saved = not_none(interrupted.load_latest())
    resumed = train(tiny_images, tiny_config, interrupted)
    assert resumed.warnings == result.warnings, "the gate refuses a run with a warning, also one that was resumed"
    assert float(resumed.facts["training_seconds"]) >= round(float(saved["seconds"][0]), 1)
    stopped = every_step(tmp_path / "stopped")
    with pytest.raises(TrainingError, match="--stop-on-collapse asks"):
        train(tiny_images, tiny_config, stopped, stop_on_collapse=True)
    assert newest_step(stopped) == 3
    with pytest.raises(Stop):
        train(tiny_images, tiny_config, stopped, on_step=stop_after(8))
    monkeypatch.setattr("gan.training.guards.MIN_RELATIVE_SPREAD", 0.0)  # it has recovered
    with pytest.raises(TrainingError, match="before it was interrupted, and --stop-on-collapse refuses it"):
        train(tiny_images, tiny_config, stopped, stop_on_collapse=True)


@pytest.mark.parametrize(("num_calls", "expected"), [(1, 5000), (2, 200), (3, 150), (9, 125)])
def test_the_time_of_a_step_weights_steps_with_penalties_by_their_frequency(tiny_config, num_calls, expected) -> None:
    state = TrainingState.empty(tiny_config)
    for seconds in [5.0, *([0.2, 0.1, 0.1, 0.1] * 3)][:num_calls]:
        state.record(np.zeros((1, 3), np.float32), seconds)
    before = state.timings()
    assert before["milliseconds_per_step"] == expected
    assert before["first_call_seconds"] == 5
    state.record_snapshot(3.0)
    after = state.timings()
    assert after["milliseconds_per_step"] == expected
    assert after["training_seconds"] == before["training_seconds"] + 3
    assert after["snapshot_seconds"] == 3
