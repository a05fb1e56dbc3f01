"""What tests share: tiny data, a Prefect server of their own, and the real data set for those that need it."""

import flows  # noqa: F401  # isort: skip  # sets what Prefect reads when it is imported

import gzip
import importlib
import os
import shutil
import signal
import sys
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from blind_page import TEST, Open, render_page
from builders import LABELS, PIXELS, idx_images, idx_labels, write_own_data
from faults import command, same_bytes, started
from pipeline import ALL_CORES, QUICK, STAGES_OF_OWN_DATA, TEST_PROCESSES, Checkout, ran, states
from playwright.sync_api import Browser, Page, sync_playwright
from s3_server import BUCKET, S3Server
from servers import SET_UP, running_server
from shared_engines import SharedEngines, share
from threadpoolctl import threadpool_limits

from gan.command import run_command
from gan.config import TrainConfig
from gan.data import sources
from gan.data.catalog import FASHION_MNIST, DataFile
from gan.data.sources import fetch_files
from gan.recipes import ARTICLE, CONDITIONAL, CONV, MLP
from gan.report.blind_test import BlindTest
from gan.storage import object_store
from gan.storage.files import sha256_of
from gan.storage.store import Store
from gan.system.gpus import count_gpus

if count_gpus():  # tests train on CPUs only
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so a script's `&` starts us, and all that we start inherits it
    signal.signal(signal.SIGINT, signal.default_int_handler)

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


LONG = (
    "test_worker.py",
    "test_end_to_end.py",
    "test_strange_environments.py",
    "test_server.py",
    "test_ui.py",
    "test_security.py",
    "test_training.py",
    "test_object_store.py",
    "test_sweep.py",
    "test_alerts.py",
    "test_parity.py",
    "test_recipes.py",
    "test_data_warnings.py",
)
"""Files that take longest, the longest first, so that two processes end at about the same time."""

