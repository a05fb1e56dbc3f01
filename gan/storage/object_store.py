"""An object store: S3, or anything of its API, for machines that share no file system.

Who may use it is read from the environment, as every tool of AWS does: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_ENDPOINT_URL (for a store other than Amazon's), AWS_DEFAULT_REGION, or the files in ~/.aws. Nothing of that is
kept, logged or passed on.

An object appears whole or not at all: each is uploaded in one request, which the server takes when all of it is there.
"""

import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gan.errors import StoreError
from gan.system.proxies import faulty_proxy, is_loopback, proxy_for

URL = re.compile(
    r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?P<prefix>(/[A-Za-z0-9][A-Za-z0-9._-]*)*)/?", re.ASCII
)
PROBE = ".probe"
MAX_READ_BYTES = 1 << 20
"""Of a small object, such as a record: the largest that a run can have takes a tenth of it."""

PARALLEL_REQUESTS = 10
CONNECT_SECONDS, READ_SECONDS = 10, 60
ATTEMPTS, ATTEMPTS_AT_START = 6, 2
"""Of each request; the pauses between six add up to 15 s on average. A start should fail sooner."""

_MISSING_OBJECT = {"404", "NoSuchKey"}
_MISSING_BUCKET = {"NoSuchBucket", "InvalidBucketName", "PermanentRedirect", "301"}
_REFUSED = {"401", "403", "ExpiredToken", "InvalidToken"}


