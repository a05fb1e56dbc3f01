"""The report on real and generated images: a self-contained HTML page, and a digest in Markdown."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import DictLoader, Environment, StrictUndefined, select_autoescape
from markupsafe import Markup

from gan import formatting
from gan.judging.definitions import AskedClasses, Metric, Separation
from gan.judging.gate import Decision
from gan.report.comparison import RunComparison
from gan.report.exhibits import Exhibits
from gan.report.glance import Tile, make_tiles, verdict
from gan.report.markup import as_data_uri, data_uri, escape_markdown
from gan.report.rendering import tiles_png

Rows = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Report:
    """The content of a report; the templates beside this file have its form."""

    title: str
    subtitle: str
    metrics: tuple[Metric, ...]
    extractor_sha256: str
    warnings: Sequence[str]  # signs of collapse in the training
    exhibits: Exhibits
    animation: Path  # .webp
    interpolation: Path  # .png
    against: RunComparison | None
    gate: Decision
    asked_classes: AskedClasses | None
    separation: Separation
    settings: Rows
    provenance: Rows
    timings: Rows
    credit: str
    data_warnings: Sequence[str] = ()

    @property
    def verdict(self) -> str:
        """One sentence: whether the images can be told from real ones, or what is wrong with them."""
        return verdict(self._by_name, self.separation)

    @property
    def tiles(self) -> Sequence[Tile]:
        """The numbers that the report begins with."""
        return make_tiles(self._by_name, self.separation, self.gate.differences)

    @property
    def _by_name(self) -> Mapping[str, Metric]:
        return {metric.name: metric for metric in self.metrics}


def render_html(report: Report) -> str:
    """Return the page with all pictures embedded; it makes no requests."""
    names = ["page.js", "blind_test.js"] if report.exhibits.test else ["page.js"]
    return render_page("page.html.jinja", names, report=report)


def render_comparison(against: RunComparison, credit: str) -> str:
    """Return a page with only the comparison of two runs."""
    return render_page("page.comparison.html.jinja", [], against=against, credit=credit)


def render_markdown(report: Report) -> str:
    """Return the digest in Markdown, without pictures, for terminals, pull requests and the Prefect UI."""
    return _ENVIRONMENT.get_template("page.md.jinja").render(report=report)


def render_page(template: str, script_names: Sequence[str], **content: object) -> str:
    """Return a page whose Content-Security-Policy allows the named scripts only, and no requests."""
    scripts = [_SOURCES[name] for name in script_names]
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    return _ENVIRONMENT.get_template(template).render(
        styles=[Markup(_SOURCES[name]) for name in ("page.css", "blind_test.css")],
        scripts=[Markup(script) for script in scripts],
        script_sources=" ".join(f"'sha256-{digest}'" for digest in digests),
        **content,
    )


_SOURCES = {  # read at import, so that an edit during a run has no effect on it
    path.name: path.read_text(encoding="utf-8")
    for path in Path(__file__).parent.iterdir()
    if path.suffix in {".css", ".js", ".jinja"}
}
_ENVIRONMENT = Environment(
    loader=DictLoader(_SOURCES),
    autoescape=select_autoescape(("html", "html.jinja")),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {
    "number": formatting.describe_number,
    "deviation": formatting.describe_deviation,
    "change": formatting.describe_change,
    "interval": formatting.describe_interval,
    "share": formatting.describe_share,
    "seconds": formatting.describe_seconds,
    "markdown": escape_markdown,
    "uri": data_uri,
    "png": lambda content: as_data_uri(content, "png"),
    "tiles": lambda pixels, columns: as_data_uri(tiles_png(pixels, columns), "png"),
}
