"""Thirty nights of the nightly deployment, one after the other, through a real server and worker."""

import json
import os
import signal
import threading
from contextlib import suppress
from datetime import datetime, timedelta
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import httpx
import pytest
from pipeline import (
    FINAL,
    SMALL,
    WORKER,
    Checkout,
    ask,
    family,
    running,
    start_nightly,
    wait_for_checkpoint,
    wait_until,
)

from flows.server.pages import listen
from gan.runs.catalog import read_catalog
from gan.runs.retention import DEFAULT_ROLLBACKS, kept_champions

FIRST = datetime(2026, 10, 1, 2, tzinfo=ZoneInfo("Europe/Berlin"))  # a Thursday
NIGHTS = [FIRST + timedelta(days=night) for night in range(30)]
BAD, KILLED = 11, 20
KEPT_DAYS = 7


@pytest.mark.drill
@pytest.mark.timeout(3000)
def test_thirty_nights_one_with_a_bad_recipe_and_one_killed(server: Checkout) -> None:
    folder = server.folder / "nights"
    settings: dict[str, object] = {"steps": 20, "sample_every": 10, "batch_size": 16, "num_samples": 100}
    settings |= {"dataset": "mine", "data_dir": "mine", "device": "cpu", "train_on": "here", "seed": "date"}
    settings |= {"output_dir": str(folder)}

    def start(night: int) -> str:
        changes: dict[str, object] = {"steps": 200_000} if night == KILLED else {}
        bad = ("learning_rate=1e30",) if night == BAD else ()
        return start_nightly(server, due=NIGHTS[night], **settings | changes, set=[*SMALL[1::2], *bad])

    def has_ended(run: str) -> bool:
        return ask(server, f"flow_runs/{run}")["state_type"] in FINAL

    runs = []
    with running(server, *WORKER) as worker:
        for night in range(len(NIGHTS)):
            runs.append(start(night))
            if night == KILLED:
                wait_for_checkpoint(folder)
                for process in set(family(worker.pid)) - {worker.pid}:
                    with suppress(ProcessLookupError):
                        os.kill(process, signal.SIGKILL)
            wait_until(lambda: has_ended(runs[-1]), 300)
    states = [ask(server, f"flow_runs/{run}")["state_type"] for run in runs]
    assert states == ["FAILED" if n == BAD else "CRASHED" if n == KILLED else "COMPLETED" for n in range(len(NIGHTS))]

    good = [night for n, night in enumerate(NIGHTS) if n not in (BAD, KILLED)]
    entries = read_catalog(folder)
    assert [entry.seed for entry in entries] == [int(f"{night:%Y%m%d}") for night in good], "each night has its day"
    assert len({entry.distance for entry in entries}) == len(good), "each night has another generator"
    page = (folder / "index.html").read_text()
    assert all(f"runs/{entry.name}/report.html" in page for entry in entries)

    artifacts = ask(server, "artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [runs[-1]]}}})
    (overview,) = [artifact["data"] for artifact in artifacts if artifact["key"] == "overview"]
    links = [part.split(")")[0] for part in overview.split("](")[1:] if part.startswith("http")]
    pages, opened = listen(folder, "127.0.0.1", 0)
    serving = threading.Thread(target=pages.run, args=([opened],))
    serving.start()
    answers = [
        httpx.get(f"http://127.0.0.1:{opened.getsockname()[1]}{urlsplit(link).path}").status_code for link in links
    ]
    pages.should_exit = True
    serving.join(20)
    assert answers == [200, 200], "the report and the front page"

    for entry, due in zip(entries, good, strict=True):  # as if each had been published in its night
        path = folder / "runs" / entry.name / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"published": due.isoformat()}))
    age = (datetime.now(FIRST.tzinfo) - NIGHTS[-1]).days
    server.run("flows/prune_flow.py", "--output-dir", folder, "--keep-runs", age + KEPT_DAYS, "--older-than", 1)
    left = {entry.name: entry.seed % 10_000 for entry in read_catalog(folder)}
    newest_of_weeks = {1004, 1011, 1018, 1025, 1030}
    last_days = {int(f"{night:%m%d}") for night in NIGHTS[-KEPT_DAYS:]}
    references = {1003, 1010, 1017, 1023}  # the runs that kept runs were compared with
    champions = {left[change.run] for change in kept_champions(folder, DEFAULT_ROLLBACKS)}
    of_champions = {champion - 1 for champion in champions}
    expected = newest_of_weeks | last_days | references | champions
    assert expected <= {*left.values()} <= expected | of_champions
