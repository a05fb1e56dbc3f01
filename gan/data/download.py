"""Download of one file from a public mirror, with limits on time and size."""

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

_PROXY_REFUSAL = re.compile(r"Tunnel connection failed: (4\d\d[\w ]*)")
_FAILURES = ("Connection refused", "Temporary failure in name resolution", "Name or service not known", "timed out")


def check_proxy_and_certificates(url: str) -> None:
    """Raise SourceError if a request to `url` needs an unusable proxy or a missing file of certificates."""
    if proxy := faulty_proxy(url):
        raise SourceError(f"{proxy} cannot be used: {proxy.fault}.")
    set_names = (name for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE") if os.environ.get(name))
    name = next(set_names, None)  # requests reads only the first one that is set
    if name and not Path(os.environ[name]).exists():
        raise SourceError(f"{name}={os.environ[name]} names a file that does not exist: correct or unset it.")


def download(file: DataFile, url: str, folder: Path) -> None:
    """Download one packed file; pooch renames it to its final name once its SHA-256 is correct.

    Raises:
        SourceError: If the file cannot be downloaded; transient for failures of the network.
        DataError: If the server sends other bytes than expected.
    """
    pooch.get_logger().setLevel("WARNING")  # the progress bar shows what is being downloaded
    try:
        pooch.retrieve(
            url,
            known_hash=f"sha256:{file.gz_sha256}",
            fname=file.gz_name,
            path=folder,
            downloader=lambda url, path, _: _stream_to(Path(path), file, url),
        )
    except requests.RequestException as error:
        raise _describe_network_failure(url, error) from error
    except DataError:
        raise
    except ValueError as error:  # raised by pooch for a wrong hash
        raise DataError(f"{url} served other bytes than the original {file.gz_name} (SHA-256 differs).") from error
    except OSError as error:
        raise SourceError(f"{folder} cannot be written: {error.strerror or error}.") from error


def _stream_to(path: Path, file: DataFile, url: str) -> None:
    deadline = time.monotonic() + FILE_TIMEOUT_SECONDS
    timeouts = (CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS)
    with (
        progress(f"Downloading {file.gz_name}", file.gz_size, unit="bytes") as update,
        requests.get(url, stream=True, timeout=timeouts, headers={"Accept-Encoding": "identity"}) as response,
        path.open("wb") as output,
    ):
        response.raise_for_status()
        received = 0
        for chunk in _read_chunks(response):
            received += len(chunk)
            if received > file.gz_size:
                raise DataError(f"{url} sends more than the {file.gz_size:,} bytes of {file.gz_name}.")
            if time.monotonic() > deadline:
                raise SourceError(f"{url} is too slow: {received:,} bytes in {FILE_TIMEOUT_SECONDS} s.", transient=True)
            output.write(chunk)
            update(received, "")


def _read_chunks(response: requests.Response) -> Iterator[bytes]:
    """Yield bytes as they arrive. `iter_content` would wait for full chunks, for hours if the server is slow."""
    try:
        while chunk := response.raw.read1(CHUNK_BYTES):
            yield chunk
    except urllib3.exceptions.HTTPError as error:
        raise requests.ConnectionError(error) from error


def _describe_network_failure(url: str, error: requests.RequestException) -> SourceError:
    """Summarize an error of requests in one line, and decide whether it is transient."""
    host, proxy = urlsplit(url).hostname, proxy_for(url)
    if isinstance(error, requests.HTTPError) and error.response is not None:
        status, reason = error.response.status_code, error.response.reason
        return SourceError(f"{url} answered {status} {reason}.", transient=status == 429 or status >= 500)
    if isinstance(error, requests.exceptions.ProxyError | requests.exceptions.InvalidProxyURL) and proxy:
        refusal = _PROXY_REFUSAL.search(str(error))
        known = next((failure for failure in _FAILURES if failure in str(error)), type(error).__name__)
        reason = f"it answered {refusal[1]}" if refusal else known
        return SourceError(f"{host} could not be reached through {proxy}: {reason}.", transient=not refusal)
    through = f", requested through {proxy}," if proxy else ""
    if isinstance(error, requests.Timeout):
        return SourceError(f"{host}{through} did not answer in time.", transient=True)
    if "NameResolutionError" in str(error):
        return SourceError(f"the name {host} cannot be resolved (no network?).", transient=True)
    return SourceError(f"the connection to {host}{through} failed ({type(error).__name__}).", transient=True)
