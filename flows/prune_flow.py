"""Remove from an output folder what no published run and no recently used result needs, and old runs on request.

With an object store, renew what published runs need there, and on request remove what no machine needs.

python flows/prune_flow.py --help
"""

import flows  # noqa: F401  # isort: skip  # sets environment variables that Prefect reads when it is imported

import logging
from collections.abc import Callable, Sequence
from typing import Annotated

from cyclopts import Parameter
from prefect import flow
from prefect.artifacts import create_table_artifact
from pydantic import BaseModel, Field, NonNegativeInt
from rich.filesize import decimal
from rich.table import Column, Table

from flows.server.alerts import alert_on_failure
from flows.shared_options import STORE_URL_VARIABLE, OutputDir, store_url_or_default
from gan.command import new_app, print_table, run_command, terminal
from gan.config import DEFAULT_OUTPUT_DIR
from gan.errors import FashionGanError, SettingsError, StoreError
from gan.report.front_page import FRONT_PAGE, refresh_front_page
from gan.runs.bucket import MIN_DAYS, prune_bucket
from gan.runs.pruning import DEFAULT_DAYS, Pruning, prune
from gan.runs.retention import DEFAULT_ROLLBACKS
from gan.storage.object_store import ObjectStore
from gan.storage.store import Store

MAX_FAILURES_SHOWN = 5

log = logging.getLogger("tasks.prune")  # loggers below "tasks" are shown in the UI


class PruneSettings(BaseModel, frozen=True, extra="forbid"):
    """Options of the command and of the flow."""

    older_than: NonNegativeInt = Field(
        DEFAULT_DAYS, le=36_500, description="days since the last use; what was used later is kept"
    )
    keep_runs: NonNegativeInt | None = Field(
        None,
        le=36_500,
        description="days for which every published run is kept; older ones are removed, except the newest of "
        "each week among runs whose settings differ only in the seed, champions, runs that a kept run was compared "
        "with, and runs that make keep has pinned; empty: all runs are kept",
    )
    rollbacks: NonNegativeInt = Field(
        DEFAULT_ROLLBACKS, description="champions before the present one that are kept, if keep_runs is given"
    )
    output_dir: OutputDir = Field(DEFAULT_OUTPUT_DIR, description="folder for the store and the published runs")
    store_url: str | None = Field(
        None,
        description="object store of this folder, as s3://bucket/prefix; what published runs need is renewed there; "
        f"empty: ${STORE_URL_VARIABLE}",
    )
    bucket: bool = Field(
        False,
        description="also remove from the object store what no machine has used or renewed for older_than days, "
        f"{MIN_DAYS} at least; needs the right s3:DeleteObject",
    )
    dry_run: bool = Field(False, description="list what would be removed, and remove nothing")


@flow(
    name="prune",
    flow_run_name="prune what is older than {settings.older_than} days",
    description="Remove what no published run and no recently used result needs, and old runs if keep_runs is given; "
    "renew in the object store what published runs need.",
    on_failure=[alert_on_failure],
    on_crashed=[alert_on_failure],
)
def prune_flow(settings: PruneSettings) -> None:
    """Remove what no published run and no recently used result needs, and old runs if `keep_runs` is given.

    Args:
        settings: The options.
    """
    rows: list[dict[str, str]] = []
    totals: list[str] = []

    def show(pruning: Pruning, total: str) -> None:
        log.info(total)
        if pruning.runs:
            log.info(_describe_runs(pruning))
        rows.extend({"what": what, "how many": num, "how much": size} for what, num, size in _rows(pruning))
        totals.append(total)

    try:
        prune_all(settings, show)
    finally:  # also if the object store fails after the folder was pruned
        if totals:
            create_table_artifact(key="pruned", table=rows, description="\n\n".join(totals))


