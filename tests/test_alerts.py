"""Alerts about failed, stopped, crashed, late and collapsed runs, received by a web server of this test."""

import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from alert_mailbox import LAST, SECRET, SLUG, Mailbox, listening, save_block
from builders import write_run
from narrowing import not_none
from pipeline import SMALL, Checkout, wait_for_checkpoint, wait_until
from prefect import flow
from prefect.blocks.system import Secret
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling, Crashed, Running
from servers import LATE_SOON, WORKER, ask, running, running_server

from flows.digest_flow import DigestSettings, digest_flow, failed_since
from flows.server.alerts import (
    AlertError,
    alert_automations,
    alert_on_collapse,
    alert_on_disk,
    alert_on_failure,
    alert_on_result,
    load_alert_block,
    plain,
)
from flows.settings import RunSettings
from flows.shared_options import ALERT_VARIABLE
from gan.errors import DataError, SettingsError
from gan.report.front_page import collect
from gan.runs.champion import Change, add_change
from tasks.artifacts import pages_url

pytestmark = pytest.mark.usefixtures("prefect_server")

HOSTILE_NAME, TAMED_NAME = "<!channel> @x {{token}} `y`", "‹!channel› ＠x ((token)) 'y'"
ANY = {"enforce_parameter_schema": False}
"""Creates a run without its required parameters, which never starts."""


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    mailbox = Mailbox()
    with listening(mailbox) as port:
        save_block(port)
        yield mailbox
    assert not mailbox, "no alert is sent twice"


def failing(error: Exception, name: str = "a-run"):
    @flow(name="test", flow_run_name=name.replace("{", "{{").replace("}", "}}"), on_failure=[alert_on_failure])
    def run(settings: RunSettings) -> None:
        raise error

    return run


def test_an_alert_about_a_failure_says_what_happened_and_what_to_do(mailbox) -> None:
    with pytest.raises(DataError):
        failing(DataError("Labels are missing.\nPut them there.\nOr elsewhere.\nA fourth line."))(
            RunSettings(alert_block=SLUG)
        )
    message = mailbox.wait()
    assert message["subject"] == "fashion-gan: a-run failed"
    what, advice, link = message["body"].splitlines()
    assert what == "DataError: Labels are missing. Put them there. Or elsewhere."
    assert advice.startswith("The log of the run says more.")
    assert "/runs/flow-run/" in link


@pytest.mark.parametrize("is_cancelled", [True, False])
def test_the_end_of_a_part_of_a_cancelled_run_is_no_news(mailbox, is_cancelled: bool) -> None:
    @flow(name="whole")
    def whole() -> None:
        with get_client(sync_client=True) as client:
            if is_cancelled:
                client.set_flow_run_state(not_none(flow_run.get_id()), Cancelling(), force=True)
        with suppress(DataError):
            failing(DataError("x"), "a-part")(RunSettings(alert_block=SLUG))

    whole(return_state=True)
    subjects = [message["subject"] for message in mailbox]
    mailbox.clear()
    assert subjects == ([] if is_cancelled else ["fashion-gan: a-part failed"])


def test_the_block_can_be_named_by_the_environment(mailbox, monkeypatch) -> None:
    monkeypatch.setenv(ALERT_VARIABLE, SLUG)
    for empty in ({}, {"alert_block": None}, {"alert_block": ""}):  # as a form sends it
        assert RunSettings(**empty).alert_block == SLUG
    with pytest.raises(DataError):
        failing(DataError("x"))(RunSettings())
    assert mailbox.wait()["subject"] == "fashion-gan: a-run failed"


def test_hostile_names_and_errors_arrive_as_plain_text(mailbox) -> None:
    hostile = "<!channel> @everyone [x](http://x) {{token}} `a` *b*\r\n\x1b[2J\u202e<script>" + "x" * 1000
    with pytest.raises(DataError):
        failing(DataError(hostile), hostile.replace("\r\n", " "))(RunSettings(alert_block=SLUG))
    message = mailbox.wait()
    for text in (message["subject"], message["body"].splitlines()[0]):
        assert not set("<>@[]{}`*\x1b\u202e") & set(text)
        assert SECRET not in text
        assert len(text) <= 520
    assert len(message["body"].splitlines()) == 3


