"""Find the champion that a new run has to beat, and promote a run that passes the gate."""

import logging
from contextlib import suppress

from pydantic import ValidationError

from gan.errors import SettingsError, first_line
from gan.judging.gate import Decision
from gan.runs.champion import (
    Change,
    best_so_far,
    champion_of,
    check_champion,
    is_on_champion_stack,
    mend_link,
    promote,
    was_promoted,
)
from gan.runs.manifest import AVERAGE_GENERATOR, AVERAGE_SAMPLES, read_manifest
from gan.storage.store import Store
from tasks.failures import explain_refused_writes
from tasks.published import is_published
from tasks.records import Champion, NormalizedData, TrainedGan
from tasks.reference import check_same_data, copy_to_store

log = logging.getLogger(__name__)


def find_champion(store: Store, name: str, data: NormalizedData, trained: TrainedGan) -> Champion | None:
    """Return the champion that a run has to beat.

    A run that was judged before gets the same champion again, so that the same command finds its comparison cached.
    It gets the present champion if it passed the gate and was not promoted, if the comparison was impossible, or if
    that champion was rolled back since. The champion does not have to beat itself. The champion's files are copied to
    the store, so that they outlive its folder.

    Raises:
        SettingsError: If the champion's history cannot be read.
    """
    present, generator = champion_of(store.root), trained.average.sha256
    is_champion = present is not None and present.generator == generator
    before, was_judged = None, is_published(store, name, trained)
    judged = None
    if was_judged:
        judged = store.root / "runs" / name
    elif present and is_champion:  # under another name; it keeps the champion that it has beaten
        judged = store.root / present.folder
    if judged:
        with suppress(ValidationError, SettingsError):
            manifest = read_manifest(judged)
            gate = Decision.model_validate(manifest.gate)
            champion = None if manifest.champion is None else Champion.model_validate(manifest.champion)
            is_available = champion is None or all(store.is_available(ref) for ref in champion.files())
            if is_available and (is_champion or _is_final(store, generator, gate, champion)):
                return champion
            before = champion
    new = None if present is None or is_champion else _present_champion(store, present, data)
    if was_judged and new and new != before:
        log.info("%s was judged before; the gate decides again, against %s.", name, new.name)
    return new


def promote_if_passed(
    store: Store, name: str, trained: TrainedGan, champion: Champion | None, gate: Decision, *, no_promote: bool
) -> bool:
    """Make a published run the champion if it has passed the gate against `champion`, unless `no_promote` is set.

    Return False if the champion has changed since the run was judged, so that the run has to be judged again.
    """
    with explain_refused_writes("The run", store):
        mend_link(store.root)
    if no_promote or not gate.passes or was_promoted(store.root, trained.average.sha256):
        return True
    against = (champion.name, champion.average.sha256) if champion and champion.average else None
    if promote(store.root, name, against=against, generator=trained.average.sha256, reasons=gate.reasons):
        log.info("%s is the champion now. %s", name, gate.sentence)
        return True
    present = champion_of(store.root)
    if present and present.generator == trained.average.sha256:
        return True  # an equal run was promoted first
    now = present.run if present else "none"
    log.warning("Since %s was judged, the champion has changed (now: %s), or a run took over its name.", name, now)
    return False


def _is_final(store: Store, generator: str, gate: Decision, champion: Champion | None) -> bool:
    """Return whether an earlier decision of the gate still holds."""
    if gate.passes:
        return was_promoted(store.root, generator)
    if champion is None:
        return True
    return champion.average is not None and is_on_champion_stack(store.root, champion.average.sha256)


def _present_champion(store: Store, present: Change, data: NormalizedData) -> Champion:
    """Return the champion with its files, or with the reason why the run cannot be compared with it."""
    folder, run = store.root / present.folder, present.run

    def obstacle(error: SettingsError, advice: str) -> Champion:
        why = first_line(error).replace(str(folder), f"the champion {run}")
        words = f"It cannot be compared with the champion: {why} {advice}".rstrip()
        return Champion(name=run, average=None, average_samples=None, obstacle=words)

    promote_other = 'make champion ARGS="promote NAME".'
    try:
        manifest = check_champion(store.root, present)
    except SettingsError as error:
        return obstacle(error, f"Until it is restored or replaced, no run can become champion: {promote_other}")
    try:
        check_same_data(folder, manifest, data)
    except SettingsError as error:
        instead = "Use an output folder for each data set"
        if manifest.data.name == data.dataset:
            instead = "The data has changed: repeat the champion's command on that of today"
        return obstacle(error, f"{instead}, or replace the champion: {promote_other}")
    try:
        average, samples = copy_to_store(store, folder, manifest, AVERAGE_GENERATOR, AVERAGE_SAMPLES)
    except SettingsError as error:
        return obstacle(error, "")
    return Champion(name=run, average=average, average_samples=samples, reached=best_so_far(store.root))
