"""Variables and files of the environment change no result: they are fixed, removed or without effect."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pipeline import PROJECT

from gan.command import terminal
from gan.errors import SettingsError
from gan.system.environment import check_certificates, check_working_directory, configure_output

KERAS_FILE = '{"floatx": "float64", "epsilon": 0.001, "image_data_format": "channels_first", "backend": "jax"}'
IN_A_STRANGE_ENVIRONMENT = """
import json, os, sys
opened = []

def note(event, arguments):
    if event == "open":
        opened.append(str(arguments[0]))

sys.addaudithook(note)
from gan.models.backend import keras, tf
c = keras.config
settings = [c.floatx(), c.epsilon(), c.image_data_format(), c.backend(), c.dtype_policy().name, c.max_epochs()]
compiled = float(tf.function(lambda: tf.constant(1.0) + 1, jit_compile=True)())
print(json.dumps({"settings": settings, "opened": opened, "home": os.environ["KERAS_HOME"], "compiled": compiled}))
"""
CHARTS = """
import hashlib
import numpy as np
from gan.report.charts import as_png, as_svg, draw_losses
figure = draw_losses(np.random.default_rng(0).random((50, 3)).astype(np.float32))
print(hashlib.sha256(as_png(figure) + as_svg(figure, "losses").encode()).hexdigest())
"""


def python(code: str, cwd: str | Path = PROJECT, **env: str) -> str:
    """Return what a new process prints."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MPL")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env={**environ, "PYTHONPATH": str(PROJECT), **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def strange_process(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process says that imports TensorFlow in a strange environment."""
    home = tmp_path_factory.mktemp("keras")
    (home / "keras.json").write_text(KERAS_FILE)
    env = {"KERAS_HOME": str(home), "KERAS_MAX_EPOCHS": "1", "KERAS_NNX_ENABLED": "1"}
    return json.loads(python(IN_A_STRANGE_ENVIRONMENT, **env, XLA_FLAGS="--xla_dump_nonsense=1 --xla_nonsense"))


def test_the_settings_file_of_keras_is_neither_read_nor_written(strange_process) -> None:
    """It is never opened, so it does not matter what is in it."""
    assert strange_process["settings"] == ["float32", 1e-7, "channels_last", "tensorflow", "float32", None]
    home = Path(strange_process["home"])
    assert str(home / "keras.json") not in strange_process["opened"]
    assert (home / "keras.json").read_text() == KERAS_FILE
    assert list(home.iterdir()) == [home / "keras.json"]


def test_an_unknown_flag_of_xla_does_not_abort_the_process(strange_process) -> None:
    assert strange_process["compiled"] == 2.0


REMOVED = {
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TF_SET_ONEDNN_FPMATH_MODE": "BF16",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_XLA_FLAGS": "--tf_xla_auto_jit=2",
    "TF_USE_LEGACY_KERAS": "1",
    "XLA_FLAGS": "--xla_cpu_enable_fast_math=true",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "DNNL_DEFAULT_FPMATH_MODE": "ANY",
    "NVIDIA_TF32_OVERRIDE": "1",
    "CUBLAS_WORKSPACE_CONFIG": ":0:0",
    "KERAS_BACKEND": "jax",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "AVX2",
}
KEPT = {
    "TF_CPP_MIN_LOG_LEVEL": "1",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "TF_CLI_CONFIG_FILE": "terraform.rc",
    "CUDA_VISIBLE_DEVICES": "",
}


def test_switches_of_algorithms_and_precision_are_removed_and_named() -> None:
    code = (
        "import gan, json, os; from gan.system.environment import ignored_variables\n"
        "print(json.dumps([dict(os.environ), ignored_variables()]))"
    )
    left, ignored = json.loads(python(code, **REMOVED, **KEPT))
    assert sorted(ignored) == sorted(REMOVED), "without their values"
    assert {name: left.get(name) for name in REMOVED} == dict.fromkeys(REMOVED) | {"KERAS_BACKEND": "tensorflow"}
    assert {name: left.get(name) for name in KEPT} == KEPT


def test_only_flags_of_xla_that_change_no_number_stay() -> None:
    code = "import gan, os; print(os.environ['XLA_FLAGS'])"
    flags = "--xla_gpu_cuda_data_dir=/usr/cuda --xla_cpu_enable_fast_math=true"
    assert python(code, XLA_FLAGS=flags) == "--xla_gpu_cuda_data_dir=/usr/cuda"


def test_variables_about_processors_are_recorded_with_their_initial_values() -> None:
    code = (
        "import os, gan; from gan.system.environment import describe_processors\n"
        "os.environ['CUDA_DEVICE_ORDER'] = 'PCI_BUS_ID'  # as a library could\n"
        "print(describe_processors())"
    )
    found = python(code, GLIBC_TUNABLES="glibc.malloc.check=0", PYTHONHASHSEED="1")
    num = len(os.sched_getaffinity(0))
    assert found.startswith(f"{num} CPU")
    assert "GLIBC_TUNABLES=glibc.malloc.check=0" in found
    assert "CUDA_DEVICE_ORDER" not in found
    assert "PYTHONHASHSEED" not in found


def test_cache_keys_have_the_number_of_processors_and_settings_of_the_mathematical_functions() -> None:
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); import gan\n"
        "from gan.system.environment import rounding_conditions; print(rounding_conditions())"
    )
    tunables = "glibc.malloc.check=0:glibc.cpu.hwcaps=-AVX2"
    found = python(code, GLIBC_TUNABLES=tunables, CUDA_VISIBLE_DEVICES="1", OMP_NUM_THREADS="7")
    assert found == "1 CPU glibc.cpu.hwcaps=-AVX2"


def test_warnings_of_libraries_are_no_errors_in_this_and_child_processes() -> None:
    code = (
        "import gan, os, sys, warnings; warnings.warn('as Keras does', DeprecationWarning)\n"
        "print('PYTHONWARNINGS' in os.environ, sys.warnoptions)"
    )
    assert python(code, PYTHONWARNINGS="error") == "False []"


@pytest.fixture(scope="module")
def usual_charts() -> str:
    """The digest of two charts in the usual environment."""
    return python(CHARTS)


@pytest.mark.parametrize("place", ["working directory", "MATPLOTLIBRC", "MPLCONFIGDIR"])
def test_charts_do_not_depend_on_settings_of_matplotlib(usual_charts: str, tmp_path, place: str) -> None:
    (tmp_path / "matplotlibrc").write_text(
        "font.size: 30\naxes.grid: True\nsavefig.dpi: 7\nbackend: nothing\nnonsense\n"
    )
    if place == "working directory":
        assert python(CHARTS, cwd=tmp_path, MPLBACKEND="nothing") == usual_charts
    else:
        assert python(CHARTS, **{place: str(tmp_path)}, SOURCE_DATE_EPOCH="0", TZ="Asia/Tokyo") == usual_charts


def test_charts_do_not_depend_on_settings_of_freetype(usual_charts: str) -> None:
    assert python(CHARTS, FREETYPE_PROPERTIES="truetype:interpreter-version=35") == usual_charts


def test_a_removed_working_directory_is_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.rmdir()
    with pytest.raises(SettingsError, match=r"(?s)working directory no longer exists.*Change to another"):
        check_working_directory()
    tmp_path.mkdir()


def test_a_settings_file_of_matplotlib_that_is_not_text_is_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_working_directory()
    Path("matplotlibrc").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=r"(?s)cannot read the file .*matplotlibrc.*Remove the file"):
        check_working_directory()


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_certificates_that_cannot_be_read_are_refused(tmp_path, monkeypatch, content: str | None) -> None:
    path = tmp_path / "certificates.pem"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    with pytest.raises(SettingsError, match=r"(?s)SSL_CERT_FILE=.*certificates.pem cannot be read.*unset it"):
        check_certificates()
    monkeypatch.delenv("SSL_CERT_FILE")
    check_certificates()


@pytest.mark.parametrize(
    ("encoding", "written"),
    [
        ("ascii", "Frechet: 3 x 3 -> 1 +/- 2 ... a ? ?"),
        ("latin-1", "Fréchet: 3 × 3 -> 1 ± 2 ... a ? ?"),
        ("utf-8", "Fréchet: 3 × 3 → 1 ± 2 … a 連 ?"),
    ],
)
def test_characters_that_a_terminal_cannot_show_are_written_in_ascii(monkeypatch, encoding: str, written: str) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding, write_through=True))
    configure_output()
    print("Fréchet: 3 × 3 → 1 ± 2 … a 連 \udcfc", end="")  # noqa: T201
    assert raw.getvalue().decode(encoding) == written


@pytest.mark.parametrize("text", ["/d/:x:/y", "http://[2001:db8:a:1::5]:4200", "[bold]no markup[/]"])
def test_a_terminal_shows_text_as_it_is(capsys, text: str) -> None:
    terminal().print(text)
    assert capsys.readouterr().out == f"{text}\n"


@pytest.mark.parametrize("columns", ["0", "-3", "wide"])
def test_an_invalid_terminal_width_is_removed(monkeypatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    configure_output()
    assert "COLUMNS" not in os.environ


def test_closed_streams_are_opened_for_child_processes_too() -> None:
    code = (
        "import os\n"
        "for descriptor in (0, 1, 2): os.close(descriptor)\n"
        "from gan.system.environment import configure_output; configure_output()\n"
        "import subprocess, sys\n"
        "subprocess.run([sys.executable, '-c', 'import os; [os.fstat(fd) for fd in (0, 1, 2)]'], check=True)\n"
    )
    python(code)