def test_plain_text_is_not_changed() -> None:
    assert plain("The stage train could not write below /data/out: [Errno 28].") == (
        "The stage train could not write below /data/out: (Errno 28)."
    )


def test_signs_of_collapse_send_one_alert_and_no_signs_send_none(mailbox) -> None:
    @flow(name="test", flow_run_name="a-run")
    def run() -> None:
        alert_on_collapse(SLUG, ())
        alert_on_collapse(None, ("Mode collapse after 600 steps.",))
        alert_on_collapse(SLUG, ("Mode collapse after 600 steps.",))

    flow(name="test", flow_run_name="a-sweep")(run)()
    run()
    message = mailbox.wait()
    assert message["subject"] == "fashion-gan: a-run may have collapsed"
    assert message["body"].startswith("Mode collapse after 600 steps.\nLook at its pictures.")


def test_a_bad_night_and_a_new_champion_send_an_alert_each_and_ordinary_nights_none(mailbox, tmp_path) -> None:
    for night in range(5):
        write_run(tmp_path, night, 1.2 + 0.05 * night)
    better = ("Fréchet distance 1.1 against 1.2 is better beyond noise.",)
    first = Change(
        at="now", action="promoted", run=write_run(tmp_path, 5, 1.1), generator="0" * 64, before=None, reasons=better
    )

    @flow(name="test", flow_run_name="a-run")
    def end(run: str, champion_before: Change | None, *, is_new: bool = True) -> None:
        alert_on_result(SLUG, tmp_path, collect(tmp_path), run, champion_before, is_new=is_new)

    end("night-005", None)
    add_change(tmp_path, first)
    end("night-005", None)
    message = mailbox.wait()
    assert message["subject"] == "fashion-gan: night-005 is the champion now"
    assert message["body"].startswith(f"{better[0]}\nLook at its report, ")
    assert "rollback" not in message["body"], "there is no champion before the first one"
    end("night-005", first)
    bad = write_run(tmp_path, 6, 3.5)
    end(bad, first, is_new=False)
    flow(name="test", flow_run_name="a-sweep")(lambda: end(bad, first))()
    end(bad, first)
    message = mailbox.wait()
    assert message["subject"] == "fashion-gan: night-006 needs a look"
    assert message["body"].startswith("Worse than usual: look at it. Fréchet distance 3.5, usually ")
    assert f"\n{pages_url('runs/night-006/report.html')}\n" in message["body"]


