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

HIDES_ALL_GPUS = "", "-1"
"""Values of CUDA_VISIBLE_DEVICES that ask for no GPU."""

FIRST_WITH_TF32 = 8, 0
"""Compute capability of the first GPUs with TF32 (Ampere)."""

MAX_REASON = 300
"""Characters of TensorFlow's message that an error repeats."""

log = logging.getLogger(__name__)

__all__ = ["Hardware", "explain_gpu_errors", "keras", "release_free_memory", "tf", "use_device", "use_precision"]


@dataclass(frozen=True)
class Hardware:
    """The device that this process computes on."""

    device_type: Literal["CPU", "GPU"]
    name: str  # human-readable: the GPU's model, or "CPU"
    has_tf32: bool = False  # its tensor cores can compute TF32

    @property
    def folder_name(self) -> str:
        """Return a folder name, such as "cpu-2-threads", that differs where the same training gives other bytes.

        On a CPU the number of threads decides in which order convolutions are summed.
        """
        name = self.name if self.device_type == "GPU" else f"{self.name} {num_processors()} threads"
        return re.sub("[^a-z0-9]+", "-", name.lower())


def use_device(device: Device) -> Hardware:
    """Choose the device of this process, with float32; call it before the first tensor is created.

    Args:
        device: "gpu" requires a GPU, "cpu" hides all GPUs, "auto" uses a GPU if there is one.

    Raises:
        TrainingError: If a required GPU is missing.
    """
    gpus = [] if device == "cpu" else tf.config.list_physical_devices("GPU")[:1]  # a process uses one of them
    if device == "gpu" and not gpus:
        with_cuda = tf.test.is_built_with_cuda()
        why = "was built with CUDA but finds no usable GPU" if with_cuda else "was built without CUDA"
        raise TrainingError(
            f"--device gpu was asked for, but TensorFlow {tf.__version__} {why}.\n{_advise_on_missing_gpu()} "
            "Or train with --device auto."
        )
    tf.config.set_visible_devices(gpus, "GPU")
    if not gpus:
        if device == "auto" and count_gpus() and os.environ.get("CUDA_VISIBLE_DEVICES") not in HIDES_ALL_GPUS:
            _warn_once(
                "nvidia-smi lists a GPU, but TensorFlow finds none that it can use: the CPU computes. "
                f"{_advise_on_missing_gpu()}"
            )
        return Hardware("CPU", "CPU")
    tf.config.experimental.set_memory_growth(gpus[0], True)
    details = tf.config.experimental.get_device_details(gpus[0])
    has_tf32 = details.get("compute_capability", (0, 0)) >= FIRST_WITH_TF32
    hardware = Hardware("GPU", str(details.get("device_name", "GPU")), has_tf32)
    use_precision(hardware, "float32")
    return hardware


def use_precision(hardware: Hardware, precision: Precision) -> Precision:
    """Set the precision of matrix products and convolutions from now on; return the one that is used.

    A CPU, and a GPU without TF32, always compute float32. On a GPU, algorithms are deterministic with "float32", but
    not with "tf32".
    """
    used: Precision = precision if hardware.has_tf32 else "float32"
    if hardware.device_type == "GPU":
        tf.config.experimental.enable_tensor_float_32_execution(used == "tf32")
        _set_op_determinism(used != "tf32")
    return used


@contextmanager
def explain_gpu_errors(hardware: Hardware) -> Iterator[None]:
    """Turn an error of the GPU within the block, such as too little memory, into a TrainingError."""
    try:
        yield
    except (tf.errors.ResourceExhaustedError, tf.errors.InternalError, tf.errors.UnknownError) as error:
        if hardware.device_type != "GPU":
            raise
        why = "has too little free memory" if isinstance(error, tf.errors.ResourceExhaustedError) else "failed"
        reason = (str(error.message or "").strip().splitlines() or ["no reason given"])[0][:MAX_REASON]
        raise TrainingError(
            f"The GPU ({hardware.name}) {why}: {reason}\n"
            "See with nvidia-smi whether another process uses it. Choose another GPU with CUDA_VISIBLE_DEVICES, or run "
            "the same command again when it is free: it continues from the last checkpoint."
        ) from error


def _advise_on_missing_gpu() -> str:
    if visible := os.environ.get("CUDA_VISIBLE_DEVICES"):
        return f"CUDA_VISIBLE_DEVICES is {visible}: check that nvidia-smi -L lists that GPU, or remove the variable."
    return (
        "Check that nvidia-smi lists one, and install TensorFlow's CUDA libraries (make setup-gpu). If that does not "
        "help, TF_CPP_MIN_LOG_LEVEL=0 in front of the command shows TensorFlow's reason."
    )


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