def prune_all(settings: PruneSettings, show: Callable[[Pruning, str], None]) -> None:
    """Prune the output folder, then its object store if there is one.

    `show` receives what was removed from each, with its total in words.

    Raises:
        StoreError: If the object store fails, or if a file of the folder could not be removed.
    """
    url = store_url_or_default(settings.store_url)
    if settings.bucket and not url:
        raise SettingsError(
            f"--bucket needs an object store.\nGive its address with --store-url, or in ${STORE_URL_VARIABLE}."
        )
    pruning = _prune_folder(settings)
    show(pruning, _describe_total(pruning, str(settings.output_dir), settings.older_than, settings))
    try:
        if url and (settings.bucket or not settings.dry_run):
            found = _prune_objects(settings, url, expired=pruning.runs)
            if settings.bucket:  # without, objects are only renewed
                show(found, _describe_total(found, url, max(MIN_DAYS, settings.older_than), settings))
    except FashionGanError as error:
        if not pruning.failures:
            raise
        raise StoreError(f"{error}\n{_describe_failures(pruning)}", transient=error.transient) from error
    if pruning.failures:
        raise StoreError(_describe_failures(pruning))


def _prune_folder(settings: PruneSettings) -> Pruning:
    """Prune the output folder, and write its front page again without the runs that are gone."""
    root, dry_run = settings.output_dir.absolute(), settings.dry_run
    pruning = prune(
        root, settings.older_than, keep_days=settings.keep_runs, rollbacks=settings.rollbacks, dry_run=dry_run
    )
    if not dry_run and (root / FRONT_PAGE).exists():
        refresh_front_page(root)
    return pruning


def _prune_objects(settings: PruneSettings, url: str, expired: Sequence[str]) -> Pruning:
    """Renew in the object store what published runs need; with `bucket`, remove what no machine needs."""
    store = Store(settings.output_dir.absolute(), ObjectStore.open(url))
    days, remove, dry_run = settings.older_than, settings.bucket, settings.dry_run
    return Pruning(prune_bucket(store, days, expired=expired, remove=remove, dry_run=dry_run))


def _rows(pruning: Pruning) -> list[tuple[str, str, str]]:
    return [(what, f"{num:,}", decimal(size)) for what, num, size in pruning.rows()]


def _describe_total(pruning: Pruning, place: str, days: int, settings: PruneSettings) -> str:
    kept = " No published run is removed while a run is in progress." if pruning.leaves_runs else ""
    if not pruning.leftovers:
        return f"Nothing to prune in {place}: everything is needed, or was used in the last {days} days.{kept}"
    verb = "would be removed" if settings.dry_run else "were removed"
    unused = f"unused for {days} days or more"
    expired = f"published runs older than {settings.keep_runs} days ({len(pruning.runs):,}), and what was {unused}"
    return f"{decimal(pruning.size)} {verb} from {place}: {expired if pruning.runs else unused}.{kept}"


def _describe_runs(pruning: Pruning) -> str:
    return f"Published runs: {', '.join(pruning.runs)}"


def _describe_failures(pruning: Pruning) -> str:
    shown = "\n".join(f"  - {failure}" for failure in pruning.failures[:MAX_FAILURES_SHOWN])
    return (
        f"{len(pruning.failures):,} files or folders could not be removed.\n{shown}\n"
        "Run this command as the user who made these runs. Everything else was removed."
    )


app = new_app("flows/prune_flow.py", prune_flow.description)


@app.default
def main(*, settings: Annotated[PruneSettings, Parameter(name="*", negative=())] = PruneSettings()) -> None:  # noqa: B008
    """Prune without a Prefect server, which cannot start on a full disk."""
    console = terminal()

    def show(pruning: Pruning, total: str) -> None:
        if pruning.leftovers:
            columns = (Column(name, justify="right") for name in ("How many", "How much"))
            table = Table("What", *columns, box=None, header_style="bold", pad_edge=False)
            for row in _rows(pruning):
                table.add_row(*row)
            print_table(console, table)
        if pruning.runs:
            console.print(_describe_runs(pruning))
        console.print(total)

    prune_all(settings, show)


if __name__ == "__main__":
    run_command(app)
