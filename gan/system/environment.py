"""Configuration of this process's environment before any library reads it.

Libraries also read variables and files that are not options of this project. Importing `gan` calls
`configure_environment`, before NumPy, Keras, TensorFlow or matplotlib can be imported. It removes or fixes every
variable that selects an algorithm, a precision or a number of threads. Variables that choose the processor, or
functions of the C library for it, are kept and recorded. They change results only by rounding. docs/design.md lists
what each library reads and what happens to it. Commands call `check_certificates` and `check_working_directory` to
refuse other problems.
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
from gan.system.proxies import configure_proxies

FIXED = {"KERAS_BACKEND": "tensorflow", "MPLBACKEND": "agg", "MATPLOTLIBRC": os.devnull}
"""Variables with the same value for every user. The null device is an empty settings file."""

COMPUTING_PREFIXES = (
    *("AUTOGRAPH_", "CUBLAS_", "CUBLASLT_", "CUDNN_", "DNNL_", "FREETYPE_", "KERAS_", "NVIDIA_TF32_", "ONEDNN_"),
    *("TENSORFLOW_", "TF_", "TFRT_", "XLA_"),
    *("CUDA_FORCE_PTX_JIT", "GOTO_", "NPY_", "OMP_", "OPENBLAS_", "VECLIB_"),
)
"""Prefixes of variables that select algorithms, precision and threads in TensorFlow, Keras, NumPy, their libraries, and
FreeType, which draws the letters of charts."""

HARMLESS = (
    "KERAS_HOME",  # the downloads there are a source of data; the settings there are not read (`keras_defaults`)
    *("TF_CPP_", "TF_FORCE_GPU_ALLOW_GROWTH", "TF_FORCE_UNIFIED_MEMORY", "TF_GPU_ALLOCATOR", "TF_GPU_THREAD_"),
    *("TF_GPU_HOST_MEM_LIMIT_IN_MB", "TF_PER_DEVICE_MEMORY_LIMIT_MB", "XLA_PJRT_GPU_HOST_MEMORY_"),
    *("TF_CLI_", "TF_CLOUD_", "TF_DATA_DIR", "TF_IN_AUTOMATION", "TF_INPUT", "TF_LOG", "TF_PLUGIN_"),  # Terraform's
    *("TF_REGISTRY_", "TF_TOKEN_", "TF_VAR_", "TF_WORKSPACE"),
)
"""More specific prefixes of variables that affect no number: logging, memory, kernel threads, other programs."""

HARMLESS_XLA_FLAGS = ("--xla_gpu_cuda_data_dir=", "--xla_dump_to=")
"""Flags of XLA that affect no number: the folder of CUDA, and the folder for debugging output."""

PROCESSOR_PREFIXES = ("CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES", "GLIBC_TUNABLES")
"""Prefixes of variables that choose among the processors, or are read before Python starts. They are kept, and each
stage records them: they change results only by rounding, as a different processor does."""

CPU_TUNABLE = "glibc.cpu."
"""Prefix of the settings in GLIBC_TUNABLES that select the C library's mathematical functions."""

PLAIN = dict(zip("×→−–—…·•±“”", ("x", "->", "-", "-", "-", "...", "-", "*", "+/-", '"', '"'), strict=True))
"""ASCII replacements for characters that a terminal cannot show."""

_ignored: list[str] = []
_processor_variables: dict[str, str] = {}


def configure_environment() -> None:
    """Configure everything that this process and its child processes read from outside."""
    _processor_variables.update(
        {name: value for name, value in sorted(os.environ.items()) if name.startswith(PROCESSOR_PREFIXES)}
    )
    _configure_variables()
    os.environ.pop("PYTHONWARNINGS", None)  # some libraries warn in every run: warnings must not become errors
    sys.warnoptions.clear()  # multiprocessing passes them to child processes
    warnings.filters[:] = [entry for entry in warnings.filters if entry[0] != "error"]  # type: ignore[index]
    configure_output()
    configure_proxies()


