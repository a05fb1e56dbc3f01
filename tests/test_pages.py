"""The read-only server of an output folder's pages, with real requests: what it shows, and to whom."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from builders import write_run
from cyclopts import CycloptsError
from pipeline import free_port
from prefect.settings import PREFECT_SERVER_API_AUTH_STRING, temporary_settings
from servers import LOOPBACK, addresses_at

from flows.server.pages import AUTH_VARIABLE, app, listen, pages, serve_beside
from gan.errors import SettingsError
from gan.report.front_page import write_front_page
from tasks.artifacts import PAGES_URL_VARIABLE, pages_url

Serve = Callable[..., int]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An output folder with two runs, a link to the last one, and files that nobody should see."""
    root = tmp_path / "artifacts"
    for night in range(2):
        write_run(root, night)
    write_front_page(root)
    (root / "latest").symlink_to("runs/night-001")
    (root / "store" / "ab").mkdir(parents=True)
    (root / "store" / "ab" / "secret.npy").write_text("secret")
    (root / "runs" / ".night-001.partial").mkdir()
    (root / "runs" / ".night-001.partial" / "report.html").write_text("secret")
    (root / "runs" / "night-000" / ".hidden").write_text("secret")
    (root / "champion.jsonl").write_text("secret")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "report.html").write_text("secret")
    (root / "runs" / "elsewhere").symlink_to(tmp_path / "outside")
    return root


@pytest.fixture
def serve(folder: Path) -> Iterator[Serve]:
    """A function that serves the folder on a free port, and returns the port."""
    servers = []

    def start() -> int:
        port = free_port()
        server, opened = listen(folder, "127.0.0.1", port)
        thread = threading.Thread(target=server.run, args=([opened],))
        thread.start()
        servers.append((server, thread))
        return port

    yield start
    for server, thread in servers:
        server.should_exit = True
        thread.join(20)


def raw(port: int, path: str, *, method: str = "GET", host: str = "127.0.0.1") -> tuple[int, str]:
    """Send a request with exactly this path, which an HTTP client would normalize; return status and body."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=20)) as connection:
        connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode(errors="replace")
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split()[1]), body


def test_front_page_reports_and_pictures_are_shown(serve: Serve) -> None:
    port = serve()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        page = client.get("/")
        assert page.status_code == 200
        assert "night-001" in page.text
        assert page.headers["cache-control"] == "no-cache"
        assert page.headers["x-content-type-options"] == "nosniff"
        for path in (
            "/index.html",
            "/runs/night-000/report.html",
            "/latest/report.html",
            "/runs/night-001/final_grid.png",
        ):
            assert client.get(path).status_code == 200, path


HIDDEN = (
    "/store/ab/secret.npy",
    "/champion.jsonl",
    "/runs/night-000/.hidden",
    "/runs/.night-001.partial/report.html",
    "/runs/../store/ab/secret.npy",
    "/runs/%2e%2e/store/ab/secret.npy",
    "/runs/..%2fstore%2fab%2fsecret.npy",
    "/%2e%2e/outside/report.html",
    "//etc/passwd",
    "/runs//etc/passwd",
    "/runs/elsewhere/report.html",
    "/runs/night-000/..%5c..%5cchampion.jsonl",
    "/runs/%00",
    "/.in-use/",
    "/runs/",
)


def test_nothing_else_is_shown(serve: Serve) -> None:
    port = serve()
    for path in HIDDEN:
        status, body = raw(port, path)
        assert status in (400, 404), (path, body)
        assert "secret" not in body, path
        assert "Traceback" not in body, path


def test_nothing_can_be_changed(serve: Serve, folder: Path) -> None:
    port = serve()
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert raw(port, "/runs/night-000/report.html", method=method)[0] == 405
    assert (folder / "runs" / "night-000" / "report.html").exists()


def test_a_page_of_another_site_whose_name_leads_here_reads_nothing(serve: Serve) -> None:
    assert raw(serve(), "/", host="evil.example")[0] == 400


def test_with_an_auth_string_nobody_else_gets_in(serve: Serve, monkeypatch) -> None:
    monkeypatch.setenv(AUTH_VARIABLE, "anna:pässword")
    address = f"http://127.0.0.1:{serve()}/index.html"
    refused = httpx.get(address)
    assert (refused.status_code, refused.headers["www-authenticate"][:5]) == (401, "Basic")
    assert httpx.get(address, auth=("anna", "password")).status_code == 401
    assert httpx.get(address, auth=("anna", "pässword")).status_code == 200


def test_the_auth_string_of_the_prefect_server_protects_the_pages_too(serve: Serve) -> None:
    with temporary_settings({PREFECT_SERVER_API_AUTH_STRING: "anna:secret"}):
        address = f"http://127.0.0.1:{serve()}/index.html"
    assert httpx.get(address).status_code == 401
    assert httpx.get(address, auth=("anna", "secret")).status_code == 200


def test_other_machines_reach_it_with_a_password_only(folder: Path, monkeypatch) -> None:
    with pytest.raises(SettingsError, match="no password"):
        pages(output_dir=folder, host="0.0.0.0", port=free_port())
    monkeypatch.setenv(AUTH_VARIABLE, "no-colon")
    with pytest.raises(SettingsError, match="user:password"):
        pages(output_dir=folder)


def test_a_port_that_is_taken_and_a_folder_that_is_missing_are_clear_errors(folder: Path, capsys, monkeypatch) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"port {port}: Address already in use"):
            pages(output_dir=folder, port=port)
        monkeypatch.setattr("flows.server.pages.DEFAULT_PORT", port)
        serve_beside(folder)  # the Prefect server starts nevertheless
    assert "Reports are not served" in capsys.readouterr().err
    with pytest.raises(CycloptsError, match="70000"):
        app(["--port", "70000"], exit_on_error=False, print_error=False)
    with pytest.raises(SettingsError, match="There is no folder"):
        pages(output_dir=folder / "missing", port=free_port())


def test_the_pages_are_served_beside_another_server_on_loopback_only(folder: Path, monkeypatch) -> None:
    port = free_port()
    monkeypatch.setattr("flows.server.pages.DEFAULT_PORT", port)
    serve_beside(folder)
    assert addresses_at(port) == {LOOPBACK}
    assert httpx.get(f"http://127.0.0.1:{port}/", timeout=30).status_code == 200


def test_links_lead_to_the_address_that_is_set(monkeypatch) -> None:
    assert pages_url("runs/a b/report.html") == "http://127.0.0.1:4280/runs/a%20b/report.html"
    monkeypatch.setenv(PAGES_URL_VARIABLE, "https://gan.example/reports/")
    assert pages_url("index.html") == "https://gan.example/reports/index.html"
