"""The environment of this process, put in order before any library reads it.

Libraries read variables and files that no option of ours names. What can change a number is set here to one value, or
removed, when the package `gan` is imported: before NumPy, Keras, TensorFlow or matplotlib can be. So the same command
gives the same result for everybody. docs/design.md lists what each library reads and what becomes of it.

`settle` does all of it. Some things can only be refused. Commands do that with `check_certificates` and
`check_working_directory`.
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
    "FREETYPE_",
    "KERAS_",
    "NVIDIA_TF32_",
    "ONEDNN_",
    "TENSORFLOW_",
    "TF_",
    "TFRT_",
    "XLA_",
)
"""Prefixes of the variables that select algorithms and precision in TensorFlow, Keras, NVIDIA's libraries and FreeType,
which draws the letters of charts."""

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
"""Prefixes among these that affect no number: logging, memory, kernel threads, other programs."""

HARMLESS_XLA_FLAGS = ("--xla_gpu_cuda_data_dir=", "--xla_dump_to=")
"""Flags of XLA that affect no number: where CUDA is installed, where to write programs for debugging."""

PROCESSOR_PREFIXES = (
    "BLIS_",
    "CUDA_DEVICE_ORDER",
    "CUDA_FORCE_PTX_JIT",
    "CUDA_VISIBLE_DEVICES",
    "GLIBC_TUNABLES",
    "GOTO_",
    "KMP_",
    "MKL_",
    "NCCL_",
    "NPY_",
    "NVPL_",
    "OMP_",
    "OPENBLAS_",
    "VECLIB_",
)
"""Prefixes of the variables that describe the processors to libraries. Some machines need them. They change results by
rounding, as another processor does. They stay as they are, and each stage records them."""

PLAIN = dict(zip("×→−–—…·•±“”", ("x", "->", "-", "-", "-", "...", "-", "*", "+/-", '"', '"'), strict=True))
"""How characters are written in a terminal that cannot show them."""

_ignored: list[str] = []
_processor_variables: dict[str, str] = {}


def configure_environment() -> None:
    """Put in order what this process, and those that it starts, read from outside."""
    for name in sorted(os.environ):
        if name.startswith(PROCESSOR_PREFIXES):
            _processor_variables[name] = os.environ[name]
    _settle_variables()
    _settle_warnings()
    configure_output()
    configure_proxies()


def _settle_variables() -> None:
    """Fix or remove every variable that could change a result."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's notes at its start are not for our readers
    for name in [name for name in os.environ if name.startswith(COMPUTING_PREFIXES)]:
        if not name.startswith(HARMLESS) and os.environ[name] != FIXED.get(name):
            _ignore(name)
    os.environ.update(FIXED)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns of settings files, which have no effect here


def _ignore(name: str) -> None:
    """Remove a variable; of XLA's flags only those that could change a result."""
    given = os.environ.pop(name).split()
    kept = [flag for flag in given if name == "XLA_FLAGS" and flag.startswith(HARMLESS_XLA_FLAGS)]
    if kept:
        os.environ[name] = " ".join(kept)
    if kept != given:
        _ignored.append(name)


def _settle_warnings() -> None:
    """Let warnings of libraries be warnings, whatever PYTHONWARNINGS says: some of them warn in every run."""
    os.environ.pop("PYTHONWARNINGS", None)
    sys.warnoptions.clear()  # multiprocessing hands them on
    warnings.filters[:] = [entry for entry in warnings.filters if entry[0] != "error"]  # type: ignore[index]


def configure_output() -> None:
    """Make sure that all output reaches the terminal: what its encoding lacks is written in plain ASCII.

    An invalid width such as COLUMNS=0 is removed: rich would write nothing. A closed stream becomes /dev/null: else the
    next file that is opened would take its place.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest number that is free
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
    for name in ("COLUMNS", "LINES"):
        size = os.environ.get(name, "1")
        if not (size.isascii() and size.isdecimal() and int(size)):
            del os.environ[name]
    codecs.register_error("plain", _write_plainly)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a test may have put another one in its place
            stream.reconfigure(errors="plain")


def _write_plainly(error: UnicodeError) -> tuple[str, int]:
    """Replace what cannot be encoded: é by e, an arrow by ->, anything else by a question mark."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = "".join(PLAIN.get(character, character) for character in error.object[error.start : error.end])
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(character for character in plain if not unicodedata.combining(character))
    return plain.encode("ascii", "replace").decode("ascii"), error.end


def ignored_variables() -> tuple[str, ...]:
    """Return the names of the variables that were removed; their values may be secrets of other programs."""
    return tuple(_ignored)


def describe_processors() -> str:
    """Return what results depend on by rounding: the number of processors, and the variables that describe them.

    TensorFlow starts as many threads as this process may use processors. Variables count as they were when the process
    started, since libraries set some of them themselves.
    """
    num = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    variables = (f"{name}={value}" for name, value in _processor_variables.items())
    return " ".join([f"{num} CPU{'s' if num > 1 else ''}", *variables])


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


def check_working_directory() -> None:
    """Refuse a working directory that is gone, or has a settings file of matplotlib that cannot be read.

    matplotlib reads that one first, and fails. What a readable one says has no effect (`gan.report.charts`).

    Raises:
        SettingsError: If that is so.
    """
    try:
        path = Path.cwd() / "matplotlibrc"
    except OSError as error:
        raise SettingsError(
            "The working directory is gone.\nChange to another one, and run the command again."
        ) from error
    try:
        if path.is_file():
            path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"matplotlib cannot read the file {path}: {error}.\n"
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
