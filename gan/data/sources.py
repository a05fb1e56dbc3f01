"""Sources of a data set's files, in the order in which they are tried. Each file is verified before it is used.

user's folder        --data-dir; no other source is tried if a file is missing there
earlier download     our own cache, the cache of Keras, or an installed Debian package
public mirrors       over https
Debian's package     downloaded by apt with its own package lists; needs no root rights
"""

import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
from platformdirs import user_cache_path

from gan.data.catalog import FILE_NAMES, DataFile, Dataset, Split
from gan.data.download import READ_TIMEOUT_SECONDS, check_proxy_and_certificates, download
from gan.data.files import EXPECTED_NAMES, NoFolderError, check_is_folder, find_file, readable
from gan.data.idx import decode_split, read_unpacked
from gan.errors import DataError, SourceError, first_line
from gan.storage.files import atomic_path, sha256_of

APT_TIMEOUT_SECONDS = 300

log = logging.getLogger(__name__)


def fetch_files(dataset: Dataset, target: Path, *, data_dir: Path | None) -> str:
    """Copy the unpacked, verified files of a data set into an existing folder; return a description of the source.

    They come from the files in `data_dir`, packed or unpacked; None tries all sources.

    Raises:
        DataError: If `data_dir` lacks a file, or a file there is not the original.
        SourceError: If every source fails; the message gives each reason and says what to do.
    """
    if data_dir is not None:
        copy_verified(dataset, data_dir, target)
        return f"the folder {data_dir}"
    failures: list[tuple[str, Exception]] = []
    for name, fetch in _list_sources(dataset).items():
        try:
            fetch(target)
        except (DataError, SourceError) as error:
            failures.append((name, error))
            if not isinstance(error, NoFolderError):
                log.warning("Not from %s: %s", name, first_line(error))
        else:
            return name
    reasons = "\n".join(f"  - {name}: {first_line(error)}" for name, error in failures)
    raise SourceError(
        f"{dataset.title} could not be fetched from any of {len(failures)} sources.\n{reasons}\n"
        f"Connect to the network and run again, or give --data-dir a folder with {EXPECTED_NAMES}.",
        transient=any(isinstance(error, SourceError) and error.transient for _, error in failures),
    )


