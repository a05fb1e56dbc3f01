"""An object store with the API of S3, for machines that share no file system.

Credentials and the endpoint come from the environment, as for all AWS tools: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_ENDPOINT_URL (for stores other than Amazon's), AWS_DEFAULT_REGION, or the files in ~/.aws. They are not stored,
logged or passed on.

An object appears completely or not at all: each upload is one request, which the server accepts only when complete.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gan.errors import StoreError
from gan.system.proxies import faulty_proxy, is_loopback, proxy_for

URL = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?P<prefix>(/[A-Za-z0-9][A-Za-z0-9._-]*)*)/?")
PROBE = ".probe"
MAX_READ_BYTES = 1 << 20
"""Limit for objects that are read into memory; the largest record of a run has a tenth of this size."""

RENEW_AFTER = timedelta(days=1)
"""Age at which an object that is used is renewed, so that its time of change says when it was last used."""

PARALLEL_REQUESTS = 10
CONNECT_SECONDS, READ_SECONDS = 10, 60
ATTEMPTS, ATTEMPTS_AT_START = 6, 2
"""Attempts per request. The pauses between six add up to 15 s on average; the check at the start should fail sooner."""

_MISSING_OBJECT = {"404", "NoSuchKey"}
_MISSING_BUCKET = {"NoSuchBucket", "InvalidBucketName", "PermanentRedirect", "301"}
_REFUSED = {"401", "403", "ExpiredToken", "InvalidToken"}
_RIGHTS_OF_A_RUN = "s3:GetObject and s3:PutObject"


@dataclass(frozen=True)
class StoredObject:
    """An object of the store; its age is that of its last change or renewal, by the clock of the store."""

    key: str  # below the prefix
    size: int  # bytes
    age: timedelta


@dataclass(frozen=True)
class ObjectStore:
    """The objects of a bucket whose keys start with a prefix."""

    bucket: str
    prefix: str

    @classmethod
    def open(cls, url: str) -> "ObjectStore":
        """Check that objects can be written and read at an address such as s3://bucket/some/prefix.

        Raises:
            StoreError: If the address is invalid or the store cannot be used; the message says what to do.
        """
        found = URL.fullmatch(url)
        if found is None:  # the message must not repeat the address, which may hold a password
            raise StoreError(
                "The address of the object store (--store-url) is not one of S3.\n"
                "Expected s3://bucket or s3://bucket/prefix, of letters, digits, dots and dashes. Credentials are not "
                "part of it; they come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
            )
        store = cls(found["bucket"], found["prefix"].removeprefix("/"))
        with store._translate_errors():
            proxy = faulty_proxy(_endpoint())
        if proxy:
            raise StoreError(
                f"Requests to the object store {store.url} need {proxy}, which cannot be used: {proxy.fault}.\n"
                f"Correct or unset {proxy.variable}, or name the store's host in NO_PROXY."
            )
        store.write(PROBE, b"", attempts=ATTEMPTS_AT_START)
        store.read(PROBE)
        return store

    @property
    def url(self) -> str:
        """The address, as `open` accepts it."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def size(self, key: str, *, renew: bool = False) -> int | None:
        """Return the size of an object in bytes; None if it does not exist. With `renew`, mark it as used."""
        with self._translate_errors(), _ignore_missing():
            answer = _client(ATTEMPTS).head_object(**self._address(key))
            if renew and _time_of(answer) - answer["LastModified"] >= RENEW_AFTER:
                self._copy_onto_itself(key)
            return int(answer["ContentLength"])
        return None

    def sizes(self, keys: Iterable[str], *, renew: bool = False) -> list[int | None]:
        """Return the sizes of several objects, with parallel requests."""
        with ThreadPoolExecutor(PARALLEL_REQUESTS) as pool:
            return list(pool.map(partial(self.size, renew=renew), keys))

    def objects(self) -> Iterator[StoredObject]:
        """Yield all objects below the prefix."""
        start = f"{self.prefix}/".lstrip("/")
        with self._translate_errors():
            for page in _client(ATTEMPTS).get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=start):
                now = _time_of(page)
                for row in page.get("Contents", ()):
                    yield StoredObject(row["Key"].removeprefix(start), row["Size"], now - row["LastModified"])

    def remove_unused(self, objects: Sequence[StoredObject]) -> list[StoredObject]:
        """Remove objects, and return those that were removed. One that was renewed since it was listed is left.

        An object is looked at and removed in two requests, so a renewal between them, within milliseconds, is lost.
        """
        with ThreadPoolExecutor(PARALLEL_REQUESTS) as pool:
            removed = list(pool.map(self._remove_unused, objects))
        return [found for found, is_removed in zip(objects, removed, strict=True) if is_removed]

    def _remove_unused(self, listed: StoredObject) -> bool:
        address = self._address(listed.key)
        with self._translate_errors("s3:DeleteObject"), _ignore_missing():
            answer = _client(ATTEMPTS).head_object(**address)
            if _time_of(answer) - answer["LastModified"] >= listed.age:
                _client(ATTEMPTS).delete_object(**address)
                return True
        return False

    def _copy_onto_itself(self, key: str) -> None:
        """Renew an object: the store copies it, and sets its time of change."""
        address = self._address(key)
        _client(ATTEMPTS).copy_object(**address, CopySource=address, MetadataDirective="REPLACE")

    def read(self, key: str) -> bytes | None:
        """Read an object of at most `MAX_READ_BYTES`; return None if it is missing or larger."""
        with self._translate_errors(), _ignore_missing():
            answer = _client(ATTEMPTS).get_object(**self._address(key))
            with closing(answer["Body"]) as body:
                return bytes(body.read()) if answer["ContentLength"] <= MAX_READ_BYTES else None
        return None

    def read_all(self, keys: Iterable[str]) -> list[bytes | None]:
        """Read several objects, with parallel requests."""
        with ThreadPoolExecutor(PARALLEL_REQUESTS) as pool:
            return list(pool.map(self.read, keys))

    def write(self, key: str, body: Any, attempts: int | None = None) -> None:
        """Create or replace an object from bytes or from an open binary file."""
        with self._translate_errors():
            _client(attempts or ATTEMPTS).put_object(**self._address(key), Body=body)

    def download(self, key: str, path: Path) -> bool:
        """Write the bytes of an object to a file; return False if the object does not exist."""
        with self._translate_errors(), _ignore_missing():
            _client(ATTEMPTS).download_file(self.bucket, self._address(key)["Key"], str(path))
            return True
        return False

    def _address(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": f"{self.prefix}/{key}".lstrip("/")}

    @contextmanager
    def _translate_errors(self, rights: str = _RIGHTS_OF_A_RUN) -> Iterator[None]:
        """Convert errors of boto3 to StoreErrors that say what to do; transient ones may be retried."""
        from boto3.exceptions import RetriesExceededError
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, IncompleteReadError
        from botocore.exceptions import ConnectionError as NoConnectionError

        try:
            yield
        except ClientError as error:
            raise self._describe_answer(error.response, rights) from error
        except (NoConnectionError, HTTPClientError, IncompleteReadError, RetriesExceededError) as error:
            proxy = proxy_for(_endpoint())
            through = f", requested through {proxy}" if proxy else ""
            raise StoreError(
                f"The object store {self.url} does not answer at {_endpoint()}{through} ({type(error).__name__}).\n"
                "Check AWS_ENDPOINT_URL (empty: Amazon's), the network and its proxy, and run the same command again: "
                "it continues from the finished stages, which are kept in the output folder.",
                transient=True,
            ) from error
        except (BotoCoreError, ValueError) as error:  # no credentials, an endpoint that is no URL, a broken ~/.aws
            raise StoreError(
                f"The object store {self.url} cannot be used: {type(error).__name__}.\n"
                "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or ~/.aws/credentials), and AWS_ENDPOINT_URL as "
                "https://host:port for a store other than Amazon's."
            ) from error

    def _describe_answer(self, response: dict[str, Any], rights: str) -> StoreError:
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
                "Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. They need the rights "
                f"{rights} on {self.url.removeprefix('s3://')}/*, and s3:ListBucket on {self.bucket}."
            )
        return StoreError(
            f"The object store {self.url} answers with an error ({code or status}), at {_endpoint()}.\n"
            "If it persists, check AWS_ENDPOINT_URL and AWS_DEFAULT_REGION. The same command continues from the "
            "finished stages, which are kept in the output folder.",
            transient=status.startswith("5") or status == "429",
        )


@contextmanager
def _ignore_missing() -> Iterator[None]:
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") not in _MISSING_OBJECT:
            raise


@cache
def _client(attempts: int) -> Any:
    """Return a client for all threads of this process.

    Checksums beyond the protocol's are disabled, since not every store supports them. Uploads are signed with their
    SHA-256, which every server checks, and downloads are checked against their reference.
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


def _time_of(answer: Any) -> datetime:
    """Return when the store sent an answer, by its own clock."""
    try:
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    except (KeyError, ValueError) as error:
        raise StoreError(
            "The object store sends no valid time (Date) with its answers, so the age of its objects is unknown.\n"
            "Check the proxy between this machine and the store, if there is one."
        ) from error


def _endpoint() -> str:
    """Return scheme, host and port of the endpoint, without credentials."""
    address = urlsplit(_client(ATTEMPTS).meta.endpoint_url)
    return f"{address.scheme}://{address.hostname}" + (f":{address.port}" if address.port else "")
