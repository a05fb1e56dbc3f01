"""Thirty nights of the nightly deployment, one after the other, through a real server and worker."""

import base64
import json
import os
import re
import signal
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import httpx
import pytest
from alert_mailbox import SLUG, Mailbox, listening, save_block
from pipeline import SMALL, Checkout, wait_for_checkpoint, wait_until
from prefect.settings import PREFECT_API_URL, temporary_settings
from servers import FINAL, WORKER, ask, family, running, served_pages, start_nightly

from gan.report.markup import escape_markdown
from gan.runs.catalog import read_catalog
from gan.runs.retention import DEFAULT_ROLLBACKS, kept_champions

pytestmark = [pytest.mark.drill, pytest.mark.timeout(3000)]

FIRST = datetime(2026, 10, 1, 2, tzinfo=ZoneInfo("Europe/Berlin"))  # a Thursday
NIGHTS = [FIRST + timedelta(days=night) for night in range(30)]
BAD, KILLED = 11, 20
GOOD = [night for number, night in enumerate(NIGHTS) if number not in (BAD, KILLED)]
KEPT_DAYS = 7


@dataclass(frozen=True)
class Month:
    """What thirty nights left."""

    server: Checkout
    folder: Path
    runs: list[dict]  # of the server, in order
    subjects: list[str]  # of the alerts


@pytest.fixture(scope="module")
def month(server: Checkout) -> Month:
    """Run thirty nights: one with a recipe that cannot be trained, one that is killed."""
    folder, ids, mailbox = server.folder / "nights", [], Mailbox()
    with listening(mailbox) as port, running(server, *WORKER) as worker:
        with temporary_settings({PREFECT_API_URL: server.env["PREFECT_API_URL"]}):
            save_block(port)
        for number, night in enumerate(NIGHTS):
            ids.append(start(server, folder, number, night))
            if number == KILLED:
                wait_for_checkpoint(folder)
                kill(family(worker.pid)[1:])
            wait_until(lambda: ask(server, f"flow_runs/{ids[-1]}")["state_type"] in FINAL, 300)
    subjects = [message["subject"].removeprefix("fashion-gan: ") for message in mailbox]
    return Month(server, folder, [ask(server, f"flow_runs/{each}") for each in ids], subjects)


def start(server: Checkout, folder: Path, number: int, due: datetime) -> str:
    """Start the run of a night; return its id."""
    settings: dict[str, object] = {"recipe": "mlp", "steps": 300, "sample_every": 150}  # `article` would be broken
    settings |= {"batch_size": 16, "num_samples": 100}
    settings |= {"dataset": "mine", "data_dir": "mine", "device": "cpu", "train_on": "here", "seed": "date"}
    settings |= {"output_dir": str(folder), "alert_block": SLUG}
    settings |= {"steps": 200_000, "sample_every": 10_000} if number == KILLED else {}
    bad = ("learning_rate=1e30",) if number == BAD else ()
    return start_nightly(server, due, **settings, set=[*SMALL[1::2], "num_groups=0", *bad])


def kill(processes: list[int]) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def test_every_night_ends_and_only_the_bad_and_the_killed_one_give_no_run(month: Month) -> None:
    expected = {BAD: "FAILED", KILLED: "CRASHED"}
    states = [run["state_type"] for run in month.runs]
    assert states == [expected.get(number, "COMPLETED") for number in range(len(NIGHTS))]
    entries = read_catalog(month.folder)
    assert [entry.seed for entry in entries] == [int(f"{night:%Y%m%d}") for night in GOOD], "each night has its day"
    assert len({entry.distance for entry in entries}) == len(GOOD), "each night has another generator"


def test_ordinary_nights_send_no_alert(month: Month) -> None:
    with_a_reason = ("is the champion now", "needs a look", "may have collapsed")
    others = [subject for subject in month.subjects if not subject.endswith(with_a_reason)]
    assert others == [f"{month.runs[BAD]['name']} failed", f"{month.runs[KILLED]['name']} was stopped or crashed"]
    assert len(month.subjects) < len(NIGHTS) / 2


def test_the_front_page_and_the_trend_have_all_runs(month: Month) -> None:
    page = (month.folder / "index.html").read_text()
    names = [entry.name for entry in read_catalog(month.folder)]
    assert all(f"runs/{name}/report.html" in page for name in names)
    of_nights = {"flow_run_id": {"any_": [run["id"] for run in month.runs]}, "key": {"any_": ["trend"]}}
    versions = ask(month.server, "artifacts/filter", {"artifacts": of_nights})
    assert len(versions) == len(GOOD)
    newest = max(versions, key=lambda version: version["created"])
    assert re.findall(r"\| \[(.+?)\]", newest["data"]) == [escape_markdown(name) for name in names[:-15:-1]]
    chart = base64.b64decode(newest["data"].split("data:image/svg+xml;base64,")[1].split(")")[0]).decode()
    assert chart.count("<circle") == len(GOOD)


def test_the_links_of_the_overview_open_the_report_and_the_front_page(month: Month) -> None:
    of_run = {"flow_run_id": {"any_": [month.runs[-1]["id"]]}, "key": {"like_": "overview-"}}
    (overview,) = ask(month.server, "artifacts/filter", {"artifacts": of_run})
    links = [part.split(")")[0] for part in overview["data"].split("](")[1:] if part.startswith("http")]
    with served_pages(month.folder) as address:
        answers = [httpx.get(f"{address}{urlsplit(link).path}").status_code for link in links]
    assert answers == [200, 200]


def test_retention_keeps_the_last_days_one_of_each_week_and_what_these_need(month: Month) -> None:
    """The manifests are changed first, as if each run had been published in its night. Must be the last test."""
    entries, of_weeks, references = read_catalog(month.folder), {}, {}
    for entry, due in zip(entries, GOOD, strict=True):
        run = month.folder / "runs" / entry.name
        manifest = json.loads((run / "manifest.json").read_text())
        (run / "manifest.json").write_text(json.dumps(manifest | {"published": due.isoformat()}))
        references[entry.name] = json.loads((run / "metrics.json").read_text())["reference"]
        week = due.isocalendar().week
        if week not in of_weeks or not entry.is_broken:
            of_weeks[week] = entry.name
    age = (datetime.now(FIRST.tzinfo) - NIGHTS[-1]).days
    options = ("--output-dir", month.folder, "--keep-runs", age + KEPT_DAYS, "--older-than", 1)
    month.server.run("flows/prune_flow.py", *options)
    chosen = {*of_weeks.values(), *(entry.name for entry in entries[-KEPT_DAYS:])}
    champions = {change.run for change in kept_champions(month.folder, DEFAULT_ROLLBACKS)}
    expected = (chosen | champions | {references[name] for name in chosen}) - {None}
    left = {entry.name for entry in read_catalog(month.folder)}
    assert expected <= left <= expected | {references[name] for name in champions}
    assert len(left) < 2 * (len(of_weeks) + KEPT_DAYS) < len(entries)
