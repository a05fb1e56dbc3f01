"""Start a local server of the S3 API (moto), and a connection to it that can stall and break."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import requests
from pipeline import free_port

from gan.storage.store import FileRef, Store

BUCKET, SECRET = "garments", "a-secret-that-nobody-may-see"

SERVER = """
import sys
from datetime import timedelta
from pathlib import Path

import moto.s3.models
from moto.server import main

past, now = Path(sys.argv.pop(1)), moto.s3.models.utcnow
moto.s3.models.utcnow = lambda: now() - timedelta(days=float(past.read_text()))
main(sys.argv[1:])
"""
"""moto's server, except that objects are as many days old when they are written as a file says."""


@dataclass
class S3Server:
    """A server that keeps its objects in memory: after a restart it is empty."""

    port: int = field(default_factory=free_port)
    process: subprocess.Popen | None = None
    clients: dict[str, Any] = field(default_factory=dict)
    past: Path = field(default_factory=lambda: Path(tempfile.mkdtemp()) / "days")

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def env(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def start(self) -> None:
        self.past.parent.mkdir(exist_ok=True)
        self.past.write_text("0")
        command = [sys.executable, "-c", SERVER, str(self.past), "-H", "127.0.0.1", "-p", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(requests.ConnectionError):
                requests.get(f"{self.endpoint}/moto-api/", timeout=10)
                break
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        self.client().create_bucket(Bucket=BUCKET)

    def stop(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.past.parent)

    def client(self, service: str = "s3"):
        if service not in self.clients:
            self.clients[service] = boto3.client(
                service,
                endpoint_url=self.endpoint,
                aws_access_key_id="root",
                aws_secret_access_key="root",
                region_name="us-east-1",
            )
        return self.clients[service]

    def keys(self, prefix: str) -> list[str]:
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [row["Key"] for page in pages for row in page.get("Contents", [])]

    def get(self, key: str) -> bytes:
        return self.client().get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def put(self, key: str, content: bytes) -> None:
        self.client().put_object(Bucket=BUCKET, Key=key, Body=content)

    def delete(self, key: str) -> None:
        self.client().delete_object(Bucket=BUCKET, Key=key)

    @contextlib.contextmanager
    def days_ago(self, days: float):
        """Make every object that is written within the block so many days old."""
        self.past.write_text(str(days))
        try:
            yield
        finally:
            self.past.write_text("0")

    @contextlib.contextmanager
    def asking_who_it_is(self):
        """Make the server check signatures and permissions within the block."""
        self._check_after("0")
        try:
            yield
        finally:
            self._check_after("inf")

    def _check_after(self, num_requests: str) -> None:
        requests.post(f"{self.endpoint}/moto-api/reset-auth", data=num_requests, timeout=10).raise_for_status()


class Line:
    """A proxy between a server and its clients that stalls after `stall_after` bytes of an upload."""

    def __init__(self, port: int, *, stall_after: int) -> None:
        self.target, self.stall_after, self.passed = port, stall_after, 0
        self.stalled, self.released = threading.Event(), threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.threads = [threading.Thread(target=self._accept)]
        self.threads[0].start()

    def close(self) -> None:
        """Break the connections; the server has received only a part of the upload."""
        self.released.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join()

    def _accept(self) -> None:
        with self.listener, contextlib.suppress(OSError):  # when it is shut down
            while True:
                client, _ = self.listener.accept()
                self.threads.append(threading.Thread(target=self._serve, args=(client,)))
                self.threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self.target)) as server:
            back = threading.Thread(target=self._carry, args=(server, client))
            back.start()
            self._carry(client, server, stalls=True)
            back.join()

    def _carry(self, source: socket.socket, sink: socket.socket, stalls: bool = False) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(1 << 14):
                sink.sendall(chunk)
                self.passed += len(chunk) if stalls else 0
                if stalls and self.passed > self.stall_after:
                    self.stalled.set()
                    self.released.wait()
                    break
        for end in (sink, source):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def key_of(store: Store, ref: FileRef) -> str:
    """Return the key of a stored file in the bucket."""
    return f"{store.remote.prefix}/{ref.by_content().key}"


def records_of(s3: S3Server, store: Store) -> list[str]:
    """Return the keys of the stages' result records in the bucket."""
    return s3.keys(f"{store.remote.prefix}/.results/")
