"""Who is told when a run did not go well: a notification block of Prefect, named in the settings.

A run that ends badly tells it itself, by hooks. Of a run that was killed with SIGKILL nobody is left to do so, and of
one that no worker takes nobody is there yet: the server tells, by automations.
"""

import inspect
import logging
import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.client.schemas import FlowRun
from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.flows import Flow
from prefect.runtime import flow_run as this_run
from prefect.states import State
from prefect.utilities.asyncutils import run_coro_as_sync
from prefect.utilities.urls import url_for
from pydantic import BaseModel

from flows.settings import ALERT_VARIABLE
from flows.summary import UI_ADDRESS
from gan.errors import SettingsError
from tasks.hand_over import GPU_DEPLOYMENT

NO_HEARTBEAT = "No heartbeat"
"""How the message of a run begins that the server marks as Crashed because its process is gone."""

NEVER_STARTED = "Never started"
"""The same, of a run that a worker has taken, and whose process never came."""

UNTOLD = (
    f"{NO_HEARTBEAT}*",
    f"{NEVER_STARTED}*",
    "Process exited*",
    "Flow run could not start*",
    "Failed to submit*",
    "Flow run infra*",
)
"""How a crash is described, by the server or a worker, of which the run itself may have told nobody: it was killed,
or ended before our code was loaded, as when a package is missing. A server cannot know that: it may tell again."""

GPU_NAME = GPU_DEPLOYMENT.partition("/")[2]
MAX_LENGTH = 500
NEUTRAL = dict(zip("<>@[]{}`*|&", "‹›＠()()'∗¦＆", strict=True))
"""What chat programs would make a mention, a link or markup of, and Prefect a place for a secret of the block."""

log = logging.getLogger("tasks.alerts")  # a name whose lines show in the UI


class AlertError(SettingsError):
    """There is nobody who could be told."""


def load_alert_block(slug: str) -> NotificationBlock:
    """The notification block of that name.

    Raises:
        AlertError: If there is none, or it cannot notify.
    """
    how = (
        "Make one in the UI (Blocks, +, a notification block), and give --alert-block its type and name, such as "
        "slack-webhook/team; or leave the option out."
    )
    try:
        block = Block.load(slug)
    except ValueError as error:
        raise AlertError(f"There is no alert block {slug} on this Prefect server.\n{how}") from error
    if not isinstance(block, NotificationBlock):
        raise AlertError(f"The block {slug} is none that can notify anybody.\n{how}")
    return block


def check_alert_block(slug: str | None) -> None:
    """Find out before any work is done whether somebody can be told. A server that fails to say is no reason to stop.

    Raises:
        AlertError: If a block is named, and there is none.
    """
    if slug is None:
        return
    try:
        load_alert_block(slug)
    except AlertError:
        raise
    except Exception as error:  # a block of another version, a type without code here, a server that does not answer
        log.warning("The alert block %s could not be loaded now (%s): going on without.", slug, type(error).__name__)


def alert_on_failure(flow: Flow[Any, Any], flow_run: FlowRun, state: State) -> None:
    """Hook on a failed or crashed run; Prefect names the parameters."""
    slug = _alert_block_of(flow_run.parameters)
    if slug is not None:
        what = "was stopped or crashed" if state.is_crashed() else "failed"
        _tell(slug, f"{_name_of(flow_run)} {what}", _reason(state), str(flow_run.id))


def alert_on_collapse(slug: str | None, warnings: Sequence[str]) -> None:
    """Tell of a training's signs of collapse, called within the flow run."""
    if slug is not None and warnings:
        _tell(slug, f"{this_run.get_name()} may have collapsed", " ".join(warnings), str(this_run.get_id()))


