"""The front page of an output folder: what ran, whether it is better, whether anything is wrong.

It is made from the published runs, the history of the champion, the sweeps and the comparisons that are there. The page
is written again as a whole after a run is published, removed or promoted, after a sweep and after a comparison.
"""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from gan.errors import describe_error
from gan.formatting import describe_number, describe_share
from gan.report.control_chart import HEIGHT, MAX_IN_CHART, WIDTH, Chart, control_chart
from gan.report.glance import TONES, Opinion, Tone
from gan.report.leaderboard_files import PAGE as LEADERBOARD
from gan.report.opinion import opinion_of
from gan.report.templates import render_page
from gan.report.usual import MAX_USUAL
from gan.runs.catalog import Entry, read_catalog, read_entry
from gan.runs.champion import Change, champion_stack, read_history
from gan.runs.sweeps import SweepSummary, read_summary
from gan.storage.files import atomic_path
from gan.storage.folders import files_in
from gan.storage.locks import IN_USE, exclusive_lock

FRONT_PAGE, COMPARISONS = "index.html", "comparisons"
MIN_IN_CHART = 3
COMPARISON_PAGE = re.compile(r"[A-Za-z0-9][\w.-]*\.html", re.ASCII)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trend:
    """The runs of one recipe that can be compared, in time."""

    recipe: str
    described: str
    runs: Sequence[Entry]
    charts: Sequence[Chart]


@dataclass(frozen=True)
class FrontPage:
    """The content of the page."""

    entries: Sequence[Entry]  # the oldest first
    last: Entry | None
    opinion: Opinion | None  # of the last run
    champion: Change | None  # the promotion of the present champion
    champion_entry: Entry | None  # None if the champion cannot be read
    champion_folder: str  # of its files, relative to the output folder
    trends: Sequence[Trend]
    sweeps: Mapping[str, SweepSummary | None]  # by folder below sweeps/, the newest first
    comparisons: Sequence[str]  # pages below comparisons/, without their suffix, the newest first
    width: int = WIDTH
    height: int = HEIGHT
    max_usual: int = MAX_USUAL
    max_in_chart: int = MAX_IN_CHART

    @property
    def names_data(self) -> bool:
        """Whether runs are of several data sets, so that each needs the name of its own."""
        return len({entry.dataset for entry in (*self.entries, self.champion_entry) if entry}) > 1

    @property
    def badge_tone(self) -> Tone:
        """The tone of the badge of the last run, the same as in its report."""
        return TONES.get(self.last.badge, "neutral") if self.last else "neutral"


def write_front_page(root: Path) -> FrontPage:
    """Write `index.html` in an output folder, whole or not at all; return its content."""
    # The lock makes sure that the process that has read last writes last.
    with exclusive_lock(root / IN_USE / "index.lock"):
        page, sources = collect(root), "'self' file: data:"
        text = render_page("front_page.html.jinja", ["front_page.js"], image_sources=sources, page=page)
        with atomic_path(root / FRONT_PAGE) as partial:
            partial.write_text(text, encoding="utf-8")
    return page


def refresh_front_page(root: Path) -> FrontPage | None:
    """Write the page, or log why that fails: the work that was done before must not fail for it. Return its content.

    Returns:
        None if the content could not be read.
    """
    try:
        return write_front_page(root)
    except Exception as error:  # whatever is wrong with the folders of other runs
        log.warning("%s could not be written (%s)", root / FRONT_PAGE, describe_error(error))
    try:
        return collect(root)  # alerts need it too, also on a full disk
    except Exception as error:
        log.warning("The runs in %s cannot be read (%s): alerts cannot judge the new one.", root, describe_error(error))
        return None


def collect(root: Path) -> FrontPage:
    """Read what the page shows from the published runs and the history of the champion."""
    entries = read_catalog(root)
    history = read_history(root)
    champions = champion_stack(history)
    champion = champions[-1] if champions else None
    last = entries[-1] if entries else None
    champion_entry, champion_folder = _find_champion(root, champion, entries)
    return FrontPage(
        entries=entries,
        last=last,
        opinion=opinion_of(last, entries) if last else None,
        champion=champion,
        champion_entry=champion_entry,
        champion_folder=champion_folder,
        trends=_trends(entries, frozenset(change.identity for change in history if change.action != "rolled back")),
        sweeps={
            path.parent.name: read_summary(path.parent)
            for path in _newest_first((root / "sweeps").glob(f"*/{LEADERBOARD}"))
        },
        comparisons=[
            path.stem for path in _newest_first(files_in(root / COMPARISONS)) if COMPARISON_PAGE.fullmatch(path.name)
        ],
    )


def _find_champion(root: Path, champion: Change | None, entries: Sequence[Entry]) -> tuple[Entry | None, str]:
    """Return the champion and its folder: in runs/, else its copy, if it is gone or another run has its name now."""
    if champion is None:
        return None, ""
    for entry in entries:
        if entry.identity == champion.identity:
            return entry, f"runs/{entry.name}"
    copy = read_entry(root / champion.folder)
    is_right = copy is not None and copy.generator == champion.generator
    return replace(copy, name=champion.run) if copy and is_right else None, champion.folder


def _newest_first(paths: Iterable[Path]) -> list[Path]:
    """Sort files by the time of their last change; leave out those that are gone or cannot be read."""
    found = []
    for path in paths:
        with suppress(OSError):
            found.append((path.stat().st_mtime, path))
    return [path for _, path in sorted(found, reverse=True)]


def _trends(entries: Sequence[Entry], champions: Set[tuple[str, str | None]]) -> list[Trend]:
    """Group comparable runs, and return the charts of each group with at least MIN_IN_CHART runs.

    The group with the newest run comes first.
    """
    groups: dict[tuple[str, int, str, str], list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.comparison_key, []).append(entry)
    ordered = sorted(groups.items(), key=lambda item: item[1][-1].published, reverse=True)
    trends = [
        Trend(
            recipe=recipe, described=f"{steps:,} steps; {judged_by}", runs=runs, charts=_control_charts(runs, champions)
        )
        for (recipe, steps, _, judged_by), runs in ordered
        if len(runs) >= MIN_IN_CHART
    ]
    headings = Counter((trend.recipe, trend.described) for trend in trends)
    return [
        trend
        if headings[trend.recipe, trend.described] == 1
        else replace(trend, described=f"{trend.described}; other settings as in {trend.runs[-1].name}")
        for trend in trends
    ]


def _control_charts(runs: Sequence[Entry], champions: Set[tuple[str, str | None]]) -> list[Chart]:
    """Return the chart of the Fréchet distance, and that of recall if it measures variety in any of the runs."""
    distance = control_chart(
        "Fréchet distance", runs, champions, lambda run: run.distance, describe_number, low_is_good=True
    )
    recall = control_chart("Recall", runs, champions, lambda run: run.variety, describe_share, low_is_good=False)
    return [distance, *([recall] if recall.points else [])]
