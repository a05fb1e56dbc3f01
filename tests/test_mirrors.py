"""Downloads from a real HTTP server on this machine with all known faults."""

import os
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import patch

import pytest
from builders import fetch

from gan.data import download, sources
from gan.errors import SourceError
from gan.system.proxies import configure_proxies


class Mirror(BaseHTTPRequestHandler):
    server: "MirrorServer"
    behaviour = "good"

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # with a host in front if this server is asked as a proxy
        content = (self.server.folder / self.path.rpartition("/")[2]).read_bytes()
        if self.behaviour == "busy":
            self.send_error(503)
            return
        if self.behaviour == "gone":
            self.send_error(404)
            return
        declared = len(content)
        if self.behaviour == "cut":
            content = content[: declared // 2]
        if self.behaviour == "wrong":
            content = bytes(declared)
        if self.behaviour == "endless":
            content, declared = b"", 0
        self.send_response(200)
        if declared:
            self.send_header("Content-Length", str(declared))
        self.end_headers()
        if self.behaviour in ("stalled", "dripping"):
            self.be_slow(content)
            return
        if content:
            self.wfile.write(content)
            return
        try:
            for _ in range(1000):
                self.wfile.write(bytes(1 << 16))
        except ConnectionError:
            self.server.hung_up.set()

    def be_slow(self, content: bytes) -> None:
        """Send half of the file and then nothing, or single bytes that each arrive in time."""
        half = len(content) // 2
        self.wfile.write(content[:half])
        with suppress(ConnectionError):
            for byte in content[half:]:
                if self.server.given_up.wait(60 if self.behaviour == "stalled" else 0.1):
                    return
                self.wfile.write(bytes([byte]))

    def log_message(self, *args) -> None:
        pass


class MirrorServer(ThreadingHTTPServer):
    """Serves the files of a folder, and records the requests and the end of a connection."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Mirror)
        self.folder = folder
        self.asked: list[str] = []
        self.hung_up, self.given_up = threading.Event(), threading.Event()


@pytest.fixture
def mirror(packed, monkeypatch):
    dataset, folder = packed
    server = MirrorServer(folder)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setattr(Mirror, "behaviour", "good")
    yield dataset.model_copy(update={"mirrors": (f"http://127.0.0.1:{server.server_port}/",)}), server
    server.given_up.set()
    server.shutdown()
    server.server_close()


def test_a_mirror_serves_and_the_next_fetch_needs_no_network(mirror, tmp_path, nowhere) -> None:
    dataset, _ = mirror
    source, files = fetch(dataset, tmp_path)
    assert "the mirror" in source
    source, again = fetch(dataset, tmp_path)
    assert "an earlier download" in source
    assert again == files


@pytest.mark.parametrize(
    ("behaviour", "reason", "transient"),
    [
        ("busy", "answered 503", True),
        ("gone", "answered 404", False),
        ("cut", "the connection to 127.0.0.1 failed", True),
        ("wrong", "served other bytes than the original", False),
        ("endless", "sends more than the", False),
    ],
)
def test_the_error_names_the_fault_of_a_mirror_and_no_file_is_left(
    mirror, tmp_path, nowhere, monkeypatch, behaviour, reason, transient
) -> None:
    dataset, server = mirror
    monkeypatch.setattr(Mirror, "behaviour", behaviour)
    with pytest.raises(SourceError, match=reason) as caught:
        fetch(dataset, tmp_path)
    assert caught.value.transient is transient
    cache = sources.cache_dir(dataset)
    assert not cache.exists() or list(cache.iterdir()) == []
    assert behaviour != "endless" or server.hung_up.wait(10)


def test_the_next_mirror_is_tried_when_one_fails(mirror, tmp_path, nowhere) -> None:
    dataset, _ = mirror
    both = dataset.model_copy(update={"mirrors": ("https://mirror.invalid/", *dataset.mirrors)})
    source, files = fetch(both, tmp_path)
    assert "127.0.0.1" in source
    assert len(files) == 4


@pytest.mark.parametrize(
    ("behaviour", "limit", "reason"),
    [
        ("stalled", "READ_TIMEOUT_SECONDS", "the connection to 127.0.0.1 failed|did not answer in time"),
        ("dripping", "FILE_TIMEOUT_SECONDS", "is too slow: .* bytes in 1 s"),
    ],
)
@pytest.mark.timeout(60)
def test_a_slow_or_stalled_mirror_is_abandoned_after_a_time_limit(
    mirror, tmp_path, nowhere, monkeypatch, behaviour, limit, reason
) -> None:
    dataset, server = mirror
    monkeypatch.setattr(Mirror, "behaviour", behaviour)
    monkeypatch.setattr(download, limit, 1)
    with pytest.raises(SourceError, match=reason) as caught:
        fetch(dataset, tmp_path)
    assert caught.value.transient
    server.given_up.set()
    monkeypatch.setattr(Mirror, "behaviour", "good")
    source, files = fetch(dataset, tmp_path)
    assert "the mirror" in source, "it is back again"
    assert len(files) == 4


@pytest.fixture
def no_proxies():
    """Give the test an environment without proxies, and restore all of it: what `configure_proxies` sets, too."""
    with patch.dict(os.environ):
        for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
            del os.environ[name]
        yield


def test_a_download_goes_through_the_proxy_of_the_environment(
    mirror, tmp_path, nowhere, no_proxies, monkeypatch
) -> None:
    dataset, server = mirror
    monkeypatch.setenv("http_proxy", f"http://user:secret@127.0.0.1:{server.server_port}")
    configure_proxies()
    _, files = fetch(dataset.model_copy(update={"mirrors": ("http://mirror.invalid/",)}), tmp_path)
    assert len(files) == 4
    assert all(path.startswith("http://mirror.invalid/") for path in server.asked)


def test_a_mirror_on_this_machine_is_reached_without_the_proxy(
    mirror, tmp_path, nowhere, no_proxies, monkeypatch
) -> None:
    dataset, server = mirror
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    configure_proxies()
    fetch(dataset, tmp_path)
    assert all(path.startswith("/") for path in server.asked)


@pytest.mark.parametrize(
    ("variable", "proxy", "reason"),
    [
        ("http_proxy", "http://user:secret@127.0.0.1:9", r"through the proxy http://127.0.0.1:9 \(http_proxy\)"),
        ("HTTP_PROXY", "socks5h://127.0.0.1:9", r"the proxy socks5h://127.0.0.1:9 \(HTTP_PROXY\)"),
        ("ALL_PROXY", "socks://127.0.0.1:9/", r"the proxy socks://127.0.0.1:9/ \(ALL_PROXY\) cannot be used: HTTP cl"),
        ("http_proxy", "http://proxy:port", r"the proxy http://proxy:port \(http_proxy\) cannot be used: its host"),
        ("REQUESTS_CA_BUNDLE", "/nowhere.pem", "REQUESTS_CA_BUNDLE=/nowhere.pem names a file that does not exist"),
    ],
)
def test_the_error_names_an_unusable_proxy_without_its_password(
    mirror, tmp_path, nowhere, no_proxies, monkeypatch, variable, proxy, reason
) -> None:
    dataset, _ = mirror
    monkeypatch.setenv(variable, proxy)
    configure_proxies()
    with pytest.raises(SourceError, match=reason) as caught:
        fetch(dataset.model_copy(update={"mirrors": ("http://mirror.invalid/",)}), tmp_path)
    assert "secret" not in str(caught.value)