def _configure_variables() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # suppress TensorFlow's messages at its start
    for name in [name for name in os.environ if name.startswith(COMPUTING_PREFIXES)]:
        if name.startswith(HARMLESS) or os.environ[name] == FIXED.get(name):
            continue
        given = os.environ.pop(name).split()
        kept = [flag for flag in given if name == "XLA_FLAGS" and flag.startswith(HARMLESS_XLA_FLAGS)]
        if kept:
            os.environ[name] = " ".join(kept)
        if kept != given:
            _ignored.append(name)
    os.environ.update(FIXED)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns about settings files, which have no effect here


def configure_output() -> None:
    """Make all output reach the terminal: write characters that its encoding lacks in plain ASCII.

    Also remove an invalid width such as COLUMNS=0, with which rich would write nothing. Open /dev/null in place of a
    closed stream: otherwise the next file that is opened would get its descriptor.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the system gives it the lowest free number
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
    for name in ("COLUMNS", "LINES"):
        size = os.environ.get(name, "1")
        if not (size.isascii() and size.isdecimal() and int(size)):
            del os.environ[name]
    codecs.register_error("plain", _replace_by_ascii)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a test may have replaced the stream
            stream.reconfigure(errors="plain")


def _replace_by_ascii(error: UnicodeError) -> tuple[str, int]:
    """Replace characters that cannot be encoded: é by e, an arrow by ->, all others by a question mark."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = "".join(PLAIN.get(character, character) for character in error.object[error.start : error.end])
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(character for character in plain if not unicodedata.combining(character))
    return plain.encode("ascii", "replace").decode("ascii"), error.end


def ignored_variables() -> tuple[str, ...]:
    """Return the names of the removed variables; their values may be secrets of other programs."""
    return tuple(_ignored)


def num_processors() -> int:
    """Return the number of processors that this process may use; TensorFlow starts as many threads."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe_processors() -> str:
    """Return the conditions that change results by rounding: the number of processors, and variables about them.

    The variables have the values from the start of the process, since libraries set some of them later.
    """
    return " ".join([_count_processors(), *(f"{name}={value}" for name, value in _processor_variables.items())])


def rounding_conditions() -> str:
    """Return the part of `describe_processors` that cache keys contain, such as "2 CPUs".

    Which GPU or processor computes is not a part of it, so machines of different models share results.
    """
    tunables = _processor_variables.get("GLIBC_TUNABLES", "").split(":")
    return " ".join([_count_processors(), *sorted(part for part in tunables if part.startswith(CPU_TUNABLE))])


def _count_processors() -> str:
    num = num_processors()
    return f"{num} CPU{'s' if num > 1 else ''}"


@contextmanager
def keras_defaults() -> Iterator[None]:
    """Let Keras be imported without its settings file, `keras.json`, which could change the type of every number.

    Keras reads the file below KERAS_HOME or the home directory, and writes one if there is none.
    """
    given = os.environ.get("KERAS_HOME")
    os.environ["KERAS_HOME"] = os.devnull  # not a folder: Keras can neither find nor write a file below it
    try:
        yield
    finally:
        if given is None:
            del os.environ["KERAS_HOME"]
        else:
            os.environ["KERAS_HOME"] = given


def check_working_directory() -> None:
    """Raise SettingsError if the working directory no longer exists, or matplotlib cannot read its settings there.

    Settings that matplotlib can read have no effect (`gan.report.charts`).
    """
    try:
        path = Path.cwd() / "matplotlibrc"
    except OSError as error:
        raise SettingsError(
            "The working directory no longer exists.\nChange to another one, and run the command again."
        ) from error
    try:
        if path.is_file():
            path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"matplotlib cannot read the file {path}: {error}.\n"
            "Expected text in UTF-8. Remove the file, or run the command in another directory."
        ) from error


def check_certificates() -> None:
    """Raise SettingsError if SSL_CERT_FILE names no certificates: HTTP clients then fail even for http:// requests."""
    path = os.environ.get("SSL_CERT_FILE")
    try:
        if path:
            ssl.create_default_context(cafile=path)
    except OSError as error:  # includes ssl.SSLError
        raise SettingsError(
            f"The certificates in SSL_CERT_FILE={path} cannot be read: {error.strerror or error}.\n"
            "Expected a file in PEM format. Correct the variable, or unset it to use the system's certificates."
        ) from error
