"""Where the files of a data set are had, tried in order; whatever the source, every file is checked before it is used.

a folder that the user names     the only source then: what it lacks is an error, never silently had elsewhere
an earlier download              ours, the one that Keras keeps, or an installed Debian package
the public mirrors               over https
Debian's package                 through apt, without root, with package lists of its own
"""

import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from platformdirs import user_cache_path

from gan.data.catalog import DataFile, Dataset
from gan.data.download import READ_TIMEOUT_SECONDS, download, refuse_hopeless_request
from gan.data.files import NoFolderError, check_is_folder, expected_names, find_file, readable
from gan.data.idx import read_unpacked
from gan.errors import DataError, SourceError
from gan.storage.files import atomic_path, sha256_of

APT_TIMEOUT_SECONDS = 300

log = logging.getLogger(__name__)


def fetch_files(dataset: Dataset, target: Path, *, data_dir: Path | None) -> str:
    """Bring the unpacked, verified files of a data set into a folder.

    Args:
        dataset: What to bring.
        target: An existing folder; receives one file for each of `dataset.files`, under its name.
        data_dir: A folder with the files, packed or unpacked; no other source is tried then.

    Returns:
        Which source served them, for people.

    Raises:
        DataError: If `data_dir` lacks a file, or one is not the original.
        SourceError: If every source fails; says why each did, and how to go on.
    """
    if data_dir is not None:
        copy_verified(dataset, data_dir, target)
        return f"the folder {data_dir}"
    failures: list[tuple[str, Exception]] = []
    for name, source in _sources(dataset):
        try:
            source(target)
        except (DataError, SourceError) as error:
            failures.append((name, error))
            if not isinstance(error, NoFolderError):
                log.warning("Not from %s: %s", name, _first_line(error))
        else:
            return name
    raise _no_source(dataset, failures)


def copy_verified(dataset: Dataset, folder: Path, target: Path | None) -> None:
    """Check the files in a folder, packed or unpacked, and copy them unpacked.

    Args:
        dataset: What the folder must hold.
        folder: Where to look.
        target: Folder for the unpacked files; None only checks.

    Raises:
        DataError: If the folder or a file is missing, or a file is not the original.
    """
    check_is_folder(folder, dataset.title)
    for file in dataset.files:
        content = _read_verified(file, folder)
        if target is not None:
            with atomic_path(target / file.name) as partial:
                partial.write_bytes(content)


def cache_dir(dataset: Dataset) -> Path:
    """Where our own downloads are kept, shared by all checkouts and output folders of a user."""
    return Path(user_cache_path("fashion-gan")) / dataset.name


def _read_verified(file: DataFile, folder: Path) -> bytes:
    """The unpacked bytes of one original file."""
    advice = "Download or copy it again."
    if file.gz_sha256:
        advice += " If the folder holds a data set of your own, give its name with --dataset."
    with readable(folder):
        path = find_file(folder, file.name)
        if path.suffix == ".gz" and file.gz_sha256:  # a published one is known before it is unpacked
            _check(path, path.stat().st_size, sha256_of(path), file.gz_size, file.gz_sha256, advice)
        content = read_unpacked(path, file.size)
    _check(path, len(content), hashlib.sha256(content).hexdigest(), file.size, file.sha256, advice)
    return content


def _check(path: Path, found_size: int, found_sha256: str, size: int, sha256: str, advice: str) -> None:
    if found_size != size:
        what = "is cut short" if found_size < size else "is too long"
        raise DataError(f"{path} {what}: {found_size:,} bytes, expected {size:,}.\n{advice}")
    if found_sha256 != sha256:
        raise DataError(
            f"{path} was altered or is of another data set: its SHA-256 is {found_sha256}, expected {sha256}.\n{advice}"
        )


def _sources(dataset: Dataset) -> list[tuple[str, Callable[[Path], None]]]:
    """All sources by name, in the order in which they are tried."""
    keras_home = Path(os.path.expanduser(os.environ.get("KERAS_HOME") or "~/.keras"))  # noqa: PTH111  # never fails
    folders = {
        "an earlier download": cache_dir(dataset),
        "the download that Keras keeps": keras_home / "datasets" / dataset.name,
    }
    debian = []
    if dataset.debian_package:
        folders["the installed Debian package"] = Path("/") / dataset.debian_folder
        debian = [(f"Debian's package {dataset.debian_package}", _from_debian(dataset))]
    return [
        *((f"{name} ({folder})", _from_folder(dataset, folder)) for name, folder in folders.items()),
        *((f"the mirror {mirror}", _from_mirror(dataset, mirror)) for mirror in dataset.mirrors),
        *debian,
    ]


