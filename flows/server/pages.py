"""A read-only web server for the pages of an output folder: the front page, reports and leaderboards.

python -m flows.server.pages --output-dir artifacts      (make pages; make server starts it too)
"""

import base64
import ipaddress
import os
import secrets
import socket
import threading
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Annotated, Any
from urllib.parse import urlsplit

import uvicorn
from cyclopts import Parameter
from cyclopts.validators import Number
from prefect.settings import PREFECT_SERVER_API_AUTH_STRING
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from gan.command import new_app, run_command, terminal
from gan.config import DEFAULT_OUTPUT_DIR
from gan.errors import FashionGanError, SettingsError
from gan.report.front_page import COMPARISONS, FRONT_PAGE
from tasks.artifacts import DEFAULT_PAGES_URL, PAGES_URL_VARIABLE, pages_url

AUTH_VARIABLE = "FASHION_GAN_PAGES_AUTH_STRING"
DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", urlsplit(DEFAULT_PAGES_URL).port or 80

SHOWN = frozenset({FRONT_PAGE, "runs", "sweeps", COMPARISONS, "champions", "latest", "champion"})
"""What the server shows of an output folder. The store and the files about runs in progress are not shown."""

HEADERS = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
"""Pages are written again, so a browser asks each time whether its copy is still right."""


class Pages(StaticFiles):
    """The files in SHOWN, without hidden ones. A link that leads out of the folder is not followed."""

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """Return path and status of a file; no status, which is an answer of 404, if it is not shown."""
        parts = PurePath(path).parts
        if parts and (parts[0] not in SHOWN or any(part.startswith(".") for part in parts)):
            return "", None
        return super().lookup_path(path)

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """Return the answer with a file, with HEADERS."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(HEADERS)
        return response


class BasicAuthentication:
    """Middleware that asks for a user name and a password (RFC 7617)."""

    def __init__(self, app: ASGIApp, auth_string: str) -> None:
        """Let through requests with `auth_string`, which has the form user:password."""
        self._app = app
        self._expected = b"Basic " + base64.b64encode(auth_string.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401 to a request without the right header."""
        given = Headers(scope=scope).get("authorization", "").encode() if scope["type"] == "http" else self._expected
        if secrets.compare_digest(given, self._expected):
            await self._app(scope, receive, send)
        else:
            headers = {"WWW-Authenticate": 'Basic realm="fashion-gan", charset="UTF-8"'}
            await PlainTextResponse("Give user and password.\n", 401, headers)(scope, receive, send)


def make_app(folder: Path, *, is_loopback: bool, auth_string: str | None) -> Starlette:
    """Return the server's application.

    Args:
        folder: The output folder.
        is_loopback: Whether only this machine reaches the server. Then requests must name it as their host: a page of
            another site, whose name was made to lead here (DNS rebinding), reads nothing.
        auth_string: user:password; None to let everybody in who reaches the server.
    """
    middleware = []
    if is_loopback:
        hosts = ["127.0.0.1", "localhost", "[::1]", urlsplit(pages_url()).hostname or ""]
        middleware.append(Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False))
    if auth_string:
        middleware.append(Middleware(BasicAuthentication, auth_string=auth_string))
    return Starlette(routes=[Mount("/", Pages(directory=folder, html=True))], middleware=middleware)


def listen(folder: Path, host: str, port: int) -> tuple[uvicorn.Server, socket.socket]:
    """Open the port, and return the server, which runs on it.

    Raises:
        SettingsError: If the folder does not exist, the auth string is missing or invalid, or the port is not free.
    """
    auth_string, is_loopback = _auth_string(), _is_loopback(host)
    if not folder.is_dir():
        raise SettingsError(f"There is no folder {folder}.\nGive the folder of your runs with --output-dir.")
    if auth_string is not None and not all(auth_string.partition(":")):
        raise SettingsError(f"{AUTH_VARIABLE} does not have the form user:password.\nCorrect or unset it.")
    if not is_loopback and not auth_string:
        raise SettingsError(
            f"--host got {host}, so other machines would reach the pages, but there is no password.\n"
            f"Set {AUTH_VARIABLE}=user:password, or leave --host out: then only this machine reaches them."
        )
    app = make_app(folder, is_loopback=is_loopback, auth_string=auth_string)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        opened = socket.create_server((host, port), family=family)
    except OSError as error:
        raise SettingsError(
            f"The pages cannot be served on {host}, port {port}: {error.strerror or error}.\n"
            f'Choose another port, as in make pages ARGS="--port 4281", and set {PAGES_URL_VARIABLE} to that '
            "address: links in the UI lead there."
        ) from error
    config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, lifespan="off")
    return uvicorn.Server(config), opened


def serve_beside(folder: Path) -> None:
    """Serve the pages in a thread of this process for as long as it runs; if that fails, say why and go on."""
    console = terminal(stderr=True)
    try:
        server, opened = listen(folder, DEFAULT_HOST, DEFAULT_PORT)
    except FashionGanError as error:
        console.print(f"Reports are not served: {error}")
        return
    threading.Thread(target=server.run, args=([opened],), daemon=True).start()
    console.print(f"Reports of {folder}: {pages_url()}")


def _auth_string() -> str | None:
    """Return the auth string of the pages, or else that of the Prefect server, which was set to keep others out."""
    of_server: str | None = PREFECT_SERVER_API_AUTH_STRING.value()
    return os.environ.get(AUTH_VARIABLE) or of_server or None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


app = new_app("flows.server.pages")


@app.default
def pages(
    *,
    output_dir: Path = DEFAULT_OUTPUT_DIR,
    host: str = DEFAULT_HOST,
    port: Annotated[int, Parameter(validator=Number(gte=1, lt=2**16))] = DEFAULT_PORT,
) -> None:
    """Serve the front page, reports and leaderboards of an output folder, until Ctrl-C.

    Args:
        output_dir: The output folder.
        host: Address to listen on. With any other than a loopback address a password is required, as user:password in
            the environment variable FASHION_GAN_PAGES_AUTH_STRING.
        port: Port to listen on.
    """
    server, opened = listen(output_dir.absolute(), host, port)
    shown = f"[{host}]" if ":" in host else host
    terminal(stderr=True).print(f"http://{shown}:{port}  (Ctrl-C ends it)")
    with suppress(KeyboardInterrupt):
        server.run([opened])


if __name__ == "__main__":
    run_command(app)
