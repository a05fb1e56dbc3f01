"""Alerts about runs that fail, crash, collapse or do not start, about results that need a look, and a filling disk.

They are sent through a notification block of Prefect. An ordinary run sends none.

The hooks of a run send most alerts. Automations of the server send those about runs without a living process: killed
with SIGKILL, or never started by a worker.
"""

import inspect
import logging
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.client.schemas import FlowRun
from prefect.client.schemas.objects import StateType
from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.flows import Flow
from prefect.runtime import flow_run as this_run
from prefect.states import State
from prefect.utilities.asyncutils import run_coro_as_sync
from prefect.utilities.urls import url_for
from pydantic import BaseModel

from flows.shared_options import ALERT_VARIABLE
from flows.summary import UI_ADDRESS
from gan.config import output_option
from gan.errors import SettingsError
from gan.report.front_page import FrontPage
from gan.report.opinion import opinion_of
from gan.runs.champion import Change
from gan.runs.disk import describe_forecast
from tasks.artifacts import pages_url
from tasks.hand_over import GPU_DEPLOYMENT

NO_HEARTBEAT, NEVER_STARTED = "No heartbeat", "Never started"
"""First words of the messages with which automations mark runs as Crashed (flows/setup_server.py)."""

KILLED = NO_HEARTBEAT, NEVER_STARTED, "Process exited", "Flow run could not start", "Failed to submit", "Flow run infra"
CRASHES_WITHOUT_HOOKS = [f"{words}*" for words in KILLED]
"""Messages of crashes for which the run may have sent no alert: it was killed, or ended before the flow was loaded.

The server cannot know whether the run sent one, so an alert may arrive twice.
"""

RESUME = "The log of the run says more. If it runs again with the same settings, finished work is not repeated."
WAITING = "If another run waits for it, that run starts it again by itself, at most twice."
MAX_LENGTH, MAX_LINES = 500, 3
NEUTRAL = dict(zip("<>@[]{}`*|&", "‹›＠()()'∗¦＆", strict=True))
"""Replacements for characters that chat programs interpret as mentions, links or markup. Prefect interprets some of
them as a reference to a secret."""

log = logging.getLogger("tasks.alerts")  # loggers below "tasks" are shown in the UI


class AlertError(SettingsError):
    """The alert block does not exist or cannot send notifications."""


def load_alert_block(slug: str) -> NotificationBlock:
    """Load a notification block, given as type/name. Without such a block, raise an `AlertError`."""
    advice = (
        "Create one in the UI (Blocks, +, a notification block), and give --alert-block its type and name, such as "
        "slack-webhook/team; or leave the option out."
    )
    try:
        block = Block.load(slug)
    except ValueError as error:
        raise AlertError(f"There is no alert block {slug} on this Prefect server.\n{advice}") from error
    if not isinstance(block, NotificationBlock):
        raise AlertError(f"The block {slug} is not a notification block.\n{advice}")
    return block


def check_alert_block(slug: str | None) -> None:
    """Raise an `AlertError` if the alert block does not exist. A server that does not answer only causes a warning."""
    try:
        if slug is not None:
            load_alert_block(slug)
    except AlertError:
        raise
    except Exception as error:  # a block of another version, a type that is not installed, a server that is away
        log.warning(
            "The alert block %s could not be checked (%s). The run continues; alerts may not be delivered.",
            slug,
            type(error).__name__,
        )


def alert_on_failure(flow: Flow[Any, Any], flow_run: FlowRun, state: State) -> None:
    """Send an alert about a failed or crashed run. A hook; Prefect requires these parameter names."""
    settings = flow_run.parameters.get("settings")
    if isinstance(settings, BaseModel):
        settings = settings.model_dump()
    named = settings.get("alert_block") if isinstance(settings, Mapping) else None
    slug = named or os.environ.get(ALERT_VARIABLE)
    if slug and not _is_part_of_a_cancelled_run(flow_run):
        reason = state.message or "no reason was given"
        reason = reason.partition("encountered an exception: ")[2] or reason
        reason = " ".join(reason.splitlines()[:MAX_LINES])  # what happened, and what to do
        what = "was stopped or crashed" if state.is_crashed() else "failed"
        _send(slug, f"{_current_name(flow_run)} {what}", reason, RESUME, _link(str(flow_run.id)))