def _no_source(dataset: Dataset, failures: list[tuple[str, Exception]]) -> SourceError:
    reasons = "\n".join(f"  - {name}: {_first_line(error)}" for name, error in failures)
    return SourceError(
        f"{dataset.title} could not be had from any of {len(failures)} sources.\n{reasons}\n"
        f"Connect to the network and run again, or give --data-dir a folder with {expected_names()}.",
        transient=any(isinstance(error, SourceError) and error.transient for _, error in failures),
    )


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _from_folder(dataset: Dataset, folder: Path) -> Callable[[Path], None]:
    return lambda target: copy_verified(dataset, folder, target)


def _from_mirror(dataset: Dataset, mirror: str) -> Callable[[Path], None]:
    def fetch(target: Path) -> None:
        refuse_hopeless_request(mirror)
        for file in dataset.files:
            download(file, mirror + file.gz_name, cache_dir(dataset))
        copy_verified(dataset, cache_dir(dataset), target)

    return fetch


def _from_debian(dataset: Dataset) -> Callable[[Path], None]:
    """Debian's package, unpacked beside its target; neither the system nor its package lists are touched."""

    def fetch(target: Path) -> None:
        for program in ("apt-get", "dpkg-deb", "setpriv"):
            if shutil.which(program) is None:
                raise SourceError(f"this system has no {program} (it is not a Debian).", transient=False)
        refuse_hopeless_request("http://")
        log.info("Fetching Debian's package %s (31 MB) through apt, without installing it", dataset.debian_package)
        with tempfile.TemporaryDirectory(prefix=".apt-", dir=target) as name:  # what a kill leaves goes with the target
            folder = Path(name)
            _apt_download(dataset.debian_package, folder)
            packages = sorted(folder.glob("*.deb"))
            if not packages:
                raise SourceError(f"apt did not deliver {dataset.debian_package}.", transient=False)
            _run(["dpkg-deb", "-x", str(packages[0]), str(folder / "unpacked")], folder)
            originals = folder / "unpacked" / dataset.debian_folder
            copy_verified(dataset, originals, target)
            _keep(dataset, originals)

    return fetch


def _apt_download(package: str, folder: Path) -> None:
    lists, cache = folder / "lists", folder / "cache"
    (lists / "partial").mkdir(parents=True)
    (cache / "archives" / "partial").mkdir(parents=True)
    options = {
        "Dir::State::Lists": lists,
        "Dir::Cache": cache,
        "APT::Sandbox::User": "",  # root would hand the download to a user who cannot enter this folder
        "Acquire::http::Timeout": READ_TIMEOUT_SECONDS,
        "Acquire::https::Timeout": READ_TIMEOUT_SECONDS,
        "Acquire::Retries": 1,
    }
    apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
    _run([*apt, "update"], folder)
    _run([*apt, "download", package], folder)


def _run(command: list[str], folder: Path) -> None:
    program, bound = command[0], ["setpriv", "--pdeathsig", "KILL", *command]  # it ends with us, even after a SIGKILL
    try:
        subprocess.run(
            bound,
            cwd=folder,
            check=True,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=APT_TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"{program} did not finish in {APT_TIMEOUT_SECONDS} s.", transient=True) from error
    except subprocess.CalledProcessError as error:
        complaint = (error.stderr.strip() or f"exit code {error.returncode}").splitlines()[-1]
        raise SourceError(f"{program} failed: {complaint}", transient=program == "apt-get") from error


def _keep(dataset: Dataset, originals: Path) -> None:
    """Keep the packed originals as our own download; only a convenience, so a full disk here is no failure."""
    try:
        for file in dataset.files:
            with atomic_path(cache_dir(dataset) / file.gz_name) as partial:
                shutil.copyfile(originals / file.gz_name, partial)
    except OSError:
        return
