"""The choice of the device, with a driver and GPUs that TensorFlow only seems to have."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from tensorflow.python.framework import config as tensorflow_config

import gan.models.backend
from bench.check_gpu import CheckError, check
from gan.errors import GpuError
from gan.models.backend import Hardware, tf, use_device, use_precision
from gan.recipe import Precision
from gan.system.gpus import count_gpus
from tasks.failures import explain_gpu_errors

TWO_GPUS = "GPU 0: NVIDIA H200 (UUID: GPU-1)\n  MIG 1g.18gb Device 0: (UUID: MIG-1)\nGPU 1: NVIDIA H200 (UUID: GPU-2)"


@pytest.fixture
def driver(tmp_path: Path, monkeypatch) -> Iterator[Path]:
    """An `nvidia-smi` that lists two GPUs."""
    command = tmp_path / "nvidia-smi"
    command.write_text(f"#!/bin/sh\ncat <<'END'\n{TWO_GPUS}\nEND\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    count_gpus.cache_clear()
    yield command
    count_gpus.cache_clear()


def test_the_gpus_that_the_driver_lists_are_counted(driver) -> None:
    assert count_gpus() == 2
    count_gpus.cache_clear()
    driver.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'; exit 9\n")
    assert count_gpus() == 0


def test_a_gpu_that_tensorflow_does_not_find_is_a_warning_with_the_remedy(driver, caplog, monkeypatch) -> None:
    caplog.set_level(logging.WARNING, "gan")
    gan.models.backend._warn_once.cache_clear()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gan.models.backend.tf.config, "list_physical_devices", lambda kind: [])
    assert use_device("cpu").device_type == "CPU"
    assert not caplog.records
    assert use_device("auto").device_type == "CPU"
    assert "make setup-gpu" in caplog.text


def test_a_variable_that_hides_the_gpu_is_named(driver, caplog, monkeypatch) -> None:
    caplog.set_level(logging.WARNING, "gan")
    gan.models.backend._warn_once.cache_clear()
    monkeypatch.setattr(gan.models.backend.tf.config, "list_physical_devices", lambda kind: [])
    for hides_all in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hides_all)
        use_device("auto")
    assert not caplog.records
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    use_device("auto")
    assert "CUDA_VISIBLE_DEVICES is 7" in caplog.text
    with pytest.raises(GpuError, match=r"CUDA_VISIBLE_DEVICES is 7: check .*make setup-gpu"):
        use_device("gpu")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    with pytest.raises(GpuError, match='CUDA_VISIBLE_DEVICES="-1" hides all GPUs'):
        use_device("gpu")


GRAPH = "Graph execution error:\n\nDetected at node model/dense defined at (most recent call last):\n  File x.py\n\n"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            tf.errors.ResourceExhaustedError(None, None, f"{GRAPH}OOM when allocating tensor"),
            "too little free memory: OOM",
        ),
        (tf.errors.InternalError(None, None, "cudaSetDevice(): out of memory"), "too little free memory: cudaSet"),
        (tf.errors.FailedPreconditionError(None, None, f"{GRAPH}DNN library initialization failed."), "failed: DNN"),
        (tf.errors.NotFoundError(None, None, "No algorithm worked!"), "failed: No algorithm worked"),
    ],
)
def test_an_error_of_the_gpu_says_what_to_do(error, words, monkeypatch) -> None:
    config = tf.config
    monkeypatch.setattr(config, "get_visible_devices", lambda kind: [f"{kind}:0"])
    monkeypatch.setattr(config.experimental, "get_device_details", lambda gpu: {"device_name": "H200"})
    with pytest.raises(GpuError, match=rf"The GPU \(H200\) .*{words}") as raised, explain_gpu_errors():
        raise error
    assert "nvidia-smi" in str(raised.value)
    with pytest.raises(tf.errors.InvalidArgumentError), explain_gpu_errors():
        raise tf.errors.InvalidArgumentError(None, None, "shapes do not match")
    monkeypatch.setattr(config, "get_visible_devices", lambda kind: [])
    with pytest.raises(type(error)), explain_gpu_errors():
        raise error


@pytest.mark.parametrize(("capability", "has_tf32"), [((9, 0), True), ((7, 5), False)])
def test_a_process_sees_one_gpu_and_a_training_sets_the_precision(monkeypatch, capability, has_tf32) -> None:
    calls: list[tuple[str, object]] = []
    config = gan.models.backend.tf.config
    monkeypatch.setattr(config, "list_physical_devices", lambda kind: [f"{kind}:0", f"{kind}:1"])
    monkeypatch.setattr(config, "set_visible_devices", lambda devices, kind: calls.append(("sees", devices)))
    monkeypatch.setattr(config.experimental, "set_memory_growth", lambda gpu, _: calls.append(("grows", gpu)))
    monkeypatch.setattr(
        config.experimental,
        "get_device_details",
        lambda gpu: {"device_name": f"name of {gpu}", "compute_capability": capability},
    )
    tf32 = config.experimental.tensor_float_32_execution_enabled
    before = tf32()
    try:
        hardware = use_device("auto")
        assert hardware == Hardware("GPU", "name of GPU:0", has_tf32)
        precisions: tuple[Precision, ...] = "float32", "tf32", "float32"
        for precision in precisions:
            used = use_precision(hardware, precision)
            assert used == (precision if has_tf32 else "float32")
            assert tf32() == (used == "tf32")
            assert tensorflow_config.is_op_determinism_enabled() == (used == "float32")
        use_precision(hardware, "tf32")
        use_device("auto")  # by the next stage
        assert not tf32()
    finally:
        config.experimental.enable_tensor_float_32_execution(before)
    assert calls == 2 * [("sees", ["GPU:0"]), ("grows", "GPU:0")]


FACTS = {
    "device": "GPU",
    "engine": "a loop on the device, float32",
    "milliseconds_per_step": 0.4,
    "first_call_seconds": 7.0,
    "resumed_at_step": 0,
    "sha256": "a",
}


@pytest.mark.parametrize(
    ("killed", "resumed", "complaint"),
    [
        ({}, {"resumed_at_step": 400}, ""),
        (FACTS, {"resumed_at_step": 400}, "article was not killed"),
        ({}, {}, "article started again after SIGKILL"),
        ({}, {"resumed_at_step": 400, "sha256": "b"}, "article did not give the same bytes"),
    ],
)
def test_check_gpu_complains_of_what_does_not_hold(monkeypatch, capsys, killed, resumed, complaint) -> None:
    def train(recipe, device, steps, folder, kill_at=0) -> dict:
        if kill_at:
            return killed
        return FACTS | resumed if folder.name == "killed" else FACTS

    monkeypatch.setattr("bench.check_gpu.train", train)
    monkeypatch.setattr("bench.check_gpu.RECIPES_TO_CHECK", ("article",))
    if complaint:
        with pytest.raises(CheckError, match=complaint):
            check(device="cpu")
    else:
        check(device="cpu")
        assert "All trainings ended" in capsys.readouterr().out
