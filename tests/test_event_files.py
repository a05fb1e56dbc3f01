import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from gan.models.backend import Hardware
from gan.report.tensorboard import EventFiles
from gan.training.checkpoints import Checkpoints
from gan.training.loop import train

OTHER_RECIPES = [
    pytest.param(name, marks=pytest.mark.drill) for name in ("tiny_config", "tiny_mlp", "tiny_conditional")
]


@pytest.mark.parametrize("recipe", ["tiny_grouped", *OTHER_RECIPES])
def test_a_training_with_event_files_is_the_same_to_the_bit(
    recipe, tiny_images, tmp_path, request, shared_engines
) -> None:
    config, hardware = request.getfixturevalue(recipe).model_copy(update={"steps": 21}), Hardware("CPU", "CPU")
    labels = np.arange(len(tiny_images)) % 3
    alone = train(tiny_images, config, Checkpoints(tmp_path / "alone"), hardware, labels=labels)
    event_files = EventFiles(tmp_path / "events", tiny_images, config)
    watched = train(
        tiny_images, config, Checkpoints(tmp_path / "watched"), hardware, labels=labels, callbacks=[event_files]
    )
    for mine, other in zip(alone.generator.get_weights(), watched.generator.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)

    events = EventAccumulator(str(tmp_path / "events"), size_guidance={"tensors": 0}).Reload()
    tags = set(events.Tags()["tensors"])
    assert tags == {
        "training/d_loss",
        "training/d_accuracy",
        "training/g_loss",
        "gradient_norm/generator",
        "gradient_norm/discriminator",
        "fixed latents",
    }
    losses = [(event.step, float(make_ndarray(event.tensor_proto))) for event in events.Tensors("training/d_loss")]
    np.testing.assert_allclose(losses, [(step, watched.history[step - 1, 0]) for step in (10, 20)])
    assert [event.step for event in events.Tensors("fixed latents")] == [1, 6, 11, 16, 21]
    assert all(make_ndarray(event.tensor_proto) > 0 for event in events.Tensors("gradient_norm/generator"))