@dataclass(frozen=True)
class ObjectStore:
    """Objects of one bucket whose keys start with one prefix."""

    bucket: str
    prefix: str

    @classmethod
    def open(cls, url: str) -> "ObjectStore":
        """Check that objects can be written and read.

        Args:
            url: As in s3://bucket or s3://bucket/some/prefix.

        Raises:
            StoreError: If the address is none, or the store cannot be used; the message says what to do.
        """
        found = URL.fullmatch(url)
        if found is None:  # not repeated in the message: it may hold a password
            raise StoreError(
                "The address of the object store (--store-url) is not one of S3.\n"
                "Expected s3://bucket or s3://bucket/prefix, of letters, digits, dots and dashes. Credentials are no "
                "part of it; they come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
            )
        store = cls(found["bucket"], found["prefix"].removeprefix("/"))
        store._refuse_faulty_proxy()
        store._put(PROBE, b"", attempts=ATTEMPTS_AT_START)
        store.read(PROBE)
        return store

    @property
    def url(self) -> str:
        """The address, as it can be given to `open`."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def size(self, key: str) -> int | None:
        """Bytes of an object; None if there is none."""
        with self._clear_errors(), _missing_is_none():
            return int(_client(ATTEMPTS).head_object(**self._named(key))["ContentLength"])
        return None

    def sizes(self, keys: Iterable[str]) -> list[int | None]:
        """Bytes of several objects, asked for at the same time."""
        with ThreadPoolExecutor(PARALLEL_REQUESTS) as pool:
            return list(pool.map(self.size, keys))

    def read(self, key: str) -> bytes | None:
        """The bytes of a small object; None if there is none, or a large one, of which nothing is read then."""
        with self._clear_errors(), _missing_is_none():
            answer = _client(ATTEMPTS).get_object(**self._named(key))
            with closing(answer["Body"]) as body:
                return bytes(body.read()) if answer["ContentLength"] <= MAX_READ_BYTES else None
        return None

    def write(self, key: str, content: bytes) -> None:
        """Make or replace a small object."""
        self._put(key, content)

    def upload(self, path: Path, key: str) -> None:
        """Make or replace an object with the bytes of a file that nobody is writing."""
        with path.open("rb") as file:
            self._put(key, file)

    def download(self, key: str, path: Path) -> bool:
        """Write the bytes of an object to a file; False if there is no such object."""
        with self._clear_errors(), _missing_is_none():
            _client(ATTEMPTS).download_file(self.bucket, self._named(key)["Key"], str(path))
            return True
        return False

    def _refuse_faulty_proxy(self) -> None:
        with self._clear_errors():
            proxy = faulty_proxy(_endpoint())
        if proxy:
            raise StoreError(
                f"The object store {self.url} is to be asked through {proxy}, which cannot be used: {proxy.fault}.\n"
                f"Correct or unset {proxy.variable}, or name the store's host in NO_PROXY."
            )

    def _put(self, key: str, body: Any, attempts: int | None = None) -> None:
        with self._clear_errors():
            _client(attempts or ATTEMPTS).put_object(**self._named(key), Body=body)

    def _named(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": f"{self.prefix}/{key}".lstrip("/")}

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        """Say in our words what went wrong, and whether it may heal."""
        from boto3.exceptions import RetriesExceededError
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, IncompleteReadError
        from botocore.exceptions import ConnectionError as NoConnectionError

        try:
            yield
        except ClientError as error:
            raise self._refusal(error.response) from error
        except (NoConnectionError, HTTPClientError, IncompleteReadError, RetriesExceededError) as error:
            raise StoreError(
                f"The object store {self.url} does not answer at {_endpoint()}{_through()} ({type(error).__name__}).\n"
                "Check AWS_ENDPOINT_URL (empty: Amazon's), the network and its proxy, and run the same command again: "
                "it goes on from what is finished, which is kept in the output folder.",
                transient=True,
            ) from error
        except (BotoCoreError, ValueError) as error:  # no credentials, an endpoint that is no URL, a broken ~/.aws
            raise StoreError(
                f"The object store {self.url} cannot be used: {type(error).__name__}.\n"
                "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or ~/.aws/credentials), and AWS_ENDPOINT_URL as "
                "https://host:port for a store other than Amazon's."
            ) from error

    def _refusal(self, response: dict[str, Any]) -> StoreError:
        code = str(response.get("Error", {}).get("Code", ""))
        status = str(response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
        if code in _MISSING_BUCKET:
            return StoreError(
                f"The object store has no bucket {self.bucket} ({code}), at {_endpoint()}.\n"
                "Make it, or name another with --store-url; check AWS_ENDPOINT_URL and AWS_DEFAULT_REGION."
            )
        if {code, status} & _REFUSED:
            return StoreError(
                f"The object store {self.url} refuses these credentials ({code}).\n"
                "Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. They need the rights s3:GetObject and s3:PutObject "
                f"on {self.url.removeprefix('s3://')}/*, and s3:ListBucket on {self.bucket}."
            )
        return StoreError(
            f"The object store {self.url} answers with an error ({code or status}), at {_endpoint()}.\n"
            "If it persists, check AWS_ENDPOINT_URL and AWS_DEFAULT_REGION. The same command goes on from what is "
            "finished, which is kept in the output folder.",
            transient=status.startswith("5") or status == "429",
        )


@contextmanager
def _missing_is_none() -> Iterator[None]:
    """Leave the block quietly if an object is not there."""
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") not in _MISSING_OBJECT:
            raise


@cache
def _client(attempts: int) -> Any:
    """A client of this process, which its threads may share.

    Checksums beyond the protocol's are left out, since not every store knows them: what is uploaded is signed with its
    SHA-256, which every server checks, and what is downloaded is checked against its reference.
    """
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=PARALLEL_REQUESTS,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"payload_signing_enabled": True},
    )
    client = boto3.session.Session().client("s3", config=config)
    if is_loopback(urlsplit(client.meta.endpoint_url).hostname or ""):  # botocore knows fewer names of this machine
        return boto3.session.Session().client("s3", config=config.merge(Config(proxies={})))
    return client


def _endpoint() -> str:
    """Host and port that are talked to, without what else an address may hold."""
    address = urlsplit(_client(ATTEMPTS).meta.endpoint_url)
    return f"{address.scheme}://{address.hostname}" + (f":{address.port}" if address.port else "")


def _through() -> str:
    """The proxy that requests to the endpoint go through, for people."""
    proxy = proxy_for(_endpoint())
    return f", asked through {proxy}" if proxy else ""
