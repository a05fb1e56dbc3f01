"""The environment of this process, put in order before any library reads it.

Libraries read variables and files that no option of ours names. What can change a number is set here to one value, or
removed, when the package `gan` is imported: before NumPy, Keras, TensorFlow or matplotlib can be. So the same command
gives the same result for everybody. docs/design.md lists what each library reads and what becomes of it.
"""

import codecs
import logging
import os
import ssl
import sys
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path

from gan.errors import SettingsError

FIXED = {
    "KERAS_BACKEND": "tensorflow",
    "MPLBACKEND": "agg",
    "MATPLOTLIBRC": os.devnull,  # an empty file of settings
}
"""Variables with one value for everybody."""

COMPUTING_PREFIXES = (
    "AUTOGRAPH_",
    "CUBLAS_",
    "CUBLASLT_",
    "CUDNN_",
    "DNNL_",
    "KERAS_",
    "NVIDIA_TF32_",
    "ONEDNN_",
    "TENSORFLOW_",
    "TF_",
    "TFRT_",
    "XLA_",
)
"""How the variables begin by which TensorFlow, Keras and NVIDIA's libraries choose algorithms and precision."""

HARMLESS = (
    "KERAS_HOME",  # its downloads are a source of data; its settings are not read (`keras_defaults`)
    "TF_CPP_",
    "TF_FORCE_GPU_ALLOW_GROWTH",
    "TF_FORCE_UNIFIED_MEMORY",
    "TF_GPU_ALLOCATOR",
    "TF_GPU_HOST_MEM_LIMIT_IN_MB",
    "TF_GPU_THREAD_",
    "TF_PER_DEVICE_MEMORY_LIMIT_MB",
    "XLA_PJRT_GPU_HOST_MEMORY_",
    *("TF_CLI_", "TF_CLOUD_", "TF_DATA_DIR", "TF_IN_AUTOMATION", "TF_INPUT", "TF_LOG", "TF_PLUGIN_"),  # Terraform's
    *("TF_REGISTRY_", "TF_TOKEN_", "TF_VAR_", "TF_WORKSPACE"),
)
"""How those among them begin that change no number: of logs, of memory, of who launches kernels, of other programs."""

HARMLESS_XLA_FLAGS = ("--xla_gpu_cuda_data_dir=", "--xla_dump_")
"""Flags of XLA that change no number: where CUDA is installed, what is written for debugging."""

PROCESSOR_PREFIXES = (
    "CUDA_DEVICE_ORDER",
    "CUDA_VISIBLE_DEVICES",
    "GOTO_",
    "KMP_",
    "MKL_",
    "NPY_",
    "NVPL_",
    "OMP_",
    "OPENBLAS_",
)
"""Variables that describe the processor to the libraries. Some machines need them. They change results by rounding, as
another processor does, so they stay as they are, and the manifest of a run holds them."""

_ASCII = {
    "×": "x",
    "→": "->",
    "−": "-",
    "–": "-",
    "—": "-",
    "…": "...",
    "·": "-",
    "•": "*",
    "±": "+/-",
    "“": '"',
    "”": '"',
}

_ignored: dict[str, str] = {}


def settle() -> None:
    """Fix or remove every variable that could change a result."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's notes at its start are not for our readers
    for name in [name for name in os.environ if name.startswith(COMPUTING_PREFIXES)]:
        if not name.startswith(HARMLESS) and os.environ[name] != FIXED.get(name):
            _ignore(name)
    os.environ.update(FIXED)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns of settings files, which have no effect here


def _ignore(name: str) -> None:
    """Remove a variable; of XLA's flags only those that could change a result."""
    given = os.environ.pop(name)
    kept = [flag for flag in given.split() if name == "XLA_FLAGS" and flag.startswith(HARMLESS_XLA_FLAGS)]
    if kept:
        os.environ[name] = " ".join(kept)
    if kept != given.split():
        _ignored[name] = given


def ignored_variables() -> dict[str, str]:
    """Return the variables that `settle` removed from the environment, with their values."""
    return dict(_ignored)


def processor_variables() -> dict[str, str]:
    """Return the variables that describe the processor to the libraries, as far as they are set."""
    return {name: value for name, value in sorted(os.environ.items()) if name.startswith(PROCESSOR_PREFIXES)}


def num_cpus() -> int:
    """Return how many processors this process may use: TensorFlow starts as many threads."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def keras_defaults() -> Iterator[None]:
    """Let Keras be imported without its settings file, `keras.json`, which could change the type of every number.

    Keras looks for the file below KERAS_HOME, or the home directory, and writes one where there is none.
    """
    given = os.environ.get("KERAS_HOME")
    os.environ["KERAS_HOME"] = os.devnull  # no folder: nothing is found or written below it
    try:
        yield
    finally:
        if given is None:
            del os.environ["KERAS_HOME"]
        else:
            os.environ["KERAS_HOME"] = given


def settle_warnings() -> None:
    """Let warnings of libraries be warnings, whatever PYTHONWARNINGS says: some of them warn in every run."""
    os.environ.pop("PYTHONWARNINGS", None)
    sys.warnoptions.clear()  # multiprocessing hands them on
    warnings.filters[:] = [entry for entry in warnings.filters if entry[0] != "error"]  # type: ignore[index]


def check_working_directory() -> None:
    """Refuse a settings file of matplotlib in the working directory that cannot be read.

    matplotlib reads that one first, and fails. What a readable one says has no effect (`gan.report.charts`).

    Raises:
        SettingsError: If the file is not text.
    """
    path = Path("matplotlibrc")
    try:
        if path.is_file():
            path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"matplotlib cannot read the file {path.absolute()}: {error}.\n"
            "It was expected to be text in UTF-8. Remove it, or run the command in another directory."
        ) from error


def check_certificates() -> None:
    """Refuse certificates that cannot be read: HTTP clients fail on them, also where no certificate is needed.

    Raises:
        SettingsError: If SSL_CERT_FILE names a file that holds none.
    """
    path = os.environ.get("SSL_CERT_FILE")
    try:
        if path:
            ssl.create_default_context(cafile=path)
    except OSError as error:  # of ssl as well
        raise SettingsError(
            f"The certificates in SSL_CERT_FILE={path} cannot be read: {error.strerror or error}.\n"
            "Expected a file in PEM format. Correct the variable, or unset it: then the system's certificates are used."
        ) from error


def settle_output() -> None:
    """Make sure that all output reaches the terminal: what its encoding lacks is written in plain ASCII.

    A width that is none, such as COLUMNS=0, is removed: rich would write nothing. A stream that was closed becomes
    /dev/null: the next file that is opened would take its place.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest number that is free
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
    for name in ("COLUMNS", "LINES"):
        if not os.environ.get(name, "1").isdecimal() or int(os.environ.get(name, "1")) < 1:
            del os.environ[name]
    codecs.register_error("plain", _write_plainly)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a test may have put another one in its place
            stream.reconfigure(errors="plain")


def _write_plainly(error: UnicodeError) -> tuple[str, int]:
    """Replace what cannot be encoded: é by e, an arrow by ->, what has no likeness by a question mark."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = "".join(_ASCII.get(character, character) for character in error.object[error.start : error.end])
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(character for character in plain if not unicodedata.combining(character))
    return plain.encode("ascii", "replace").decode("ascii"), error.end