if TEST_PROCESSES > 1:  # threads of small problems wait for each other in busy loops; see `on_own_cores`
    threadpool_limits(max(1, len(ALL_CORES) // TEST_PROCESSES), user_api="blas")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--part", help="run one part of the selected tests only, such as 2/4: the second quarter")


@pytest.hookimpl(trylast=True)  # after `-m` and `-k` have selected
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Select a part of the tests if asked to, and run the files that take longest first."""
    if part := config.getoption("--part"):
        number, of = map(int, part.split("/"))
        first, last = (len(items) * bound // of for bound in (number - 1, number))
        config.hook.pytest_deselected(items=items[:first] + items[last:])
        items[:] = items[first:last]
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture(autouse=True)
def free_choice_of_algorithms() -> Iterator[None]:
    """After a test of a GPU's engine, let the next one compute as on a CPU."""
    yield
    if (config := sys.modules.get("tensorflow.python.framework.config")) is not None:
        config.disable_op_determinism()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "artifacts")


UNCONDITIONAL = {"num_groups": 0, "mismatch_weight": 0.0}


@pytest.fixture(scope="session")
def tiny_config() -> TrainConfig:
    """A small configuration of the article with every type of layer; a step takes a millisecond."""
    recipe = ARTICLE.model_copy(update={"latent_dim": 8, "generator_units": (16, 24), "discriminator_units": (24, 16)})
    return TrainConfig(recipe=recipe, steps=12, batch_size=8, seed=3, sample_every=5, num_snapshot_images=9)


@pytest.fixture(scope="session")
def tiny_mlp(tiny_config: TrainConfig) -> TrainConfig:
    """A small configuration of mlp without conditioning."""
    small = tiny_config.recipe.model_dump(include={"latent_dim", "generator_units", "discriminator_units"})
    return tiny_config.model_copy(update={"recipe": MLP.model_copy(update=small | UNCONDITIONAL)})


@pytest.fixture(scope="session")
def tiny_conv(tiny_config: TrainConfig) -> TrainConfig:
    """A small configuration of conv without conditioning."""
    small = {"latent_dim": 8, "generator_units": (8, 6, 4), "discriminator_units": (4, 6, 8)}
    return tiny_config.model_copy(update={"recipe": CONV.model_copy(update=small | UNCONDITIONAL)})


@pytest.fixture(scope="session")
def tiny_grouped(tiny_conv: TrainConfig) -> TrainConfig:
    """A small configuration of conv with four groups."""
    conditioning = {"num_groups": 4, "mismatch_weight": CONV.mismatch_weight}
    return tiny_conv.model_copy(update={"recipe": tiny_conv.recipe.model_copy(update=conditioning)})


@pytest.fixture(scope="session")
def tiny_conditional(tiny_conv: TrainConfig) -> TrainConfig:
    """A small configuration of conditional with three classes."""
    small = tiny_conv.recipe.model_dump(include={"latent_dim", "generator_units", "discriminator_units"})
    return tiny_conv.model_copy(update={"recipe": CONDITIONAL.model_copy(update=small | {"num_classes": 3})})


@pytest.fixture(scope="session")
def tiny_images() -> np.ndarray:
    """64 smooth images, float32 (64, 28, 28, 1) in [-1, 1]."""
    rng = np.random.default_rng(0)
    centre, width = rng.uniform(8, 20, (64, 2, 1)), rng.uniform(3, 8, (64, 1))
    across = np.exp(-(((np.arange(28) - centre[:, 0]) / width) ** 2))
    down = np.exp(-(((np.arange(28) - centre[:, 1]) / width) ** 2))
    return (2 * down[:, :, None] * across[:, None, :] - 1).astype(np.float32)[..., None]


@pytest.fixture
def call(monkeypatch, capsys) -> Callable[..., tuple[int, str]]:
    """Call a command in this process, as `python -m <module> <options>` does: its exit code, and what it shows."""

    def call_it(module: str, *options: object) -> tuple[int, str]:
        capsys.readouterr()
        with monkeypatch.context() as patch, warnings.catch_warnings():
            patch.setattr(sys, "argv", [module, *map(str, options)])
            patch.setenv("COLUMNS", "200")
            patch.setattr("gan.command.warn_of_ignored_variables", lambda: None)  # those of the tests' own environment
            try:
                run_command(importlib.import_module(module).app)
                code = 0
            except SystemExit as ended:
                code = int(ended.code or 0)
        return code, "".join(capsys.readouterr())

    return call_it


@pytest.fixture(scope="module")
def engines() -> SharedEngines:
    return SharedEngines()


@pytest.fixture
def shared_engines(engines, monkeypatch) -> SharedEngines:
    """Share compiled steps between trainings of equal networks."""
    share(engines, monkeypatch.setattr)
    return engines


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One throw-away Prefect database and server for the whole test run.

    Flows in this process send no heartbeats: each would wait for a second at its end.
    """
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    with (
        prefect_test_harness(server_startup_timeout=180),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield


@pytest.fixture
def known_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fix the code identity, since the stages of a test are outside the packages."""
    monkeypatch.setattr("tasks.stage.reached_code", lambda module: "code")
    monkeypatch.setattr("tasks.stage.reached_libraries", lambda module: {})
    monkeypatch.setattr("tasks.stage.import_reached", lambda module: None)
    monkeypatch.setattr("tasks.stage.FIRST_RETRY_SECONDS", 0)


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    """A server of the S3 API."""
    server = S3Server()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def url(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return an unused address in the bucket, and set its credentials in the environment."""
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(object_store, "ATTEMPTS", 1)
    object_store._client.cache_clear()
    yield f"s3://{BUCKET}/{uuid.uuid4().hex}"
    object_store._client.cache_clear()


@pytest.fixture
def machines(url: str, tmp_path: Path) -> tuple[Store, Store]:
    """Two machines that share nothing but that address."""
    return Store.open(tmp_path / "one", url), Store.open(tmp_path / "two", url)


@pytest.fixture(scope="module")  # while it is open, this thread has a running event loop, which Prefect would use
def browser() -> Iterator[Browser]:
    """Start the installed Chromium without a window."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no Chromium here (looked for {', '.join(BROWSERS)}; on Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found)
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Open a blind test in a new browser context; fail on console errors and outside requests."""
    pages, complaints = [], []

    def open_it(test: BlindTest = TEST, **context) -> Page:
        file = tmp_path / "page.html"
        file.write_text(render_page(test), encoding="utf-8")
        page = browser.new_context(**context).new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: complaints.append(request.url) if is_outside(request.url) else None)
        page.goto(file.as_uri())
        pages.append(page)
        return page

    def is_outside(url: str) -> bool:
        return not url.startswith("data:") and url != (tmp_path / "page.html").as_uri()

    yield open_it
    for page in pages:
        page.context.close()
    assert complaints == []


@pytest.fixture(scope="session")
def real_data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the four real files, had as a user would have them."""
    folder = tmp_path_factory.mktemp("fashion-mnist")
    fetch_files(FASHION_MNIST, folder, data_dir=None)
    return folder


@pytest.fixture
def packed(tmp_path):
    """A small data set of the same form, and a folder with its four gz files."""
    folder = tmp_path / "packed"
    folder.mkdir()
    files = []
    for original in FASHION_MNIST.files:
        content = idx_images(PIXELS) if original.kind == "images" else idx_labels(LABELS)
        plain, gz = tmp_path / original.name, folder / original.gz_name
        plain.write_bytes(content)
        gz.write_bytes(gzip.compress(content))
        files.append(
            DataFile(
                split=original.split,
                kind=original.kind,
                size=len(content),
                sha256=sha256_of(plain),
                gz_size=gz.stat().st_size,
                gz_sha256=sha256_of(gz),
            )
        )
        plain.unlink()
    return FASHION_MNIST.model_copy(update={"name": "tiny", "files": tuple(files), "mirrors": ()}), folder


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """Disable earlier downloads and apt."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(sources.shutil, "which", lambda program: None)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """Copy the project for the drills; its runs start the embedded server."""
    folder = tmp_path_factory.mktemp("checkout")
    checkout = Checkout.make(folder / "project", folder / "prefect")
    checkout.copy_database()
    checkout.options = QUICK
    return checkout


@pytest.fixture(scope="module")
def quick_checkout(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> Checkout:
    """Copy the project; its runs use the tests' own server."""
    return Checkout.make_quick(tmp_path_factory.mktemp("checkout"))


EMBEDDED = """
import flows
import httpx
from pathlib import Path
from prefect import flow
from prefect.server.api.server import SubprocessASGIServer

def look():
    server = SubprocessASGIServer()
    print("port", server.port, "\\n", Path("/proc/net/tcp").read_text())
    print("from elsewhere", httpx.post(server.api_url + "/deployments/", content=b"{}").status_code)
    asked = {"origin": "http://evil.example", "access-control-request-method": "POST"}
    print("may a page", httpx.options(server.api_url + "/deployments/", headers=asked).status_code)

flow(look, name="listening", flow_run_name="before")()
"""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """Set up a server and a project with small data in `mine`; `embedded.txt` has the output of an embedded server."""
    folder = tmp_path_factory.mktemp("server")
    checkout = Checkout.make(folder / "project", folder / "prefect")
    checkout.copy_database()
    checkout.options = QUICK
    checkout.env["PREFECT_WORKER_QUERY_SECONDS"] = "2"  # 10 s without
    write_own_data(checkout.folder / "mine")
    (folder / "embedded.txt").write_text(checkout.run("-c", EMBEDDED))
    with running_server(checkout, *SET_UP):
        yield checkout


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a small data set."""
    return write_own_data(tmp_path_factory.mktemp("data") / "own")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, checkout: Checkout, data: Path) -> Path:
    """Return the output folder of an undisturbed run. Copy it before changing it."""
    folder = tmp_path_factory.mktemp("finished") / "artifacts"
    with started(checkout, *command(data, folder)) as run:
        code, output = run.end()
        assert code == 0, output
        assert ran(states(output)) == set(STAGES_OF_OWN_DATA)
        run.assert_nothing_is_left()
    return folder


@pytest.fixture(scope="session")
def uninterrupted(finished: Path) -> dict[str, str]:
    """Return the digests of the files of that run."""
    return same_bytes(finished)
