"""The README's smoke command on the real data, and its run in the UI of a real Prefect server, in a real browser."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace

import pytest
from builders import write_run
from faults import same_bytes
from narrowing import not_none
from pipeline import PROJECT, STAGES, Checkout, ran
from playwright.sync_api import Browser, Page, expect
from prefect import flow
from prefect.settings import PREFECT_API_URL, temporary_settings
from servers import ask, served_pages

from gan.report.front_page import collect
from tasks.artifacts import create_trend, overview_key, pages_url

pytestmark = pytest.mark.real_data

PICTURES = {
    "final-grid": 1,
    "real-beside-fake": 3,
    "class-rows": 1,
    "nearest-training-images": 1,
    "overview": 2,
    "training-progress": 2,
}
"""Number of pictures on the page of each artifact with pictures."""


@pytest.fixture(scope="module")
def smoke_run(server: Checkout) -> dict[str, str]:
    """Run the README's smoke command; return the final state of each stage."""
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^(python flows/train_flow.py --smoke)$", readme, re.MULTILINE)
    return replace(server, options=()).train(*shlex.split(command)[2:], "--output-dir", server.folder / "smoke")


@pytest.fixture(scope="module")
def reviewed(server: Checkout, smoke_run: dict[str, str]) -> dict[str, dict[str, str]]:
    """Return the latest artifacts of that run by key; the key of its overview has the run's name too."""
    (run,) = ask(server, "flow_runs/filter", {"flow_runs": {"name": {"like_": "article-200-seed0"}}})
    artifacts = ask(server, "artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
    assert any(re.fullmatch("overview-article-200-seed0-[0-9a-f]+", artifact["key"]) for artifact in artifacts)
    return {
        "overview" if artifact["key"].startswith("overview-") else artifact["key"]: artifact
        for artifact in sorted(artifacts, key=lambda artifact: artifact["created"])
    }


@pytest.fixture
def page(browser: Browser, server: Checkout) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1400, "height": 1000}, base_url=server.env["PREFECT_API_URL"][:-4])
    page.set_default_timeout(60_000)
    yield page
    page.close()


def wait_for_pictures(page: Page, num: int) -> None:
    """Wait until the browser has decoded so many pictures."""
    loaded = "[...document.images].filter(image => image.src.startsWith('data:') && image.naturalWidth > 0).length"
    page.wait_for_function(f"{loaded} >= {num}")
    assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")


def test_the_smoke_command_of_the_readme_runs_every_stage(server: Checkout, smoke_run) -> None:
    assert ran(smoke_run) == set(STAGES)
    assert same_bytes(server.folder / "smoke").keys() >= {"generator.keras", "samples.npz", "extractor.keras"}


def test_the_artifacts_tab_of_the_run_shows_thumbnails_and_the_verdict(page: Page, server: Checkout, reviewed) -> None:
    (metrics,) = (server.folder / "smoke" / "runs").glob("article-*/metrics.json")
    page.goto(f"/runs/flow-run/{reviewed['overview']['flow_run_id']}")
    page.get_by_text("Artifacts", exact=True).last.click()
    wait_for_pictures(page, 3)
    expect(page.get_by_text(json.loads(metrics.read_text())["verdict"]).first).to_be_visible()


@pytest.mark.parametrize(("key", "num"), PICTURES.items())
def test_the_pictures_of_an_artifact_are_loaded(page: Page, reviewed, key: str, num: int) -> None:
    page.goto(f"/artifacts/artifact/{reviewed[key]['id']}")
    wait_for_pictures(page, num)


def test_runs_with_different_names_have_different_overviews_with_keys_that_prefect_takes() -> None:
    assert overview_key("conditional-25000-seed20261101-1a2b3c") == "overview-conditional-25000-seed20261101-1a2b3c"
    names = ("my-run-2", "My_Run.2", "my.run-2", "MY-RUN-2", "x--", "x")
    keys = {overview_key(name) for name in names}
    assert len(keys) == len(names)
    assert all(re.fullmatch("[a-z0-9-]+", key) for key in keys)


def test_metrics_are_shown_beside_their_floors(page: Page, reviewed) -> None:
    page.goto(f"/artifacts/artifact/{reviewed['metrics']['id']}")
    for words in ("Fréchet distance", "Near copies", "floor (real)", "averaged weights"):
        expect(page.get_by_text(words).first).to_be_visible()


@pytest.mark.parametrize("place", ["/runs", "/v2/runs"])
def test_both_uis_work_at_localhost_too(page: Page, reviewed, server: Checkout, place: str) -> None:
    """The API at 127.0.0.1 is then a different origin, and must allow every request of the UI."""
    failed: list[str] = []
    page.on("response", lambda response: failed.append(response.url) if response.status >= 400 else None)
    page.goto(f"http://localhost:{server.env['PREFECT_SERVER_API_PORT']}{place}")
    expect(page.get_by_text("article-200-seed0").first).to_be_visible()
    assert not failed


def test_the_overview_has_the_path_of_the_report_and_a_link_that_opens_it(
    page: Page, reviewed, server: Checkout, monkeypatch
) -> None:
    page.goto(f"/artifacts/artifact/{reviewed['overview']['id']}")
    (report,) = server.folder.glob("smoke/runs/*/report.html")
    expect(page.get_by_text(str(report)).first).to_be_visible()
    link = page.get_by_role("link", name="Report, with the blind test")
    address = not_none(link.get_attribute("href"))
    assert address == pages_url(f"runs/{report.parent.name}/report.html")
    with served_pages(server.folder / "smoke") as served:
        page.goto(address.replace(pages_url().rstrip("/"), served))
        expect(page.get_by_role("heading", name="Real beside generated")).to_be_visible()
        page.goto("about:blank")


def test_the_trend_is_one_page_with_a_version_for_every_run(page: Page, server: Checkout, tmp_path) -> None:
    show = flow(name="test")(lambda: create_trend(collect(tmp_path)))
    with temporary_settings({PREFECT_API_URL: server.env["PREFECT_API_URL"]}):
        for night in range(6):
            write_run(tmp_path, night, 1.2 + 0.1 * (night % 3))
            show()
    page.goto("/artifacts/key/trend")
    expect(page.get_by_text("night-005").first).to_be_visible()
    wait_for_pictures(page, 1)
    versions = page.get_by_role("link", name=re.compile("^[0-9a-f]{8}$"))
    of_all_runs = ask(server, "artifacts/filter", {"artifacts": {"key": {"any_": ["trend"]}}})
    assert len(of_all_runs) >= 6
    assert versions.count() == min(len(of_all_runs), 10), "the UI loads more of them when the page is scrolled"
    versions.first.click()
    page.get_by_role("link", name="All runs").first.wait_for()
    wait_for_pictures(page, 2)


def test_no_artifact_is_larger_than_300_kilobytes(reviewed) -> None:
    sizes = {
        key: len(json.dumps(artifact["data"])) + len(artifact["description"]) for key, artifact in reviewed.items()
    }
    assert set(sizes) == {*PICTURES, "metrics", "report", "trend"}
    assert max(sizes.values()) < 300_000, sizes
