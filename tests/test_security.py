"""Access to a server with an auth string, hostile names, and secrets."""

import json
import os
import re
import urllib.request
from collections.abc import Iterator
from dataclasses import replace

import pytest
from builders import write_own_data
from fastapi.routing import APIWebSocketRoute
from pipeline import QUICK, SMALL, Checkout, wait_until
from playwright.sync_api import Browser, Page, expect
from servers import (
    FINAL,
    SET_UP,
    answer_to,
    ask,
    csrf_headers,
    exported_by_make,
    running,
    running_server,
    start_nightly,
)
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

AUTH = "admin:correct-horse-battery"
HOOK, KEY_ID, KEY = "hook-that-nobody-may-see", "AKIANOBODYMAYSEEIT", "key/that/nobody/may/see"
SECRETS = (AUTH, HOOK, KEY_ID, KEY)
SAVE_BLOCK = (
    f"from prefect.blocks.notifications import SlackWebhook; SlackWebhook(url='http://127.0.0.1:1/{HOOK}').save('ops')"
)
OPEN = {"/health", "/ready"}
HOSTILE_CLASSES = (
    "<img src=x onerror=window.hacked=1>",
    "[x](http://evil.example) | http://evil.example",
    "www.evil.example",
)
HOSTILE_FOLDER = 'out <img src=x onerror="window.hacked=1"> [x](javascript:alert) www.evil.example `b`'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A server with an auth string, set up, whose block holds a webhook's address."""
    folder = tmp_path_factory.mktemp("auth")
    checkout = Checkout.make(folder / "project", folder / "prefect")
    checkout.copy_database()
    checkout.options = QUICK
    checkout.env |= {"PREFECT_API_AUTH_STRING": AUTH, "PREFECT_LOGGING_LEVEL": "DEBUG"}
    data = write_own_data(checkout.folder / "mine")
    (data / "class-names.txt").write_text("\n".join(HOSTILE_CLASSES))
    with running_server(checkout, "-c", SAVE_BLOCK, PREFECT_SERVER_API_AUTH_STRING=AUTH):
        checkout.run(*SET_UP, "--alert-block", "slack-webhook/ops")
        yield checkout


