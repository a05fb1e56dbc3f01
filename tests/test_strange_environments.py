"""Whole runs in environments as strangers have them: the same bytes, nothing left behind, one clear error."""

import http.server
import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from faults import same_bytes, started
from pipeline import ALL_CORES, AS_COMMAND, SMALL_CONV, STAGES_OF_OWN_DATA, Checkout, free_port, ran, read_until, states
from servers import SET_UP, WORKER

STRANGE = {
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TF_SET_ONEDNN_FPMATH_MODE": "BF16",
    "TF_NUM_INTRAOP_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_enable_fast_math=true",
    "NVIDIA_TF32_OVERRIDE": "1",
    "KERAS_BACKEND": "jax",
    "MPLBACKEND": "nothing",
    "PYTHONHASHSEED": "7",
    "PYTHONIOENCODING": "ascii",
    "PYTHONOPTIMIZE": "2",
    "PYTHONWARNINGS": "error",
    "LC_ALL": "C",
    "TZ": "Asia/Tokyo",
    "COLUMNS": "0",
    "OPENBLAS_CORETYPE": "Haswell",
    "OMP_NUM_THREADS": "1",
    "GLIBC_TUNABLES": "glibc.malloc.arena_max=8",
    "SOURCE_DATE_EPOCH": "0",
    "PREFECT_DEFAULT_RESULT_STORAGE_BLOCK": "s3-bucket/none",
    "PREFECT_RESULTS_DEFAULT_SERIALIZER": "none",
    "PREFECT_MESSAGING_BROKER": "nowhere.messaging",
    "PREFECT_MESSAGING_CACHE": "nowhere.messaging",
    "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "nowhere.ordering",
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "nowhere.leases",
    "PREFECT_SERVER_DOCKET_URL": "redis://nowhere.invalid:6379/0",
    "NO_PROXY": "::1/128",
    "ALL_PROXY": "socks://127.0.0.1:9/",
}
KERAS = {"floatx": "float64", "epsilon": 0.001, "image_data_format": "channels_first", "backend": "jax"}


def command(data: Path, folder: Path) -> tuple[object, ...]:
    few = (
        "--recipe",
        "conv",
        *SMALL_CONV,
        "--set",
        "num_groups=3",
        "--steps",
        3,
        "--sample-every",
        2,
        "--batch-size",
        4,
    )
    small = ("--num-samples", 100, "--device", "cpu")
    where = ("--dataset", "own", "--data-dir", data, "--output-dir", folder, "--run-name", "same")
    return ("flows/train_flow.py", *few, *small, *where)


@pytest.fixture(scope="module")
def checkout(quick_checkout) -> Checkout:
    """Return a checkout whose runs have as many threads as cores: else variables about threads would prove nothing."""
    return replace(quick_checkout, shares_cores=False)


@pytest.fixture(scope="module")
def usual(tmp_path_factory, checkout, data) -> Path:
    """Return the output folder of a run in the environment of these tests."""
    folder = tmp_path_factory.mktemp("usual") / "artifacts"
    assert ran(states(checkout.run(*command(data, folder)))) == set(STAGES_OF_OWN_DATA)
    return folder


class RecordingServer(http.server.ThreadingHTTPServer):
    """A server whose handler records the addresses that it is asked for."""

    asked: list[str]


@pytest.fixture
def proxy() -> Iterator[RecordingServer]:
    """A proxy that refuses everything, and notes what it was asked for."""

    class Refuse(http.server.BaseHTTPRequestHandler):
        server: RecordingServer

        def do_GET(self) -> None:
            self.server.asked.append(self.path)
            self.send_error(503)

        do_POST = do_GET  # noqa: N815
        do_CONNECT = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = RecordingServer(("127.0.0.1", 0), Refuse)
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def strange(checkout: Checkout, folder: Path, **more: str) -> Checkout:
    """The same project in a strange environment, and what is in its home directory."""
    (folder / "keras").mkdir(parents=True)
    (folder / "keras" / "keras.json").write_text(json.dumps(KERAS))
    (folder / "matplotlibrc").write_text("font.size: 30\naxes.grid: True\nnonsense\n")
    env = {**checkout.env, **STRANGE, "KERAS_HOME": str(folder / "keras"), "MATPLOTLIBRC": str(folder), **more}
    return replace(checkout, env=env)


