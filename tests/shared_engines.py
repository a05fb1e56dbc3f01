"""Share compiled training steps between trainings of equal networks, because compiling takes seconds."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

import gan.training.engine
import gan.training.loop
from gan.config import TrainConfig
from gan.models.backend import Hardware, keras
from gan.training.engine import Engine, build_engine
from gan.training.loop import TrainingResult

finish = gan.training.loop._finish


class SharedEngines:
    """Builds each engine once, and resets its variables to their initial values for each training."""

    def __init__(self) -> None:
        self._built: dict[tuple, tuple[Engine, list[np.ndarray]]] = {}

    def build(
        self, images: np.ndarray, config: TrainConfig, hardware: Hardware, conditions: np.ndarray | None = None
    ) -> Engine:
        """Return the engine that `build_engine` would return."""
        is_unrolled = config.steps >= gan.training.engine.UNROLL_FROM_STEPS  # tests change the limit
        by = None if conditions is None else conditions.tobytes()
        key = (config, is_unrolled, hardware, images.tobytes(), by)
        if key not in self._built:
            engine = build_engine(images, config, hardware, conditions)
            self._built[key] = engine, [variable.numpy() for variable in engine.networks.variables]
        engine, initial = self._built[key]
        for variable, value in zip(engine.networks.variables, initial, strict=True):
            variable.assign(value)
        return engine


def finish_with_copies(*arguments) -> TrainingResult:
    """Finish a training, and copy its networks, because the next training with the same engine changes them."""
    result = finish(*arguments)
    names = ("generator", "discriminator", "average")
    return replace(result, **{name: copied(getattr(result, name)) for name in names})


def copied(model: keras.Model) -> keras.Model:
    """Return a copy of a model with the same weights."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def share(engines: SharedEngines, patch: Callable[[object, str, object], None]) -> None:
    """Make trainings share engines."""
    patch(gan.training.loop, "build_engine", engines.build)
    patch(gan.training.loop, "_finish", finish_with_copies)
