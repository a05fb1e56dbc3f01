"""The champion that a new run has to beat, and the run that becomes it."""

import logging
from contextlib import suppress

from pydantic import ValidationError

from gan.errors import SettingsError
from gan.judging.gate import Decision
from gan.runs.champion import check_champion, mend_link, promote
from gan.runs.champion_history import Change, champion_of, still_counts, was_promoted
from gan.runs.manifest import AVERAGE_GENERATOR, AVERAGE_SAMPLES, read_manifest
from gan.storage.store import Store
from tasks.failures import explain_refused_writes
from tasks.records import Champion, NormalizedData, TrainedGan
from tasks.reference import is_published, keep, refuse_other_data

log = logging.getLogger(__name__)


def find_champion(store: Store, name: str, data: NormalizedData, trained: TrainedGan) -> Champion | None:
    """The champion that a run has to beat: the present one; of a run that was decided on before, the one of then.

    So the same command again finds its decision cached, unless it passed the gate and was not promoted (another run may
    have become the champion meanwhile), or the champion could not be compared with, or was rolled back since. A run
    that is the champion itself, by hand perhaps, is not asked to beat itself.

    Args:
        store: Receives the champion's samples, so that it can go while its copy is in use.
        name: Of the new run.
        data: What it was trained on.
        trained: What came out.

    Raises:
        SettingsError: If the champion's history cannot be read.
    """
    present, identity = champion_of(store.root), (name, trained.average.sha256)
    is_champion = present is not None and present.identity == identity
    if is_published(store, name, trained):
        manifest = read_manifest(store.root / "runs" / name)
        with suppress(ValidationError):
            gate = Decision.model_validate(manifest.gate)
            champion = None if manifest.champion is None else Champion.model_validate(manifest.champion)
            if gate.passes:
                settled = was_promoted(store.root, *identity)
            else:
                settled = champion is None or _still_counts(store, champion)
            settled = settled and (champion is None or not champion.obstacle)
            is_there = champion is None or all(store.is_intact(ref) for ref in champion.files())
            if (settled or is_champion) and is_there:
                return champion
    return None if present is None or is_champion else _present_champion(store, present, data)


def _still_counts(store: Store, champion: Champion) -> bool:
    """Whether a champion is still one, or was beaten since; not if it was rolled back."""
    return champion.average is not None and still_counts(store.root, champion.name, champion.average.sha256)


def _present_champion(store: Store, present: Change, data: NormalizedData) -> Champion:
    """What can be had of the champion; why nothing, if that is so: it is not beaten by being lost."""
    folder, run = store.root / present.folder, present.run
    try:
        refuse_other_data(folder, check_champion(store.root, present), data)
    except SettingsError as error:
        why = str(error).partition("\n")[0].replace(str(folder), f"the champion {run}")
        obstacle = f"It cannot be compared with the champion: {why}"
        return Champion(name=run, average=None, average_samples=None, obstacle=obstacle)
    return Champion(
        name=run,
        average=keep(store, folder / AVERAGE_GENERATOR),
        average_samples=keep(store, folder / AVERAGE_SAMPLES),
    )


def promote_if_passed(
    store: Store, name: str, trained: TrainedGan, champion: Champion | None, gate: Decision, *, no_promote: bool
) -> bool:
    """Make a published run the champion, if it has passed the gate and nobody wants it otherwise.

    Args:
        store: The output folder.
        name: Of the run.
        trained: What came out of its training.
        champion: What it was judged against.
        gate: What was decided.
        no_promote: Leave the champion as it is.

    Returns:
        False if another run has become the champion since it was judged: it is to be judged against that one.
    """
    with explain_refused_writes("The run", store):
        mend_link(store.root)
    if no_promote or not gate.passes or was_promoted(store.root, name, trained.average.sha256):
        return True
    over = (champion.name, champion.average.sha256) if champion and champion.average else None
    if promote(store.root, name, over=over, judged=trained.average.sha256, reasons=gate.reasons):
        log.info("%s is the champion now. %s", name, gate.sentence)
        return True
    present = champion_of(store.root)
    if present and present.identity == (name, trained.average.sha256):
        return True  # an equal run was quicker
    log.warning(
        "Since %s was judged, the champion has changed (now: %s), or another run was published under its name.",
        name,
        present.run if present else "none",
    )
    return False