def test_a_strange_environment_changes_no_byte_and_no_cache(checkout, data, usual, proxy, tmp_path) -> None:
    address = f"http://127.0.0.1:{proxy.server_port}"
    stranger = strange(checkout, tmp_path / "home", HTTP_PROXY=address)
    folder = tmp_path / "artifacts"
    before = os.umask(0o077)
    try:
        output = stranger.run(*command(data, folder))
    finally:
        os.umask(before)
    assert ran(states(output)) == set(STAGES_OF_OWN_DATA)
    assert "Not used: " in output
    assert "socks://127.0.0.1:9/ (ALL_PROXY)" in output
    assert output.isascii()
    assert same_bytes(folder, "same") == same_bytes(usual, "same")
    assert proxy.asked == [], "the server is on this machine"
    manifest = json.loads((folder / "runs" / "same" / "manifest.json").read_text())
    assert manifest["processors"]["train"] == manifest["processors"]["compare"]
    assert "GLIBC_TUNABLES=glibc.malloc.arena_max=8" in manifest["processors"]["train"]
    again = checkout.run(*command(data, folder))
    assert ran(states(again)) == set()
    assert "The result of train was made on" in again, "and could differ by rounding here"


@pytest.mark.drill
@pytest.mark.skipif(len(ALL_CORES) == 1, reason="needs two processors")
def test_results_of_another_number_of_processors_are_not_taken(checkout, data, usual, tmp_path) -> None:
    folder = shutil.copytree(usual, tmp_path / "artifacts", symlinks=True)
    one_core = ("import os, sys\nos.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n") + AS_COMMAND
    output = checkout.run("-c", one_core, *command(data, folder))
    assert ran(states(output)) == set(STAGES_OF_OWN_DATA) - {"fetch", "normalize"}


def test_the_embedded_server_is_asked_directly_and_ends_with_the_run(checkout, data, usual, proxy, tmp_path) -> None:
    address = f"http://127.0.0.1:{proxy.server_port}"
    folder = shutil.copytree(usual, tmp_path / "artifacts", symlinks=True)
    stranger = strange(checkout, tmp_path / "home", HTTP_PROXY=address, HTTPS_PROXY=address)
    del stranger.env["PREFECT_API_URL"]
    with started(stranger, *command(data, folder)) as run:
        code, output = run.end()
        assert code == 0, output
        assert ran(states(output)) == set()
        run.assert_nothing_is_left()
    assert proxy.asked == []


@pytest.mark.parametrize("part", ["_wait_until_healthy", "_ended_with_this_process"])
def test_when_the_start_of_the_embedded_server_fails_in_any_part_no_process_is_left(
    checkout, data, usual, part: str
) -> None:
    breaking = (
        "import flows.server.embedded\n"
        "def fail(*_): raise ZeroDivisionError('between its start and its first answer')\n"
        f"flows.server.embedded.{part} = fail\n"
    ) + AS_COMMAND
    direct = replace(checkout, env=dict(checkout.env))
    del direct.env["PREFECT_API_URL"]
    with started(direct, "-c", breaking, *command(data, usual)) as run:
        code, output = run.end()
        assert code == 1
        assert "ZeroDivisionError: between its start and its first answer" in output
        run.assert_nothing_is_left()


@pytest.mark.parametrize(
    ("env", "words"),
    [
        (
            {"PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false"},
            ("switched off (PREFECT_SERVER_ALLOW_EPHEMERAL_MODE, from the environment)", "unset PREFECT_SERVER_ALLOW"),
        ),
        (
            {"PREFECT_API_URL": "http://127.0.0.1:9/api"},
            (
                "http://127.0.0.1:9/api does not answer",
                "PREFECT_API_URL, from the environment; it should have the form http://127.0.0.1:4200/api",
                "unset PREFECT_API_URL",
            ),
        ),
        (
            {"PREFECT_API_URL": "http://server.invalid/api", "HTTP_PROXY": "http://user:secret@127.0.0.1:9"},
            ("reached through the proxy http://127.0.0.1:9 (HTTP_PROXY), does not answer",),
        ),
        (
            {"PREFECT_API_URL": "http://server.invalid/api", "ALL_PROXY": "socks://127.0.0.1:9"},
            ("through the proxy socks://127.0.0.1:9 (ALL_PROXY), which cannot be used", "unset ALL_PROXY"),
        ),
        (
            {"PREFECT_API_URL": "https://server.invalid/api", "PREFECT_API_SSL_CERT_FILE": "/nowhere.pem"},
            ("/nowhere.pem cannot be read", "unset PREFECT_API_SSL_CERT_FILE"),
        ),
        (
            {"PREFECT_SERVER_API_BASE_PATH": "/elsewhere"},
            (
                "answers 404 at",
                "PREFECT_SERVER_API_BASE_PATH=/elsewhere (from the environment) moves it",
                "unset PREFECT",
            ),
        ),
        (
            {"PREFECT_SERVER_API_AUTH_STRING": "user:secret"},
            ("The embedded Prefect server requires an auth string", "unset PREFECT_SERVER_API_AUTH_STRING"),
        ),
        ({"SSL_CERT_FILE": "/nowhere.pem"}, ("SSL_CERT_FILE=/nowhere.pem cannot be read", "unset it")),
    ],
)
def test_a_server_that_cannot_be_had_is_one_error_with_a_way_out(checkout, data, usual, env, words) -> None:
    given = {name: value for name, value in checkout.env.items() if name != "PREFECT_API_URL"}
    with started(replace(checkout, env={**given, **env}), *command(data, usual)) as run:
        code, output = run.end()
        assert code == 1
        assert all(part in output for part in words), output
        assert "Traceback" not in output
        assert "secret" not in output
        run.assert_nothing_is_left()


