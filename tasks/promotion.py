"""The champion that a new run has to beat, and the run that becomes it."""

import logging
from contextlib import suppress

from pydantic import ValidationError

from gan.champion import champion_of, mend_link, promote, was_promoted
from gan.errors import SettingsError
from gan.gate import Decision
from gan.published import AVERAGE_GENERATOR, AVERAGE_SAMPLES, check_files, read_manifest
from gan.store import Store
from tasks.failures import refusals_explained
from tasks.records import Champion, NormalizedData, TrainedGan
from tasks.reference import is_published, keep, refuse_other_data

log = logging.getLogger(__name__)


def find_champion(store: Store, name: str, data: NormalizedData, trained: TrainedGan) -> Champion | None:
    """The champion that a run has to beat: the present one; of a run that was decided on before, the one of then.

    So the same command again finds its decision cached, unless it passed the gate and was not promoted: another run may
    have become the champion meanwhile.

    Args:
        store: Receives the champion's samples, so that it can go while its copy is in use.
        name: Of the new run.
        data: What it was trained on.
        trained: What came out.

    Raises:
        SettingsError: If the champion's history cannot be read.
    """
    if is_published(store, name, trained):
        manifest = read_manifest(store.root / "runs" / name)
        with suppress(ValidationError):
            gate = Decision.model_validate(manifest.gate)
            if not gate.passes or was_promoted(store.root, name, trained.average.sha256):
                champion = None if manifest.champion is None else Champion.model_validate(manifest.champion)
                if champion is None or all(store.is_intact(ref) for ref in champion.files()):
                    return champion
    present = champion_of(store.root)
    return None if present is None else _present_champion(store, present.run, data)


def _present_champion(store: Store, run: str, data: NormalizedData) -> Champion:
    """What can be had of the champion; why nothing, if that is so: it is not beaten by being lost."""
    folder = store.root / "runs" / run
    try:
        manifest = read_manifest(folder)
        refuse_other_data(folder, manifest, data)
        check_files(folder, manifest, AVERAGE_GENERATOR, AVERAGE_SAMPLES)
    except SettingsError as error:
        why = str(error).partition("\n")[0].replace(str(folder), f"the champion {run}")
        obstacle = f"It cannot be compared with the champion: {why}"
        return Champion(name=run, average=None, average_samples=None, obstacle=obstacle)
    return Champion(
        name=run,
        average=keep(store, folder / AVERAGE_GENERATOR),
        average_samples=keep(store, folder / AVERAGE_SAMPLES),
    )


def settle(store: Store, name: str, trained: TrainedGan, gate: Decision, *, no_promote: bool) -> None:
    """Make a published run the champion, if it has passed the gate and nobody wants it otherwise.

    Args:
        store: The output folder.
        name: Of the run.
        trained: What came out of its training.
        gate: What was decided.
        no_promote: Leave the champion as it is.
    """
    with refusals_explained("The run", store):
        mend_link(store.root)
    if no_promote or not gate.passes or was_promoted(store.root, name, trained.average.sha256):
        return
    if promote(store.root, name, over=gate.champion, reasons=gate.reasons):
        log.info("%s is the champion now. %s", name, gate.sentence)
        return
    present = champion_of(store.root)
    if present and present.run != name:  # else an equal run was quicker
        log.warning(
            "%s passed the gate, but %s has become the champion since it was judged: run the same command again, and "
            "it is judged against that one.",
            name,
            present.run,
        )