def plain(text: str) -> str:
    """One line without markup, mentions or links, cut to a readable length: names and errors may hold anything."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    short = line if len(line) <= MAX_LENGTH else line[: MAX_LENGTH - 1] + "…"
    return short.translate({ord(old): new for old, new in NEUTRAL.items()})


def _alert_block_of(parameters: Mapping[str, Any]) -> str | None:
    settings = parameters.get("settings")
    if isinstance(settings, BaseModel):
        settings = settings.model_dump()
    named = settings.get("alert_block") if isinstance(settings, Mapping) else None
    return named or os.environ.get(ALERT_VARIABLE) or None


def _name_of(flow_run: FlowRun) -> str:
    """What the run is called by now: a worker that tells of a killed run knows its first name only."""
    try:
        with get_client(sync_client=True) as client:
            return client.read_flow_run(flow_run.id).name
    except Exception:  # a server that does not answer: a name for people is no reason not to tell them
        return flow_run.name


def _reason(state: State) -> str:
    """What the state says in its first line, without Prefect's introduction."""
    first = (state.message or "no reason was given").partition("\n")[0]
    return first.partition("encountered an exception: ")[2] or first


def _link(run_id: str) -> str | None:
    return url_for("flow-run", obj_id=run_id, default_base_url=UI_ADDRESS)


def _tell(slug: str, subject: str, what: str, run_id: str) -> None:
    """Send a message; where it cannot be delivered that costs a warning, not the run."""
    try:
        block = load_alert_block(slug)
        with block.raise_on_failure():
            sent = block.notify(f"{plain(what)}\n{_link(run_id)}", f"fashion-gan: {plain(subject)}")
            if inspect.isawaitable(sent):  # as blocks of other packages may be written
                run_coro_as_sync(sent)
    except Exception as error:  # its text may hold the webhook's address, which is a secret
        log.warning("The alert %r could not be delivered through %s: %s", plain(subject), slug, type(error).__name__)


def alert_automations(slug: str) -> list[AutomationCore]:
    """The automations that tell of runs of which no process is there to tell anything.

    These are runs whose process is gone or never came so far, and runs that were due and that nobody has started. All
    other runs tell of their end themselves. A training that waits for a busy GPU is none of these: the run that needs
    it waits for it, and tells.

    Args:
        slug: The notification block, as type/name.

    Raises:
        AlertError: If there is no such block.
    """
    block_id = load_alert_block(slug)._block_document_id
    assert block_id is not None  # it was loaded from there

    def telling(of: str, why: str, trigger: EventTrigger, what: str, body: str) -> AutomationCore:
        subject = f"fashion-gan: {_in_template('flow_run.name')} {what}"
        message = f"{body}\n{_link('{{ flow_run.id }}')}"
        return AutomationCore(
            name=f"Tell of {of}",
            description=f"Tells {slug} of a run that {why}.",
            trigger=trigger,
            actions=[SendNotification(block_document_id=block_id, subject=subject, body=message)],
        )

    return [
        telling(
            "crashed runs",
            "crashed and may have told nobody: its process was killed, or did not get so far",
            _at_once("Crashed", {"prefect.state-message": list(UNTOLD)}),
            "crashed",
            _in_template("flow_run.state.message"),
        ),
        telling(
            "runs that do not start",
            "was due, and that no worker has taken",
            _at_once("Late", {}, {"prefect.resource.role": "deployment", "prefect.resource.name": f"!{GPU_NAME}"}),
            "has not started",
            "It was due, and no worker has taken it. Start one: make worker. If one is there, an earlier run of this "
            "deployment is still at work, or the worker's log says why.",
        ),
    ]


def _at_once(
    state: str, labels: Mapping[str, str | list[str]], related: Mapping[str, str] | None = None
) -> EventTrigger:
    """Each time that a run, with these labels, comes into a state."""
    return EventTrigger(
        expect={f"prefect.flow-run.{state}"},
        match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*", **labels}),
        match_related=ResourceSpecification(dict(related or {})),
        for_each={"prefect.resource.id"},
        posture=Posture.Reactive,
        threshold=1,
        within=timedelta(0),
    )


def _in_template(expression: str) -> str:
    """What `plain` does with a text, for a server that fills in the text itself."""
    replacing = "".join(f"|replace({old!r}, {new!r})" for old, new in NEUTRAL.items())
    return f"{{{{ {expression}|string|truncate({MAX_LENGTH}, true)|replace('\\n', ' '){replacing} }}}}"
