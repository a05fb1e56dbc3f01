"""TensorFlow and Keras, imported without their start-up messages, and the choice of the device.

TensorFlow's C++ code writes to standard error before it reads any log level. This module captures that output during
the import, and prints it only if the import fails.
"""

import ctypes
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Literal

from gan.config import Device
from gan.errors import TrainingError
from gan.recipes import Precision
from gan.system.environment import keras_defaults, num_processors
from gan.system.gpus import count_gpus


@contextmanager
def _captured_standard_error() -> Iterator[None]:
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(original, 2)
            captured.seek(0)
            os.write(2, captured.read())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)


with _captured_standard_error(), keras_defaults():
    import keras
    import tensorflow as tf

# In a sweep each training compiles its own programs; TensorFlow mistakes them for one function that is retraced.
tf.get_logger().addFilter(lambda record: "triggered tf.function retracing" not in record.getMessage())

log = logging.getLogger(__name__)

__all__ = ["Hardware", "keras", "release_free_memory", "tf", "use_device"]


@dataclass(frozen=True)
class Hardware:
    """The device that this process computes on."""

    device_type: Literal["CPU", "GPU"]
    name: str  # human-readable: the GPU's model, or "CPU"

    @property
    def folder_name(self) -> str:
        """Return a folder name, such as "cpu-2-threads", that differs where the same training gives other bytes.

        On a CPU the number of threads decides in which order convolutions are summed.
        """
        name = self.name if self.device_type == "GPU" else f"{self.name} {num_processors()} threads"
        return re.sub("[^a-z0-9]+", "-", name.lower())


def use_device(device: Device, precision: Precision = "float32") -> Hardware:
    """Choose the device of this process; call it before the first tensor is created.

    Args:
        device: "gpu" requires a GPU, "cpu" hides all GPUs, "auto" uses a GPU if there is one.
        precision: Of matrix products and convolutions on a GPU; a CPU always computes float32. Algorithms are
            deterministic with "float32", but not with "tf32".

    Raises:
        TrainingError: If a required GPU is missing.
    """
    gpus = [] if device == "cpu" else tf.config.list_physical_devices("GPU")[:1]  # a process uses one of them
    if device == "gpu" and not gpus:
        with_cuda = tf.test.is_built_with_cuda()
        why = "was built with CUDA but finds no usable GPU" if with_cuda else "was built without CUDA"
        raise TrainingError(
            f"--device gpu was asked for, but TensorFlow {tf.__version__} {why}.\n"
            "Check that nvidia-smi lists one, and install TensorFlow's CUDA libraries (make setup-gpu); or train with "
            "--device auto."
        )
    tf.config.set_visible_devices(gpus, "GPU")
    if not gpus:
        if device == "auto" and count_gpus() and "CUDA_VISIBLE_DEVICES" not in os.environ:
            _warn_once("nvidia-smi lists a GPU, but TensorFlow finds none: the CPU computes. To use it: make setup-gpu")
        return Hardware("CPU", "CPU")
    tf.config.experimental.enable_tensor_float_32_execution(precision == "tf32")
    _set_op_determinism(precision != "tf32")
    tf.config.experimental.set_memory_growth(gpus[0], True)
    name = str(tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU"))
    return Hardware("GPU", name)


@cache
def _warn_once(message: str) -> None:
    log.warning(message)


def _set_op_determinism(enabled: bool) -> None:
    """Have operations give the same bytes every time. TensorFlow's public function can only enable it."""
    from tensorflow.python.framework import config

    if enabled:
        config.enable_op_determinism()
    else:
        config.disable_op_determinism()


def release_free_memory() -> None:
    """Return freed memory to the system: after compilation, glibc retains 200 MB."""
    with suppress(AttributeError, OSError, TypeError):  # musl, macOS and Windows have no malloc_trim
        ctypes.CDLL(None).malloc_trim(0)