def alert_on_collapse(slug: str | None, warnings: Sequence[str]) -> None:
    """Send an alert about signs of collapse in the training of the current flow run, unless it is part of a sweep."""
    if slug is not None and warnings and not _is_in_a_sweep():
        advice = "Look at its pictures. If they are bad, train with another seed or a lower learning rate."
        _send(slug, f"{this_run.get_name()} may have collapsed", " ".join(warnings), advice, _link_to_this_run())


def alert_on_result(
    slug: str | None, root: Path, page: FrontPage | None, run: str, champion_before: Change | None, *, is_new: bool
) -> None:
    """Send an alert if the opinion on a new run is bad, and one if it has become the champion.

    Args:
        slug: The alert block; None for no alerts.
        root: The output folder.
        page: The content of its front page, with this run; None if it could not be read.
        run: Name of the run.
        champion_before: The champion before the run was judged.
        is_new: Whether the run was published now, not before.
    """
    if slug is None or page is None:
        return
    champion = page.champion
    found = [entry for entry in page.entries if entry.name == run]
    if not found:
        return
    look = f"Look at its report, {root / 'runs' / run / 'report.html'}."
    opinion, links = opinion_of(found[0], page.entries), (pages_url(f"runs/{run}/report.html"), _link_to_this_run())
    needs_look = is_new and opinion.tone == "bad" and not found[0].warnings  # a collapse has its own alert
    if needs_look and not _is_in_a_sweep():
        what = f"{look} It lists what differs from the run that it is compared with, if there is one."
        _send(slug, f"{run} needs a look", opinion.words, what, *links)
    if champion and champion.run == run and champion != champion_before:
        undo = f' To undo it: make champion ARGS="rollback {output_option(root)}".' if champion.before else ""
        reasons = " ".join(champion.reasons) or opinion.words  # without reasons it was promoted by hand
        _send(slug, f"{run} is the champion now", reasons, f"{look}{undo}", *links)


def alert_on_disk(slug: str | None, root: Path) -> None:
    """Send an alert if the disk of an output folder will be full within a week; for a sweep once, not for each run."""
    if slug is None or _is_in_a_sweep():
        return
    try:
        words = describe_forecast(root)
    except OSError as error:
        log.warning("It is not known how full the disk of %s is: %s", root, error.strerror or error)
        return
    if words:
        advice = f'See what can be removed: make prune ARGS="{output_option(root)} --dry-run --keep-runs 30"'
        _send(slug, f"the disk of {root} on {socket.gethostname()} fills up", words, advice, _link_to_this_run())


def send_digest(slug: str, headline: str, text: str) -> None:
    """Send a digest of several days; raise an `AlertError` if it cannot be delivered."""
    if not _send(slug, headline, text, "All runs and their charts:", pages_url("index.html")):
        raise AlertError(f"The digest could not be delivered through {slug}.\nThe line before says why.")


def _is_in_a_sweep() -> bool:
    """Return whether this run is part of a sweep, which tries bad values on purpose and has a leaderboard."""
    return this_run.get_parent_flow_run_id() is not None