@pytest.fixture(scope="module")
def run(server: Checkout) -> dict:
    """A run of the nightly deployment through a real worker that has secrets in its environment."""
    few = {"steps": 6, "sample_every": 3, "batch_size": 16, "num_samples": 100, "dataset": "mine", "data_dir": "mine"}
    few["set"] = SMALL[1::2]
    server.env |= {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": KEY}
    server.env |= {"FASHION_GAN_ALERT_BLOCK": "slack-webhook/ops"}
    with running(server, "flows.server.prefect_cli", "worker", "start", "--pool", "default", "--type", "process"):
        run_id = start_nightly(server, **few, train_on="here", output_dir=HOSTILE_FOLDER)
        wait_until(lambda: ask(server, f"flow_runs/{run_id}")["state_type"] in FINAL, 600)
    return ask(server, f"flow_runs/{run_id}")


def test_without_the_auth_string_every_path_but_health_answers_401(server: Checkout) -> None:
    no_page = {"content-type": "application/json", **csrf_headers(server)}  # what a page may not is another test

    def status(method: str, path: str, authorization: str = "") -> int:
        return answer_to(server, method, path, {"authorization": authorization, **no_page})[0]

    with urllib.request.urlopen(server.env["PREFECT_API_URL"].removesuffix("/api") + "/openapi.json") as answer:
        paths = json.load(answer)["paths"]
    asked = [(method, re.sub(r"\{.*?\}", "x", path)) for path, methods in paths.items() for method in methods]
    answers = {(method, path): status(method, path) for method, path in asked if path not in OPEN}
    assert len(answers) > 150
    assert set(answers.values()) == {401}, {what: code for what, code in answers.items() if code != 401}
    assert status("post", "/flows/filter", "Basic YWRtaW46d3Jvbmc=") == 401
    assert {status("get", path) for path in OPEN} == {200}


def websocket_paths() -> set[str]:
    """Every path of the API that a websocket may be opened at, as Prefect's routers have them."""
    from prefect.server.api.server import API_ROUTERS

    routes = [route for router in API_ROUTERS for route in router.routes if isinstance(route, APIWebSocketRoute)]
    return {route.path.replace("{work_pool_name}", "default") for route in routes}


def open_websocket(server: Checkout, path: str, token: str | None, subprotocol: str | None) -> str:
    """What comes of it: "open", or why it was closed."""
    url = server.env["PREFECT_API_URL"].replace("http", "ws", 1) + path
    try:
        with connect(url, subprotocols=[Subprotocol(subprotocol)] if subprotocol else None, proxy=None) as websocket:
            if subprotocol:
                websocket.send(json.dumps({"type": "auth", "token": token}))
            told = json.loads(websocket.recv(20))
            return "open" if told == {"type": "auth_success"} else str(told)
    except InvalidStatus as refused:
        return f"refused with {refused.response.status_code}"
    except ConnectionClosed as closed:
        return f"closed with {closed.rcvd.code if closed.rcvd else None}"


def test_without_the_auth_string_no_websocket_opens(server: Checkout) -> None:
    assert len(websocket_paths()) == 5
    for path in websocket_paths():
        assert open_websocket(server, path, AUTH, "prefect") == "open", path
        assert open_websocket(server, path, None, "prefect") == "closed with 1008", path
        assert open_websocket(server, path, "admin:wrong", "prefect") == "closed with 1008", path
        assert open_websocket(server, path, None, None) == "refused with 403", path


GIVEN_TO_MAKE = [
    ({}, "http://127.0.0.1:4200,http://127.0.0.1:4200,http://localhost:4200"),
    ({"PREFECT_SERVER_API_PORT": "4300"}, "http://127.0.0.1:4300,http://127.0.0.1:4300,http://localhost:4300"),
    ({"PREFECT_SERVER_API_HOST": "10.0.0.5"}, "http://10.0.0.5:4200,http://127.0.0.1:4200,http://localhost:4200"),
    ({"PREFECT_SERVER_CORS_ALLOWED_ORIGINS": "https://ours"}, "https://ours"),
]


@pytest.mark.parametrize(("given", "origins"), GIVEN_TO_MAKE)
def test_the_allowed_origins_of_a_server_follow_its_address(given: dict[str, str], origins: str) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    assert exported_by_make(env | given)["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] == origins


@pytest.mark.parametrize(
    ("command", "given"), [("flows/setup_server.py", None), ("flows/train_flow.py", "admin:wrong")]
)
def test_a_command_without_the_auth_string_is_one_clear_error(server: Checkout, tmp_path, command, given) -> None:
    env = {name: value for name, value in server.env.items() if name != "PREFECT_API_AUTH_STRING"}
    stranger = replace(server, env=env | ({"PREFECT_API_AUTH_STRING": given} if given else {}))
    options = ("--output-dir", tmp_path) if "train" in command else ()
    with stranger.started(command, *options) as process:
        output, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "does not let us in" in output
    assert "PREFECT_API_AUTH_STRING" in output
    assert "Traceback" not in output


def test_with_the_auth_string_a_worker_runs_a_deployment(server: Checkout, run) -> None:
    assert run["state_type"] == "COMPLETED", run["state"]
    assert (server.folder / HOSTILE_FOLDER / "latest" / "report.html").is_file()
    assert {path.name for path in server.folder.iterdir()} <= {
        "flows",
        "gan",
        "tasks",
        "mine",
        "prefect.yaml",
        HOSTILE_FOLDER,
    }


def test_no_secret_is_in_what_a_run_writes(server: Checkout, run) -> None:
    lines = ask(server, "logs/filter", {"logs": {"flow_run_id": {"any_": [run["id"]]}}})
    assert any("Finished in state" in line["message"] for line in lines)
    artifacts = ask(server, "artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
    shown = json.dumps([lines, artifacts, run, ask(server, "deployments/filter", {})])
    home = server.folder.parent
    written = [path for path in home.rglob("*") if path.is_file()]  # output folder, logs, the server's database
    assert {"manifest.json", "prefect.db"} <= {path.name for path in written}
    assert len([path for path in home.glob("*.log") if path.stat().st_size]) == 2, "of the server and of the worker"
    for secret in SECRETS:
        assert secret not in shown
        found = [path for path in written if secret.encode() in path.read_bytes()]
        assert not found, f"{secret} is in {found}"


@pytest.fixture
def page(browser: Browser, server: Checkout) -> Iterator[Page]:
    """A page of the UI, after its question for the auth string; what it asks of other hosts is an error."""
    page = browser.new_page(base_url=server.env["PREFECT_API_URL"].removesuffix("/api"))
    page.set_default_timeout(30_000)
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.on("dialog", lambda dialog: requested.append("http://evil.example/dialog"))
    page.goto("/login")
    page.locator("input[type=password]").fill(AUTH)
    page.keyboard.press("Enter")
    page.wait_for_url("**/dashboard")
    yield page
    assert not [url for url in requested if "evil.example" in url.partition("?")[0]]
    page.close()


def test_the_ui_shows_nothing_to_a_stranger(browser: Browser, server: Checkout, run) -> None:
    page = browser.new_page(base_url=server.env["PREFECT_API_URL"].removesuffix("/api"))
    page.goto(f"/runs/flow-run/{run['id']}")
    expect(page.get_by_text("Authentication failed").first).to_be_visible(timeout=60_000)
    page.goto("/login")
    page.locator("input[type=password]").fill("admin:wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Authentication failed").first).to_be_visible(timeout=60_000)
    assert not page.url.endswith("/dashboard")
    page.close()


def test_hostile_class_names_and_folders_are_only_text_in_the_ui(server: Checkout, run, page: Page) -> None:
    artifacts = ask(server, "artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
    assert "evil.example" in json.dumps(artifacts), "else nothing is tested"
    places = [f"/artifacts/artifact/{artifact['id']}" for artifact in artifacts]
    shown = False
    for place in [*places, *(f"/runs/flow-run/{run['id']}?tab={tab}" for tab in ("Logs", "Artifacts", "Parameters"))]:
        page.goto(place)
        expect(page.get_by_text(run["name"]).or_(page.get_by_text(re.compile("Artifact"))).first).to_be_visible()
        page.wait_for_timeout(500)  # for what a script would do, late
        shown = shown or "evil.example" in page.inner_text("body")
        assert page.evaluate("window.hacked") is None, place
        assert not page.locator("a[href*='evil.example'], a[href^='javascript'], img[src='x']").count(), place
    assert shown, "else nothing was tested"


def test_hostile_class_names_are_only_text_in_the_report(server: Checkout, run, browser: Browser) -> None:
    page = browser.new_page()
    page.goto((server.folder / HOSTILE_FOLDER / "latest" / "report.html").as_uri())
    assert page.evaluate("window.hacked") is None
    assert not page.locator("a[href*='evil.example'], img[src='x']").count()
    assert HOSTILE_CLASSES[0] in page.content().replace("&lt;", "<").replace("&gt;", ">")
    page.close()
