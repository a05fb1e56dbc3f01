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
from gan.errors import GpuError
from gan.recipe import Precision
from gan.system.environment import keras_defaults, num_processors
from gan.system.gpus import count_gpus, gpus_are_hidden


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

FIRST_WITH_TF32 = 8, 0
"""Compute capability of the first GPUs with TF32 (Ampere)."""

OF_A_GPU = re.compile(r"\bOOM\b|out of memory|failed to allocate|CUDA|cuDNN|cuBLAS|\bDNN\b|No algorithm worked", re.I)
"""What the line of TensorFlow's message contains that names a failure of the GPU."""

MAX_REASON = 300
"""Characters of that line that an error repeats."""

log = logging.getLogger(__name__)

__all__ = ["Hardware", "gpu_error", "keras", "release_free_memory", "tf", "use_device", "use_precision"]


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
        GpuError: If a required GPU is missing.
    """
    gpus = [] if device == "cpu" else tf.config.list_physical_devices("GPU")[:1]  # a process uses one of them
    if device == "gpu" and not gpus:
        with_cuda = tf.test.is_built_with_cuda()
        why = "was built with CUDA but finds no usable GPU" if with_cuda else "was built without CUDA"
        raise GpuError(
            f"--device gpu was asked for, but TensorFlow {tf.__version__} {why}.\n{_advise_on_missing_gpu()} "
            "Or train with --device auto."
        )
    tf.config.set_visible_devices(gpus, "GPU")
    if not gpus:
        if device == "auto" and count_gpus() and not gpus_are_hidden():
            _warn_once(
                "nvidia-smi lists a GPU, but TensorFlow finds none that it can use: the CPU computes. "
                f"{_advise_on_missing_gpu()}"
            )
        return Hardware("CPU", "CPU")
    tf.config.experimental.set_memory_growth(gpus[0], True)
    hardware = _describe_gpu(gpus[0])
    use_precision(hardware, "float32")
    return hardware


def _describe_gpu(gpu: tf.config.PhysicalDevice) -> Hardware:
    details = tf.config.experimental.get_device_details(gpu)
    has_tf32 = details.get("compute_capability", (0, 0)) >= FIRST_WITH_TF32
    return Hardware("GPU", str(details.get("device_name", "GPU")), has_tf32)


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


def gpu_error(error: tf.errors.OpError) -> GpuError | None:
    """Return the error to raise in place of one of TensorFlow's, if this process uses a GPU and the GPU caused it.

    TensorFlow reports too little memory, or a GPU that is lost, by several types of errors.
    """
    gpus = tf.config.get_visible_devices("GPU")
    lines = [line.strip() for line in str(error.message or "").splitlines()]
    reason = next((line for line in lines if OF_A_GPU.search(line)), "")
    if not gpus or not reason:
        return None
    is_memory = isinstance(error, tf.errors.ResourceExhaustedError) or "memory" in reason.lower()
    what = "has too little free memory" if is_memory else "failed"
    return GpuError(
        f"The GPU ({_describe_gpu(gpus[0]).name}) {what}: {reason[:MAX_REASON]}\n"
        "See with nvidia-smi whether another process uses it. Choose another GPU with CUDA_VISIBLE_DEVICES, or run the "
        "same command again when it is free: it continues with what is finished."
    )


def _advise_on_missing_gpu() -> str:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if gpus_are_hidden():
        return f'CUDA_VISIBLE_DEVICES="{visible}" hides all GPUs: remove the variable.'
    by_variable = f"CUDA_VISIBLE_DEVICES is {visible}: check that nvidia-smi -L lists that GPU. " if visible else ""
    return (
        f"{by_variable}Install TensorFlow's CUDA libraries (make setup-gpu). If that does not help, "
        "TF_CPP_MIN_LOG_LEVEL=0 in front of the command shows TensorFlow's reason."
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