IMPATIENT = """
import runpy, sys
import flows.server.session
flows.server.session.SECONDS_UNTIL_LISTENING = 5
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize(
    ("given", "url", "words"),
    [
        (("-m", *WORKER), "", "PREFECT_API_URL is not set, and the embedded server ends with a command"),
        (SET_UP, "", "PREFECT_API_URL is not set, and the embedded server ends with a command"),
        (("-c", IMPATIENT, *WORKER), "http://127.0.0.1:9/api", "http://127.0.0.1:9/api does not answer: [Errno 111]"),
        (SET_UP, "http://server.invalid/api", "http://server.invalid/api does not answer: [Errno -2]"),
    ],
)
def test_commands_that_need_a_permanent_server_say_so(checkout, given, url, words) -> None:
    with started(replace(checkout, env={**checkout.env, "PREFECT_API_URL": url}), *given) as run:
        code, output = run.end()
        assert code == 1
        assert words in output
        assert ("waiting for up to" in output) == ("127.0.0.1" in url), "an unknown host is no server that starts"
        assert "(make server)" in output
        assert "the embedded one" not in output
        assert "Traceback" not in output


def test_commands_that_need_a_permanent_server_wait_for_one_that_starts(checkout) -> None:
    port = free_port()
    env = {**checkout.env, "PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
    with replace(checkout, env=env).started(*SET_UP) as process:
        read_until(process, "does not answer yet; waiting for up to 30 s")
        with running_web_server(port):
            output, _ = process.communicate(timeout=60)
    assert "answers, but not as a Prefect server does" in output


@pytest.fixture
def web_server() -> Iterator[http.server.ThreadingHTTPServer]:
    with running_web_server(0) as server:
        yield server


@contextmanager
def running_web_server(port: int) -> Iterator[http.server.ThreadingHTTPServer]:
    """Run a server that answers everything with a page."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>Welcome</html>")

        def log_message(self, *_: object) -> None:
            pass

    server = RecordingServer(("127.0.0.1", port), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_an_address_where_another_server_runs_is_one_error(checkout, data, usual, web_server) -> None:
    env = {**checkout.env, "PREFECT_API_URL": f"http://user:secret@127.0.0.1:{web_server.server_port}/api"}
    with started(replace(checkout, env=env), *command(data, usual)) as run:
        code, output = run.end()
        assert code == 1
        assert "answers, but not as a Prefect server does" in output
        assert "PREFECT_API_URL, from the environment" in output
        assert "Traceback" not in output
        assert "secret" not in output


@pytest.mark.drill
def test_without_prefects_caching_stages_run_again_and_give_the_same(checkout, data, usual, tmp_path) -> None:
    folder = shutil.copytree(usual, tmp_path / "artifacts", symlinks=True)
    env = {**checkout.env, "PREFECT_TASKS_DISABLE_CACHING": "true"}
    output = replace(checkout, env=env).run(*command(data, folder))
    assert ran(states(output)) == set(STAGES_OF_OWN_DATA)
    assert same_bytes(folder, "same") == same_bytes(usual, "same")
    assert ran(states(checkout.run(*command(data, folder)))) == set()


@pytest.mark.drill
def test_a_terminal_that_takes_no_more_is_one_error_after_the_run(checkout, data, usual, tmp_path) -> None:
    folder = shutil.copytree(usual, tmp_path / "artifacts", symlinks=True)
    code = (
        "import subprocess, sys\n"
        "full = open('/dev/full', 'w')\n"
        "sys.exit(subprocess.run([sys.executable, *sys.argv[1:]], stdout=full).returncode)"
    )
    with started(checkout, "-c", code, *command(data, folder)) as run:
        exit_code, output = run.end()
    assert exit_code == 1
    assert "Error: The output could not be written (No space left on device). Finished work is kept." in output
    assert "Traceback" not in output
    assert "Exception ignored" not in output


@pytest.mark.drill
def test_closed_streams_end_no_run(checkout, data, usual, tmp_path) -> None:
    folder = shutil.copytree(usual, tmp_path / "artifacts", symlinks=True)
    code = (
        "import os, sys\n"
        "for descriptor in (0, 1, 2): os.close(descriptor)\n"
        "sys.stdin = sys.stdout = sys.stderr = None\n"
    ) + AS_COMMAND
    (folder / "latest").unlink()
    checkout.run("-c", code, *command(data, folder))
    assert (folder / "latest").resolve().name == "same"
