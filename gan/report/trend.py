"""The trend of the published runs: in Markdown for the Prefect UI, and as the plain text of a digest."""

from collections.abc import Callable, Sequence
from datetime import datetime

from gan.formatting import describe_number, describe_share, list_names
from gan.report.control_chart import HEIGHT, WIDTH, Chart
from gan.report.front_page import FrontPage, Trend
from gan.report.markup import as_data_uri, escape_markdown
from gan.report.opinion import opinion_of
from gan.report.templates import render_svg
from gan.runs.catalog import Entry

MAX_ROWS, MAX_TRENDS, MAX_BARS = 14, 3, 30
BARS = "▁▂▃▄▅▆▇█"


def trend_markdown(page: FrontPage, address_of: Callable[[str], str]) -> str:
    """Return the champion, the control charts and the newest runs; `trend_line` belongs above it.

    Args:
        page: The content of the front page.
        address_of: Returns the address of a file, given its path in the output folder.
    """
    if page.last is None:
        return "There are no published runs yet."
    rows = [
        f"| [{escape_markdown(entry.name)}]({address_of(f'runs/{entry.name}/report.html')}) "
        f"| {entry.published:%Y-%m-%d} | {describe_number(entry.distance)} | {_recall(entry)} "
        f"| {escape_markdown(entry.badge)} |"
        for entry in reversed(page.entries[-MAX_ROWS:])
    ]
    parts = [
        escape_markdown(describe_champion(page)),
        f"**[All runs]({address_of('index.html')})**",
        *(_trend_of_recipe(trend) for trend in page.trends[:MAX_TRENDS]),
        "\n".join(["| Run | Published | Fréchet distance | Recall | |", "|---|---|---:|---:|---|", *rows]),
    ]
    return "\n\n".join(parts)


def _recall(entry: Entry) -> str:
    """Return recall as Markdown, struck out where it does not measure variety."""
    return f"~~{describe_share(entry.recall)}~~" if entry.is_recall_doubtful else describe_share(entry.recall)


def trend_line(page: FrontPage) -> str:
    """Return the opinion on the last run as one line of Markdown, after the chart of its Fréchet distances if any."""
    if page.last is None or page.opinion is None:
        return ""
    charts = [_image(trend.charts[0], trend.recipe) for trend in page.trends if page.last in trend.runs]
    return " ".join([*charts, escape_markdown(f"{page.last.name}: {page.opinion.words}")])


def describe_champion(page: FrontPage) -> str:
    """Return who is the champion, since when, and its Fréchet distance, as plain text."""
    if page.champion is None:
        return "There is no champion yet."
    entry = page.champion_entry
    distance = f", Fréchet distance {describe_number(entry.distance)}" if entry else ""
    return f"Champion: {page.champion.run} since {page.champion.at[:10]}{distance}."


def digest_of(page: FrontPage, begin: datetime, failed: Sequence[str]) -> tuple[str, str]:
    """Return a headline and one line of plain text about the runs since a time.

    The line names the runs that need a look and the champion, and draws the Fréchet distances of the recipes with the
    newest runs as block characters.

    Args:
        page: The content of the front page.
        begin: Runs that were published before are not counted.
        failed: Names of the runs that failed since then, the newest first.
    """
    recent = [entry for entry in page.entries if entry.published >= begin]
    bad = [entry.name for entry in reversed(recent) if opinion_of(entry, page.entries).tone == "bad"]
    runs, needs = "run" if len(recent) == 1 else "runs", "needs" if len(bad) == 1 else "need"
    headline = f"{len(recent)} {runs} published, {len(bad)} {needs} a look, {len(failed)} failed"
    parts = [f"Look at {list_names(bad)}."] if bad else []
    parts += [f"Failed: {list_names(failed)}."] if failed else []
    parts.append(describe_champion(page))
    for trend in page.trends[:MAX_TRENDS]:
        values = [entry.distance for entry in trend.runs if entry.published >= begin and entry.distance is not None]
        if values := values[-MAX_BARS:]:
            bars = _bars(values)
            least, most, last = (describe_number(value) for value in (min(values), max(values), values[-1]))
            parts.append(f"{trend.recipe}: Fréchet distance {bars} ({least} to {most}), last {last}.")
    return headline, " ".join(parts)


def _bars(values: Sequence[float]) -> str:
    """Return a bar of block characters for each value; the lowest bar is the least value, not zero."""
    low, high = min(values), max(values)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((value - low) * scale)] for value in values)


def _trend_of_recipe(trend: Trend) -> str:
    pictures = "\n\n".join(
        f"{chart.title}: {chart.low} to {chart.high}\n\n{_image(chart, trend.recipe)}" for chart in trend.charts
    )
    return f"## {escape_markdown(trend.recipe)}\n\n{escape_markdown(trend.described)}\n\n{pictures}"


def _image(chart: Chart, recipe: str) -> str:
    content = {"chart": chart, "recipe": recipe, "width": WIDTH, "height": HEIGHT}
    svg = render_svg("front_page.picture.html.jinja", **content)
    return f"![{chart.title}]({as_data_uri(svg.strip().encode(), 'svg+xml')})"
