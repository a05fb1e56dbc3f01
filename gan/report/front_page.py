"""The front page of an output folder: what ran, whether it is better, whether anything is wrong.

It is made from the published runs, the history of the champion, the sweeps and the comparisons that are there. The page
is written again as a whole after a run is published, removed or promoted, after a sweep and after a comparison.
"""

import logging
import re
from collections.abc import Callable, Iterable, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gan.errors import describe_error
from gan.formatting import describe_number, describe_share
from gan.report.glance import Opinion
from gan.report.templates import render_page
from gan.runs.catalog import MIN_USUAL, ControlLimits, Entry, control_limits, earlier_comparable_runs, read_catalog
from gan.runs.champion import Change, champion_stack, read_history
from gan.storage.files import atomic_path
from gan.storage.folders import files_in
from gan.storage.locks import IN_USE, exclusive_lock

FRONT_PAGE, COMPARISONS = "index.html", "comparisons"
COMPARISON_PAGE = re.compile(r"[A-Za-z0-9][\w.-]*\.html", re.ASCII)
MAX_IN_CHART = 90
WIDTH, HEIGHT, MARGIN = 720, 150, 8  # of a chart, in units of its viewBox

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Point:
    """A run on a control chart."""

    entry: Entry
    x: float
    y: float
    value: str
    is_unusual: bool
    became_champion: bool
    new_code: bool  # another commit than the run before


@dataclass(frozen=True)
class Chart:
    """A control chart of one number over the runs of a recipe, the oldest first, in units of the viewBox."""

    title: str
    points: Sequence[Point]
    band: str  # points of the polygon of usual values; empty if there are too few runs
    low: str
    high: str


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

    entries: Sequence[Entry]  # the newest first
    last: Entry | None
    opinion: Opinion | None  # of the last run
    champion: Change | None  # the promotion of the present champion
    champion_entry: Entry | None  # None if the champion's run is not in runs/ any more
    trends: Sequence[Trend]
    sweeps: Sequence[str]  # folders below sweeps/, the newest first
    comparisons: Sequence[str]  # pages below comparisons/, without their suffix, the newest first
    width: int = WIDTH
    height: int = HEIGHT


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
    return FrontPage(
        entries=entries[::-1],
        last=last,
        opinion=opinion_of(last, entries) if last else None,
        champion=champion,
        champion_entry=_entry_of(champion, entries) if champion else None,
        trends=_trends(entries, frozenset(change.identity for change in history if change.action != "rolled back")),
        sweeps=[path.parent.name for path in _newest_first((root / "sweeps").glob("*/leaderboard.html"))],
        comparisons=[
            path.stem for path in _newest_first(files_in(root / COMPARISONS)) if COMPARISON_PAGE.fullmatch(path.name)
        ],
    )


def _entry_of(champion: Change, entries: Sequence[Entry]) -> Entry | None:
    """Return the champion's run; None if it is gone, or if another run was published under its name since."""
    return next((entry for entry in entries if entry.identity == champion.identity), None)


def _newest_first(paths: Iterable[Path]) -> list[Path]:
    """Sort files by the time of their last change; leave out those that are gone or cannot be read."""
    found = []
    for path in paths:
        with suppress(OSError):
            found.append((path.stat().st_mtime, path))
    return [path for _, path in sorted(found, reverse=True)]


def opinion_of(entry: Entry, entries: Sequence[Entry]) -> Opinion:
    """Compare a run with the runs of its recipe before it.

    Args:
        entry: The run.
        entries: All runs, the oldest first.
    """
    earlier = earlier_comparable_runs(entry, entries)
    distance = control_limits(each.distance for each in earlier)
    recall = control_limits(each.recall for each in earlier)
    if entry.is_broken or entry.distance is None or entry.recall is None:
        return Opinion("Something is wrong with it: look at its report.", "bad")
    if distance is None or recall is None:
        return Opinion(
            f"Too few earlier runs of {entry.recipe} with the same settings to say what is usual.", "neutral"
        )
    figures = f"Fréchet distance {describe_number(entry.distance)}, usually {describe_number(distance.mean)}"
    if entry.distance > distance.high:
        return Opinion(f"Worse than usual: look at it. {figures}.", "bad")
    if entry.recall < recall.low:
        found, mean = describe_share(entry.recall), describe_share(recall.mean)
        return Opinion(f"Less varied than usual: look at it. Recall {found}, usually {mean}.", "bad")
    if entry.passes and entry.champion:
        return Opinion(f"Better than the champion of its time, beyond noise. {figures}.", "good")
    if entry.distance < distance.low:
        return Opinion(f"Better than usual. {figures}.", "good")
    return Opinion(f"As good as usual. {figures}.", "neutral")


def _trends(entries: Sequence[Entry], champions: Set[tuple[str, str | None]]) -> list[Trend]:
    """Group comparable runs, and return the charts of each group with at least MIN_USUAL runs.

    The group with the newest run comes first.
    """
    groups: dict[tuple[str, int, str, str], list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.comparison_key, []).append(entry)
    ordered = sorted(groups.items(), key=lambda item: item[1][-1].published, reverse=True)
    return [
        Trend(
            recipe=recipe,
            described=f"{steps:,} steps; {judged_by}",
            runs=runs,
            charts=[
                _chart("Fréchet distance", runs, champions, lambda entry: entry.distance, describe_number),
                _chart("Recall", runs, champions, lambda entry: entry.recall, describe_share),
            ],
        )
        for (recipe, steps, _, judged_by), runs in ordered
        if len(runs) >= MIN_USUAL
    ]


def _chart(
    title: str,
    runs: Sequence[Entry],
    champions: Set[tuple[str, str | None]],
    value_of: Callable[[Entry], float | None],
    describe: Callable[[float | None], str],
) -> Chart:
    first = max(0, len(runs) - MAX_IN_CHART)
    shown = runs[first:]
    numbers = [None if each.is_broken else value_of(each) for each in runs]
    limits = [control_limits(numbers[:place]) for place in range(first, len(runs))]
    found = [(place, entry, value) for place, entry in enumerate(shown) if (value := value_of(entry)) is not None]
    ends = [end for limit in limits if limit for end in (limit.low, limit.high)]
    low, high = _range([*(value for _, _, value in found), *ends])

    def place_x(place: int) -> float:
        return round(MARGIN + (WIDTH - 2 * MARGIN) * place / max(1, len(shown) - 1), 1)

    def place_y(value: float) -> float:
        inside = min(high, max(low, value))
        return round(HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (inside - low) / (high - low), 1)

    points = [
        Point(
            entry=entry,
            x=place_x(place),
            y=place_y(value),
            value=describe(value),
            is_unusual=_is_unusual(value, limits[place]),
            became_champion=entry.identity in champions,
            new_code=place > 0 and entry.commit != shown[place - 1].commit,
        )
        for place, entry, value in found
    ]
    known = [(place_x(place), limit) for place, limit in enumerate(limits) if limit]
    outline = [(x, limit.low) for x, limit in known] + [(x, limit.high) for x, limit in reversed(known)]
    band = " ".join(f"{x},{place_y(value)}" for x, value in outline)
    return Chart(title, points, band, low=describe(low), high=describe(high))


def _is_unusual(value: float, limits: ControlLimits | None) -> bool:
    return limits is not None and not limits.low <= value <= limits.high


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of an axis: 0, or a little below the least value, and a little above the largest one."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return max(0.0, low - room), high + room
