"""TensorFlow and Keras, imported without their start-up chatter, and the device they run on.

TensorFlow's C++ side writes to the process's standard error before any log level is read. What it writes while it is
imported is kept back, and shown only if the import fails.
"""

import ctypes
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal

from gan.config import Device
from gan.errors import TrainingError
from gan.system.environment import keras_defaults


@contextmanager
def _standard_error_kept_back() -> Iterator[None]:
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(original, 2)
            kept.seek(0)
            os.write(2, kept.read())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)


with _standard_error_kept_back(), keras_defaults():
    import keras
    import tensorflow as tf

# In a sweep each training compiles programs of its own; TensorFlow takes them for one function that is traced in vain.
tf.get_logger().addFilter(lambda record: "triggered tf.function retracing" not in record.getMessage())

__all__ = ["Hardware", "keras", "release_free_memory", "tf", "use_device"]


@dataclass(frozen=True)
class Hardware:
    """What a process computes on."""

    kind: Literal["CPU", "GPU"]
    name: str  # for people: the GPU's own, or "CPU"
    strategy: tf.distribute.Strategy | None = None  # when a batch is split over several

    @property
    def folder_name(self) -> str:
        """The name as a folder's: letters, digits and dashes."""
        return re.sub("[^a-z0-9]+", "-", self.name.lower())


def use_device(device: Device, *, data_parallel: bool = False) -> Hardware:
    """Choose what this process computes on; call it before the first tensor is made.

    Args:
        device: "gpu" insists on one, "cpu" hides any, "auto" takes a GPU when there is one.
        data_parallel: Split each batch over all GPUs of this machine.

    Returns:
        What was chosen.

    Raises:
        TrainingError: If a GPU was asked for and TensorFlow sees none, or several and it sees fewer than two.
    """
    gpus = [] if device == "cpu" else tf.config.list_physical_devices("GPU")
    if device == "gpu" and not gpus:
        why = (
            "was built with CUDA but finds no usable GPU" if tf.test.is_built_with_cuda() else "was built without CUDA"
        )
        raise TrainingError(
            f"--device gpu was asked for, but TensorFlow {tf.__version__} {why}.\n"
            "Check that nvidia-smi lists one and that the CUDA build is installed "
            "(pip install 'tensorflow[and-cuda]'), or train with --device auto."
        )
    if device == "cpu":
        tf.config.set_visible_devices([], "GPU")
    if gpus:
        tf.config.experimental.enable_tensor_float_32_execution(False)  # recipes are in float32
        tf.config.experimental.enable_op_determinism()
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    if data_parallel and len(gpus) < 2:
        raise TrainingError(
            f"--data-parallel was asked for, but TensorFlow sees {len(gpus)} usable GPUs.\n"
            "Train without it: for networks of this size one device is faster anyway (docs/training.md)."
        )
    if not gpus:
        return Hardware("CPU", "CPU")
    name = str(tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU"))
    if not data_parallel:
        return Hardware("GPU", name)
    return Hardware("GPU", f"{len(gpus)} x {name}", tf.distribute.MirroredStrategy())


def release_free_memory() -> None:
    """Give memory that was freed back to the system: compiling leaves 200 MB of it in glibc's hands.

    Where the C library has no `malloc_trim` (musl, macOS, Windows) nothing happens.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
