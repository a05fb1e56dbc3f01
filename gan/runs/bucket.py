"""Pruning of an object store that several machines share.

No machine knows what the others need, so each one marks it: a run renews the objects that it uses, and pruning renews
those that the published runs of its folder need. Renewing an object sets its time, by the clock of the store. What no
machine has renewed for a number of days can be removed.

Nothing is lost for good if a machine did not renew in time. Its folder has the files of its published runs. The command
that made a run uploads these files again, and computes what the folder does not have.
"""

import json
import re
from collections.abc import Collection, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from gan.runs.pruning import Leftover, file_refs, read_published
from gan.storage.locks import shared_root_lock
from gan.storage.object_store import RENEW_AFTER, ObjectStore, StoredObject
from gan.storage.store import Store

MIN_DAYS = 21
"""Least age at which an object is removed: a machine that prunes every week renews what it needs twice before."""

_FILE = re.compile(r"store/(?P<folder>[0-9a-f]{2})/(?P<sha256>(?P=folder)[0-9a-f]{62})[^/]{0,40}")
_RECORD = re.compile(r"\.results/[0-9a-f]{64}")


def prune_bucket(
    store: Store, older_than_days: int, *, expired: Collection[str] = (), remove: bool, dry_run: bool
) -> list[Leftover]:
    """Renew the objects that the published runs of this folder need, and remove those that no machine has renewed.

    Objects with names that this project does not give are left alone.

    Args:
        store: The output folder with its object store.
        older_than_days: Days after which an object that was not renewed is removed; fewer than MIN_DAYS count as that.
        expired: Names of published runs for which nothing is renewed.
        remove: Whether to remove objects too.
        dry_run: Whether to find the leftovers, and change nothing.

    Returns:
        What was removed, or with a dry run only found.

    Raises:
        StoreError: If a manifest cannot be read, or the object store cannot be used.
    """
    assert store.remote is not None
    with shared_root_lock(store.root):  # a run that is being replaced is absent for a moment
        _, named = read_published(store, expired)
    aged = [found for found in store.remote.objects() if found.age >= RENEW_AFTER]
    needed = {found.key for found in aged if (match := _FILE.fullmatch(found.key)) and match["sha256"] in named}
    needed |= set(_records_of_published(store.remote, aged, named))
    limit = timedelta(days=max(MIN_DAYS, older_than_days))
    ours = [found for found in aged if _FILE.fullmatch(found.key) or _RECORD.fullmatch(found.key)]
    unused = [found for found in ours if remove and found.age >= limit and found.key not in needed]
    if not dry_run:
        store.remote.sizes(needed, renew=True)
        unused = store.remote.remove_unused(unused)
    return [Leftover(Path(found.key), "objects in the bucket", found.size) for found in unused]


def _records_of_published(remote: ObjectStore, aged: Sequence[StoredObject], named: set[str]) -> Iterator[str]:
    """Yield the keys of the result records that name only files of published runs."""
    keys = [found.key for found in aged if _RECORD.fullmatch(found.key)]
    for key, content in zip(keys, remote.read_all(keys), strict=True):
        try:
            refs = list(file_refs(json.loads(content or b"")))
        except (ValueError, RecursionError):
            continue  # a damaged record, which no stage takes
        if refs and all(sha256 in named for _, sha256 in refs):
            yield key
