"""One artifact that shows a training while it runs, on the page of the run that trains and of the run that waits."""

import logging
import time
from http import HTTPStatus
from uuid import UUID

import httpx
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey
from prefect.client.schemas.objects import Artifact
from prefect.client.schemas.sorting import ArtifactSort

TRAINING_PROGRESS = "training-progress"
RELAY_SECONDS = 15.0

log = logging.getLogger(__name__)


def description_of(thumbnail: str, progress: str) -> str:
    """Return the description of the artifact: a picture, given by its address, and what the training has done."""
    return f"![fixed latents]({thumbnail}) {progress}"


def progress_in(description: str) -> str:
    """Return what the training has done, from a description by `description_of`; no address contains a bracket."""
    return description.partition(") ")[2]


class LiveArtifact:
    """The artifact `training-progress` of the current run: created when it is first shown, then updated."""

    def __init__(self) -> None:
        """Create nothing yet."""
        self._id: UUID | None = None

    def show(self, markdown: str, description: str) -> None:
        """Show this content in place of the content before; raise Prefect's error if the server does not respond."""
        try:
            if self._id is not None:
                with get_client(sync_client=True) as client:
                    client.update_artifact(self._id, ArtifactUpdate(data=markdown, description=description))
                return
        except httpx.HTTPStatusError as error:
            if error.response.status_code != HTTPStatus.NOT_FOUND:
                raise
        # the first time, or after somebody has deleted it in the UI
        created = create_markdown_artifact(key=TRAINING_PROGRESS, markdown=markdown, description=description)
        assert isinstance(created, UUID)  # in synchronous code, whatever Prefect's types say
        self._id = created


class Relay:
    """Shows the live artifact of another run on the page of the current one."""

    def __init__(self) -> None:
        """Create nothing yet."""
        self._artifact, self._shown, self._failed, self._next = LiveArtifact(), "", False, 0.0

    def update(self, client: SyncPrefectClient, run_id: UUID, *, is_over: bool) -> str | None:
        """Copy the other run's artifact if it has changed; return what its training has done, or None.

        The artifact holds pictures, so it is read at intervals, and once more when the run is over. A failure causes a
        warning, the first time.
        """
        if time.monotonic() < self._next and not is_over:
            return None
        self._next = time.monotonic() + RELAY_SECONDS
        try:
            found = _newest(client, run_id)
            description = (found and found.description) or ""
            if found is None or description == self._shown:
                return None
            self._artifact.show(str(found.data), description)
        except Exception as error:  # nothing that is only shown may end the wait
            if not self._failed:
                log.warning("The progress of the training is not shown here: %s", type(error).__name__)
            self._failed = True
            return None
        self._shown = description
        return progress_in(description)


def _newest(client: SyncPrefectClient, run_id: UUID) -> Artifact | None:
    """Return the live artifact of a run; the newest if its training was retried."""
    of_run = ArtifactFilter(
        flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]), key=ArtifactFilterKey(any_=[TRAINING_PROGRESS])
    )
    return next(iter(client.read_artifacts(artifact_filter=of_run, sort=ArtifactSort.CREATED_DESC, limit=1)), None)