def test_a_disk_that_fills_sends_one_alert_for_a_sweep_and_not_one_for_each_run(mailbox, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("flows.server.alerts.describe_forecast", lambda root: "3 MB are free.")
    member = flow(name="test", flow_run_name="a-member")(lambda: alert_on_disk(SLUG, tmp_path))

    @flow(name="test", flow_run_name="a-sweep")
    def sweep() -> None:
        member()
        alert_on_disk(None, tmp_path)
        alert_on_disk(SLUG, tmp_path)

    sweep()
    message = mailbox.wait()
    assert message["subject"] == f"fashion-gan: the disk of {tmp_path} on {socket.gethostname()} fills up"
    assert message["body"].startswith("3 MB are free.\nSee what can be removed: make prune")
    assert f"--output-dir {tmp_path} --dry-run" in message["body"]


def test_the_digest_of_a_week_is_sent_and_shown(mailbox, tmp_path) -> None:
    week = datetime.now(UTC) - timedelta(days=7)
    failed = len(failed_since(week)) + 1  # trainings of other tests may have failed on this server
    with pytest.raises(DataError):
        flow(name="fashion-gan")(lambda: failing(DataError("x"))(RunSettings()))()
    assert len(failed_since(week)) == failed
    newest = failed_since(week)[0]
    for day in range(5):
        write_run(tmp_path, day, first=week + timedelta(days=1))
    text = digest_flow(DigestSettings(alert_block=SLUG, output_dir=tmp_path))
    message = mailbox.wait()
    assert message["subject"] == f"fashion-gan: 5 runs published, 0 need a look, {failed} failed"
    what, _, link = message["body"].splitlines()
    assert what.startswith(f"Failed: {newest}")
    assert what.endswith(". There is no champion yet. conv: Fréchet distance ▁▁▁▁▁ (1.2 to 1.2), last 1.2.")
    assert link == pages_url("index.html")
    assert text == f"5 runs published, 0 need a look, {failed} failed. {what}"


def test_a_digest_that_cannot_be_sent_is_a_failed_run(tmp_path) -> None:
    write_run(tmp_path, 0)
    with pytest.raises(SettingsError, match="There is no alert block to send the digest through"):
        digest_flow(DigestSettings(output_dir=tmp_path))
    with listening(Mailbox(), 500) as port:
        save_block(port)
        with pytest.raises(AlertError, match="could not be delivered"):
            digest_flow(DigestSettings(alert_block=SLUG, output_dir=tmp_path))


@pytest.mark.parametrize("answers", [500, None])
def test_a_failed_delivery_is_a_warning_without_the_address(caplog, answers) -> None:
    with listening(Mailbox(), answers or 200) as port:
        save_block(port)
        if answers:
            flow(name="test")(lambda: alert_on_collapse(SLUG, ("x",)))()
    if not answers:
        flow(name="test")(lambda: alert_on_collapse(SLUG, ("x",)))()
    (warning,) = [record.getMessage() for record in caplog.records if "could not be delivered" in record.getMessage()]
    assert SLUG in warning
    assert SECRET not in caplog.text


def test_a_missing_block_or_one_that_cannot_notify_is_one_clear_error() -> None:
    with pytest.raises(AlertError, match=r"There is no alert block slack-webhook/none.*\nCreate one in the UI"):
        load_alert_block("slack-webhook/none")
    with pytest.raises(AlertError, match="There is no alert block no-such-type/x"):
        load_alert_block("no-such-type/x")
    Secret(value="x").save("no-notification", overwrite=True)
    with pytest.raises(AlertError, match="is not a notification block"):
        load_alert_block("secret/no-notification")
    with pytest.raises(ValueError, match="alert_block"):
        RunSettings(alert_block="../../etc")


def test_the_server_alerts_about_a_run_without_heartbeats_and_no_other(mailbox) -> None:
    (automation,) = [found for found in alert_automations(SLUG) if "crashed" in found.name]
    runs = []

    def crash(name: str, message: str = "No heartbeat for 120 s.") -> None:
        runs.append(client.create_flow_run(flow(name="test")(lambda: None), name=name, state=Running()).id)
        client.set_flow_run_state(runs[-1], Crashed(message=message), force=True)

    def meanwhile() -> None:
        crash(HOSTILE_NAME, "Execution was cancelled.")
        crash(HOSTILE_NAME)

    with get_client(sync_client=True) as client:
        automation_id = client.create_automation(automation)
        (alert,) = mailbox.alerts_during(crash, meanwhile, TAMED_NAME)
        client.delete_automation(automation_id)
    assert alert["subject"] == f"fashion-gan: {TAMED_NAME} crashed"
    assert alert["body"].startswith("No heartbeat for 120 s.\nThe log of the run says more.")
    assert alert["body"].endswith(f"/runs/flow-run/{runs[-2]}")


@pytest.fixture
def server_of_late_runs(tmp_path) -> Iterator[Checkout]:
    """A full server that marks runs as Late, which the server of the other tests does not; this process uses it too."""
    checkout = Checkout.make(tmp_path / "project", tmp_path / "prefect")
    with running_server(checkout, **LATE_SOON), temporary_settings({PREFECT_API_URL: checkout.env["PREFECT_API_URL"]}):
        yield checkout


@pytest.mark.drill
def test_the_server_alerts_about_a_run_that_no_worker_takes_and_one_whose_code_cannot_be_loaded(
    server_of_late_runs, mailbox
) -> None:
    server = server_of_late_runs
    server.run("flows/setup_server.py", "--alert-block", SLUG)
    deployments = {found["name"]: found["id"] for found in ask(server, "deployments/filter", {})}
    runs = []

    def be_late(name: str, deployment: str = "nightly") -> None:
        runs.append(ask(server, f"deployments/{deployments[deployment]}/create_flow_run", {"name": name, **ANY})["id"])
        wait_until(lambda: ask(server, f"flow_runs/{runs[-1]}")["state_name"] == "Late", 60)

    def meanwhile() -> None:
        be_late("training", "gpu")  # the waiting run sends this alert
        be_late(HOSTILE_NAME)

    (alert,) = mailbox.alerts_during(be_late, meanwhile, TAMED_NAME)
    assert alert["subject"] == f"fashion-gan: {TAMED_NAME} has not started"
    assert alert["body"].startswith("It was due, and no worker has taken it. Start one: make worker.")
    assert alert["body"].endswith(f"/runs/flow-run/{runs[-2]}")

    server.edit("flows/train_flow.py", "import flows  #", "import no_such_package, flows  #")
    with running(server, *WORKER):
        assert mailbox.receives(f"{LAST} crashed", 300), "it takes one after the other"
    (alert,) = [message for message in mailbox if TAMED_NAME in message["subject"]]
    mailbox.clear()
    assert alert["body"].startswith("Process exited with status code")


COLLAPSING = ("--steps", 600, "--sample-every", 600, "--set", "learning_rate=0.1")
"""Options of a training whose generator soon draws one image only."""


@pytest.mark.drill
def test_real_runs_tell_of_collapse_of_failure_and_of_a_crash(quick_checkout, data, mailbox, tmp_path) -> None:
    checkout = quick_checkout
    command: tuple[object, ...] = ("flows/train_flow.py", *SMALL, "--batch-size", 16, "--num-samples", 100)
    command += (
        "--device",
        "cpu",
        "--dataset",
        "own",
        "--data-dir",
        data,
        "--output-dir",
        tmp_path / "artifacts",
        "--alert-block",
        SLUG,
    )
    checkout.run(*command, *COLLAPSING, "--run-name", "collapsed")
    message = mailbox.wait()
    assert message["subject"] == "fashion-gan: collapsed may have collapsed"
    assert message["body"].startswith("Mode collapse after 600 steps")

    checkout.run(*command, *COLLAPSING, "--run-name", "collapsed")  # cached: the next message is not of it
    output = failed(checkout.start(*command, *COLLAPSING, "--run-name", "collapsed", "--stop-on-collapse"))
    message = mailbox.wait()
    assert message["subject"] == "fashion-gan: collapsed failed"
    assert message["body"].startswith("TrainingError: Mode collapse after 600 steps")
    assert output.count("Mode collapse after 600 steps") == 1, "the message is there once, in the end"
    assert "Traceback" not in output
    assert "hook" not in output

    with checkout.started(*command, "--steps", 100_000, "--run-name", "stopped") as process:
        wait_for_checkpoint(tmp_path / "artifacts", process)
        process.send_signal(signal.SIGTERM)
        failed(process)
    message = mailbox.wait()
    assert message["subject"] == "fashion-gan: stopped was stopped or crashed"
    assert "/runs/flow-run/" in message["body"]


def failed(process: subprocess.Popen[str]) -> str:
    with process:
        output, _ = process.communicate(timeout=300)
    assert process.returncode != 0, output
    return output


def test_a_block_that_is_not_there_ends_a_run_before_any_work(quick_checkout, data, tmp_path) -> None:
    folder = tmp_path / "artifacts"
    command = ("flows/train_flow.py", "--dataset", "own", "--data-dir", data, "--output-dir", folder)
    output = failed(quick_checkout.start(*command, "--alert-block", "slack-webhook/none"))
    assert output.count("There is no alert block slack-webhook/none") == 1
    assert "Traceback" not in output
    assert not list(folder.glob("store/*/*"))
