import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from recording_callback import Stop, stop_after
from tiny_trainings import CPU, GPU, equal_trainings, every_step, same, train, weights

from gan.models.backend import keras
from gan.training.averaging import AVERAGE_EVERY
from gan.training.checkpoints import Checkpoints
from gan.training.engine import STEPS_PER_CALL, STEPS_PER_LOOP, next_stop
from gan.training.guards import CHECK_EVERY


def test_steps_unrolled_in_one_program_give_the_same_training(
    tiny_config, tiny_images, tmp_path, monkeypatch, shared_engines
) -> None:
    """Another program sums in another order, so equal to rounding; interrupted in between, equal to the byte."""
    config = tiny_config.model_copy(update={"steps": 25})
    one = train(tiny_images, config, Checkpoints(tmp_path / "one"))
    monkeypatch.setattr("gan.training.engine.UNROLL_FROM_STEPS", 25)
    several = train(tiny_images, config, Checkpoints(tmp_path / "several"))
    assert one.facts["engine"] == "one XLA program a step"
    assert several.facts["engine"] == f"one XLA program for {STEPS_PER_CALL} steps"
    np.testing.assert_allclose(one.history, several.history, rtol=1e-4, atol=1e-5)
    for mine, other in zip(weights(one.average), weights(several.average), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-3, atol=1e-4)

    disturbed = every_step(tmp_path / "disturbed")
    with pytest.raises(Stop):
        train(tiny_images, config, disturbed, on_step=stop_after(16))
    assert equal_trainings(several, train(tiny_images, config, disturbed))


@pytest.mark.parametrize(
    ("name", "engine_of_a_cpu"),
    [("tiny_config", "one XLA program a step"), ("tiny_conv", "one TensorFlow graph a step")],
)
def test_the_loop_of_a_gpu_gives_the_same_training(
    tiny_images, tmp_path, request, shared_engines, name, engine_of_a_cpu
) -> None:
    """As above: equal to rounding, and to the byte wherever the loop is cut. It runs on the CPU here."""
    config = request.getfixturevalue(name).model_copy(update={"steps": 9, "sample_every": 8})
    one = train(tiny_images, config, Checkpoints(tmp_path / "one"))
    loop = train(tiny_images, config, Checkpoints(tmp_path / "loop"), hardware=GPU)
    assert one.facts["engine"] == engine_of_a_cpu
    assert loop.facts["engine"] == f"a loop on the device, {config.recipe.gpu_precision}"
    losses = [0, 2]  # accuracies count near-ties at the start
    np.testing.assert_allclose(one.history[:, losses], loop.history[:, losses], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(one.snapshots[0].astype(int), loop.snapshots[0], atol=2)
    np.testing.assert_allclose(one.average_snapshots[0].astype(int), loop.average_snapshots[0], atol=2)
    engine = shared_engines.build(tiny_images, config, GPU)
    rows = [engine.run_steps(step, step + 1) for step in range(config.steps)]
    assert np.concatenate(rows).tobytes() == loop.history.tobytes()
    assert all(same(weights(engine.networks.generator), weights(loop.generator)))
    assert all(same(weights(engine.networks.discriminator), weights(loop.discriminator)))


@pytest.mark.parametrize("name", ["tiny_config", "tiny_mlp"])
def test_the_loop_of_a_gpu_moves_all_weights_as_single_steps_do(tiny_images, request, shared_engines, name) -> None:
    """That is, the average too, and with penalties in the same steps.

    A convolutional recipe is left out: its single steps draw other normal numbers from the same random bits.
    """
    config = request.getfixturevalue(name).model_copy(update={"steps": 9, "sample_every": 8})
    engines = [shared_engines.build(tiny_images, config, hardware) for hardware in (CPU, GPU)]
    single, loop = (engine.networks for engine in engines)
    parts = "generator", "discriminator", "average"
    initial = {part: flat(getattr(single, part)) for part in parts}
    for step in range(config.steps):
        engines[0].run_steps(step, step + 1)
    engines[1].run_steps(0, config.steps)
    for part in parts:
        moved = flat(getattr(single, part)) - initial[part]
        apart = flat(getattr(loop, part)) - flat(getattr(single, part))
        assert np.linalg.norm(apart) < 0.02 * np.linalg.norm(moved), part


def flat(model: keras.Model) -> np.ndarray:
    """Return all trainable weights of a model as one vector."""
    return np.concatenate([variable.numpy().ravel() for variable in model.trainable_variables])


@pytest.mark.parametrize("name", ["tiny_config", "tiny_mlp", "tiny_grouped", "tiny_conditional"])
def test_the_loop_of_a_gpu_resumes_with_the_same_bytes(tiny_images, tmp_path, request, shared_engines, name) -> None:
    config, labels = request.getfixturevalue(name), np.arange(len(tiny_images)) % 3
    uninterrupted = train(tiny_images, config, Checkpoints(tmp_path / "one"), hardware=GPU, labels=labels)
    disturbed = every_step(tmp_path / "disturbed")
    with pytest.raises(Stop):
        train(tiny_images, config, disturbed, on_step=stop_after(6), hardware=GPU, labels=labels)
    resumed = train(tiny_images, config, disturbed, hardware=GPU, labels=labels)
    assert resumed.facts["resumed_at_step"] == 6
    assert equal_trainings(uninterrupted, resumed)


def test_calls_end_at_snapshots_and_at_multiples_of_a_call(tiny_config) -> None:
    config = tiny_config.model_copy(update={"steps": 30, "sample_every": 12})
    stops = [0]
    while stops[-1] < config.steps:
        stops.append(next_stop(stops[-1], config, 8))
    assert stops == [0, 1, 8, 13, 16, 24, 25, 30]
    assert next_stop(7, config, 1) == 8
    assert CHECK_EVERY % STEPS_PER_LOOP == 0
    assert AVERAGE_EVERY % STEPS_PER_CALL == CHECK_EVERY % STEPS_PER_CALL == 0


def test_calls_of_all_lengths_share_one_program_on_a_gpu(tmp_path, tiny_config, tiny_conv) -> None:
    """Compiling takes seconds: with a program for each call, a training of seconds took minutes."""
    run_calls = (
        "import sys, numpy as np; from tiny_trainings import GPU\n"
        "from gan.config import TrainConfig; from gan.training.engine import build_engine\n"
        "for config in map(TrainConfig.model_validate_json, sys.argv[1:]):\n"
        "    engine = build_engine(np.zeros((64, 28, 28, 1), np.float32), config, GPU, None)\n"
        "    for start, stop in (0, 1), (1, 4), (4, 8): engine.run_steps(start, stop)\n"
    )
    configs = [config.model_dump_json() for config in (tiny_config, tiny_conv)]
    env = os.environ | {"XLA_FLAGS": f"--xla_dump_to={tmp_path}", "PYTHONPATH": f"{Path(__file__).parent}"}
    subprocess.run([sys.executable, "-c", run_calls, *configs], env=env, cwd=Path(__file__).parents[1], check=True)
    assert len(list(tmp_path.glob("*run_loop*.before_optimizations.txt"))) == len(configs)
