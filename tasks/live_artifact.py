"""One artifact that shows a training while it runs, on the page of the run that trains and of the run that waits."""

import logging
from uuid import UUID

from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
)
from prefect.client.schemas.objects import Artifact
from prefect.client.schemas.sorting import ArtifactSort

TRAINING_PROGRESS = "training-progress"

log = logging.getLogger(__name__)


class LiveArtifact:
    """The artifact `training-progress` of the current run: created when it is first shown, then updated."""

    def __init__(self) -> None:
        """Create nothing yet."""
        self._id: UUID | None = None

    def show(self, markdown: str, description: str) -> None:
        """Show this content in place of the content before; raise Prefect's error if the server does not respond."""
        if self._id is None:
            created = create_markdown_artifact(key=TRAINING_PROGRESS, markdown=markdown, description=description)
            assert isinstance(created, UUID)  # in synchronous code, whatever Prefect's types say
            self._id = created
            return
        with get_client(sync_client=True) as client:
            client.update_artifact(self._id, ArtifactUpdate(data=markdown, description=description))


class Relay:
    """Shows the live artifact of another run on the page of the current one."""

    def __init__(self) -> None:
        """Create nothing yet."""
        self._artifact, self._shown, self._failed = LiveArtifact(), "", False

    def update(self, client: SyncPrefectClient, run_id: UUID) -> str | None:
        """Copy the other run's artifact if it has changed; return what its training has done, or None.

        A failure causes a warning, the first time.
        """
        try:
            found = _newest(client, run_id)
            if found is None or (found.description or "") == self._shown:
                return None
            self._shown = found.description or ""
            self._artifact.show(str(found.data), self._shown)
        except Exception as error:  # nothing that is only shown may end the wait
            if not self._failed:
                log.warning("The progress of the training is not shown here: %s", type(error).__name__)
            self._failed = True
            return None
        return self._shown.rpartition(") ")[2]  # without the thumbnail


def _newest(client: SyncPrefectClient, run_id: UUID) -> Artifact | None:
    """Return the live artifact of a run; the newest if its training was retried."""
    of_run = ArtifactFilter(
        flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]), key=ArtifactFilterKey(any_=[TRAINING_PROGRESS])
    )
    return next(iter(client.read_artifacts(artifact_filter=of_run, sort=ArtifactSort.CREATED_DESC, limit=1)), None)