def fetch_splits(dataset: Dataset, *, data_dir: Path | None) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Fetch a data set as `fetch_files` does; return the pixels and labels of each split, as `decode_split` does."""
    try:
        with tempfile.TemporaryDirectory() as name:
            fetch_files(dataset, Path(name), data_dir=data_dir)
            contents = {key: (Path(name) / file_name).read_bytes() for key, file_name in FILE_NAMES.items()}
    except OSError as error:
        raise SourceError(
            f"{dataset.title} could not be unpacked in {tempfile.gettempdir()}: {error.strerror or error}.\n"
            "It needs 55 MB there. Free some space, or set TMPDIR to another folder."
        ) from error
    splits: tuple[Split, Split] = ("train", "test")
    return tuple(decode_split(dataset, split, contents[split, "images"], contents[split, "labels"]) for split in splits)


def copy_verified(dataset: Dataset, folder: Path, target: Path | None) -> None:
    """Verify the packed or unpacked files in a folder, and copy them unpacked to `target`; None only verifies.

    Raises:
        DataError: If the folder or a file is missing, or a file is not the original.
    """
    check_is_folder(folder, dataset.title)
    for file in dataset.files:
        content = _read_verified(file, folder)
        if target is not None:
            with atomic_path(target / file.name) as temporary:
                temporary.write_bytes(content)


def cache_dir(dataset: Dataset) -> Path:
    """Return the folder of our own downloads, which all checkouts and output folders of a user share."""
    return Path(user_cache_path("fashion-gan")) / dataset.name


def _read_verified(file: DataFile, folder: Path) -> bytes:
    advice = "Download or copy it again."
    if file.gz_sha256:
        advice += " If the folder holds your own data set, give its name with --dataset."
    with readable(folder):
        path = find_file(folder, file.name)
        if path.suffix == ".gz" and file.gz_sha256:  # verify a published file before unpacking it
            _verify(path, path.stat().st_size, sha256_of(path), file.gz_size, file.gz_sha256, advice)
        content = read_unpacked(path, file.size)
    _verify(path, len(content), hashlib.sha256(content).hexdigest(), file.size, file.sha256, advice)
    return content


def _verify(path: Path, found_size: int, found_sha256: str, size: int, sha256: str, advice: str) -> None:
    if found_size != size:
        what = "is cut short" if found_size < size else "is too long"
        raise DataError(f"{path} {what}: {found_size:,} bytes, expected {size:,}.\n{advice}")
    if found_sha256 != sha256:
        raise DataError(
            f"{path} was altered or is of another data set: its SHA-256 is {found_sha256}, expected {sha256}.\n{advice}"
        )


def _list_sources(dataset: Dataset) -> dict[str, Callable[[Path], object]]:
    """Return all sources by description; each is called with the target folder."""
    keras_home = Path(os.path.expanduser(os.environ.get("KERAS_HOME") or "~/.keras"))  # noqa: PTH111  # never fails
    folders = {
        "an earlier download": cache_dir(dataset),
        "the download that Keras keeps": keras_home / "datasets" / dataset.name,
    }
    if dataset.debian_package:
        folders["the installed Debian package"] = Path("/") / dataset.debian_folder
    sources: dict[str, Callable[[Path], object]] = {
        f"{name} ({folder})": partial(copy_verified, dataset, folder) for name, folder in folders.items()
    }
    sources |= {f"the mirror {mirror}": partial(_fetch_from_mirror, dataset, mirror) for mirror in dataset.mirrors}
    if dataset.debian_package:
        sources[f"Debian's package {dataset.debian_package}"] = partial(_fetch_from_debian, dataset)
    return sources


def _fetch_from_mirror(dataset: Dataset, mirror: str, target: Path) -> None:
    check_proxy_and_certificates(mirror)
    for file in dataset.files:
        download(file, mirror + file.gz_name, cache_dir(dataset))
    copy_verified(dataset, cache_dir(dataset), target)


def _fetch_from_debian(dataset: Dataset, target: Path) -> None:
    """Download Debian's package and unpack it in a temporary folder, without changing the system."""
    for program in ("apt-get", "dpkg-deb", "setpriv"):
        if shutil.which(program) is None:
            raise SourceError(f"this system has no {program} (it is not a Debian).")
    check_proxy_and_certificates("http://")
    log.info("Fetching Debian's package %s (31 MB) through apt, without installing it", dataset.debian_package)
    with tempfile.TemporaryDirectory(prefix=".apt-", dir=target) as name:  # after a kill it is removed with the target
        folder = Path(name)
        _download_package(dataset.debian_package, folder)
        packages = sorted(folder.glob("*.deb"))
        if not packages:
            raise SourceError(f"apt did not deliver {dataset.debian_package}.")
        _run(["dpkg-deb", "-x", str(packages[0]), str(folder / "unpacked")], folder)
        originals = folder / "unpacked" / dataset.debian_folder
        copy_verified(dataset, originals, target)
        with suppress(OSError):  # our own cache is optional: a full disk there is no failure
            for file in dataset.files:
                with atomic_path(cache_dir(dataset) / file.gz_name) as temporary:
                    shutil.copyfile(originals / file.gz_name, temporary)


def _download_package(package: str, folder: Path) -> None:
    lists, cache = folder / "lists", folder / "cache"
    (lists / "partial").mkdir(parents=True)
    (cache / "archives" / "partial").mkdir(parents=True)
    options = {
        "Dir::State::Lists": lists,
        "Dir::Cache": cache,
        "APT::Sandbox::User": "",  # root would pass the download to a user without access to this folder
        "Acquire::http::Timeout": READ_TIMEOUT_SECONDS,
        "Acquire::https::Timeout": READ_TIMEOUT_SECONDS,
        "Acquire::Retries": 1,
    }
    apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
    _run([*apt, "update"], folder)
    _run([*apt, "download", package], folder)


def _run(command: list[str], folder: Path) -> None:
    """Run a program that the kernel kills when this process ends, even after a SIGKILL."""
    program, bound = command[0], ["setpriv", "--pdeathsig", "KILL", *command]
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