def plain(text: str) -> str:
    """Return one line of at most MAX_LENGTH characters without markup, mentions or links, from untrusted text."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    short = line if len(line) <= MAX_LENGTH else line[: MAX_LENGTH - 1] + "…"
    return short.translate({ord(old): new for old, new in NEUTRAL.items()})


def _is_part_of_a_cancelled_run(flow_run: FlowRun) -> bool:
    """Return whether a run ended because the sweep that it is part of was cancelled."""
    if flow_run.parent_task_run_id is None:
        return False
    try:
        with get_client(sync_client=True) as client:
            task = client.read_task_run(flow_run.parent_task_run_id)
            state = client.read_flow_run(task.flow_run_id).state if task.flow_run_id else None
    except Exception:  # one alert too many is better than none
        return False
    return state is not None and state.type in {StateType.CANCELLING, StateType.CANCELLED}


def _current_name(flow_run: FlowRun) -> str:
    """Return the present name of a run: a worker that reports a killed run knows only the initial name."""
    try:
        with get_client(sync_client=True) as client:
            return client.read_flow_run(flow_run.id).name
    except Exception:  # the alert is worth more than the name
        return flow_run.name


def _link(run_id: str) -> str:
    """Return the address of a run in the UI."""
    return url_for("flow-run", obj_id=run_id, default_base_url=UI_ADDRESS) or UI_ADDRESS


def _link_to_this_run() -> str:
    return _link(str(this_run.get_id()))


def _send(slug: str, subject: str, text: str, advice: str, *links: str) -> bool:
    """Send a message: what happened, what to do, and where to look, each on a line of its own.

    A failed delivery causes a warning and does not end the run. Only `subject` and `text` may be untrusted.

    Returns:
        Whether it was delivered.
    """
    try:
        block = load_alert_block(slug)
        with block.raise_on_failure():
            sent = block.notify("\n".join([plain(text), advice, *links]), f"fashion-gan: {plain(subject)}")
            if inspect.isawaitable(sent):  # blocks of other packages may be asynchronous
                run_coro_as_sync(sent)
        return True
    except Exception as error:  # do not log its text: it may contain the webhook's address, which is a secret
        log.warning("The alert %r could not be delivered through %s: %s", plain(subject), slug, type(error).__name__)
        return False


def alert_automations(slug: str) -> list[AutomationCore]:
    """Return the automations that send alerts, through this block, about late runs and about crashes without hooks."""
    load_alert_block(slug)
    type_slug, _, name = slug.partition("/")
    with get_client(sync_client=True) as client:
        block_id = client.read_block_document_by_name(name, type_slug).id
    advice = (
        "It was due, and no worker has taken it. Start one: make worker. If a worker is running, an earlier run of "
        "this deployment has not ended yet, or the worker's log says why."
    )
    reason = f"{_in_template('flow_run.state.message')}\n{RESUME} {WAITING}"
    messages = {"prefect.state-message": CRASHES_WITHOUT_HOOKS}
    # A training that waits for a busy GPU is not reported: the run that needs it waits, and sends the alert.
    not_gpu = {"prefect.resource.role": "deployment", "prefect.resource.name": f"!{GPU_DEPLOYMENT.partition('/')[2]}"}

    def automation(
        runs: str,
        *,
        what: str,
        body: str,
        state: str,
        labels: Mapping[str, list[str]] | None = None,
        related: Mapping[str, str] | None = None,
    ) -> AutomationCore:
        notification = SendNotification(
            block_document_id=block_id,
            subject=f"fashion-gan: {_in_template('flow_run.name')} {what}",
            body=f"{body}\n{_link('{{ flow_run.id }}')}",
        )
        trigger = EventTrigger(
            expect={f"prefect.flow-run.{state}"},
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*", **(labels or {})}),
            match_related=ResourceSpecification({**(related or {})}),
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
        )
        description = f"Sends an alert through {slug} about {runs}."
        return AutomationCore(
            name=f"Alert about {runs}", description=description, trigger=trigger, actions=[notification]
        )

    return [
        automation("crashed runs", what="crashed", body=reason, state="Crashed", labels=messages),
        automation("runs that do not start", what="has not started", body=advice, state="Late", related=not_gpu),
    ]


def _in_template(expression: str) -> str:
    """Return a Jinja expression with which the server cleans a value as `plain` does."""
    replacing = "".join(f"|replace({old!r}, {new!r})" for old, new in NEUTRAL.items())
    return f"{{{{ {expression}|string|truncate({MAX_LENGTH}, true)|replace('\\n', ' '){replacing} }}}}"
