"""One file from a public mirror: bounded in time and size, through a proxy if the environment names one."""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pooch
import requests
import urllib3

from gan.data.catalog import DataFile
from gan.errors import DataError, SourceError
from gan.system.progress import progress
from gan.system.proxies import faulty_proxy, proxy_for

CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 20
FILE_TIMEOUT_SECONDS = 600
CHUNK_BYTES = 1 << 16
REFUSED_BY_PROXY = re.compile(r"Tunnel connection failed: (4\d\d[\w ]*)")


def refuse_hopeless_request(url: str) -> None:
    """Refuse a request that needs a proxy which no client can use, or certificates that are not there.

    Args:
        url: The address that is to be asked; its scheme is enough where the host is not known.

    Raises:
        SourceError: If that is so; it will not heal.
    """
    proxy = faulty_proxy(url)
    if proxy:
        raise SourceError(f"{proxy} cannot be used: {proxy.fault}.", transient=False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # as requests prefers them
        if path := os.environ.get(name):
            if not Path(path).exists():
                raise SourceError(f"{name}={path} names no certificates: correct or unset it.", transient=False)
            return


def download(file: DataFile, url: str, folder: Path) -> None:
    """Download one file; pooch writes it under another name and renames it when its SHA-256 is right.

    Args:
        file: What is downloaded: packed, of known size and SHA-256.
        url: Its address.
        folder: Where it is kept.

    Raises:
        SourceError: If it cannot be had; transient if the network is to blame.
        DataError: If other bytes come.
    """

    def stream(url: str, output_file: str, _pooch: object) -> None:
        deadline = time.monotonic() + FILE_TIMEOUT_SECONDS
        timeouts = (CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS)
        with (
            progress(f"Downloading {file.gz_name}", file.gz_size, unit="bytes") as update,
            requests.get(url, stream=True, timeout=timeouts, headers={"Accept-Encoding": "identity"}) as response,
            Path(output_file).open("wb") as output,
        ):
            response.raise_for_status()
            received = 0
            for chunk in _received(response):
                received += len(chunk)
                if received > file.gz_size:
                    raise DataError(f"{url} sends more than the {file.gz_size:,} bytes of {file.gz_name}.")
                if time.monotonic() > deadline:
                    raise SourceError(
                        f"{url} is too slow: {received:,} bytes in {FILE_TIMEOUT_SECONDS} s.", transient=True
                    )
                output.write(chunk)
                update(received, "")

    pooch.get_logger().setLevel("WARNING")  # the progress bar says what is being downloaded
    try:
        pooch.retrieve(url, known_hash=f"sha256:{file.gz_sha256}", fname=file.gz_name, path=folder, downloader=stream)
    except requests.RequestException as error:
        raise _network_failure(url, error) from error
    except ValueError as error:  # pooch, on a wrong hash; DataError passes as it is
        if isinstance(error, DataError):
            raise
        raise DataError(f"{url} served other bytes than the original {file.gz_name} (SHA-256 differs).") from error
    except OSError as error:
        raise SourceError(f"{folder} cannot be written: {error.strerror or error}.", transient=False) from error


def _received(response: requests.Response) -> Iterator[bytes]:
    """The body as it comes in; `iter_content` waits for a full chunk, hours if a byte comes now and then."""
    try:
        while chunk := response.raw.read1(CHUNK_BYTES):
            yield chunk
    except urllib3.exceptions.HTTPError as error:
        raise requests.ConnectionError(error) from error


def _network_failure(url: str, error: requests.RequestException) -> SourceError:
    """One line for what requests says in many; only what may heal is transient."""
    host, proxy = urlsplit(url).hostname, proxy_for(url)
    if isinstance(error, requests.HTTPError) and error.response is not None:
        status = error.response.status_code
        heals = status == 429 or status >= 500
        return SourceError(f"{url} answered {status} {error.response.reason}.", transient=heals)
    if isinstance(error, requests.exceptions.ProxyError | requests.exceptions.InvalidProxyURL) and proxy:
        refusal = REFUSED_BY_PROXY.search(str(error))
        reason = f"it answered {refusal[1]}" if refusal else _reason(error)
        return SourceError(f"{host} could not be reached through {proxy}: {reason}.", transient=not refusal)
    through = f", asked through {proxy}," if proxy else ""
    if isinstance(error, requests.Timeout):
        return SourceError(f"{host}{through} did not answer in time.", transient=True)
    if "NameResolutionError" in str(error):
        return SourceError(f"the name {host} cannot be resolved (no network?).", transient=True)
    return SourceError(f"the connection to {host}{through} failed ({type(error).__name__}).", transient=True)


def _reason(error: BaseException) -> str:
    """What the system says of a failed connection, without what the libraries above it add."""
    text = str(error)
    known = ("Connection refused", "Temporary failure in name resolution", "Name or service not known", "timed out")
    return next((words for words in known if words in text), type(error).__name__)
