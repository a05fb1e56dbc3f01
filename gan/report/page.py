"""The report on real and generated images: a self-contained HTML page, and a digest in Markdown."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

from jinja2 import DictLoader, Environment, StrictUndefined, select_autoescape
from markupsafe import Markup

from gan import formatting
from gan.judging.definitions import AskedClasses, Metric, Separation
from gan.judging.gate import SIGNIFICANT_ERRORS, Decision, copies_training_images, lacks_diversity
from gan.report.comparison import RunComparison
from gan.report.exhibits import Exhibits
from gan.report.markup import as_data_uri, data_uri, escape_markdown
from gan.report.rendering import tiles_png

EASY_ACCURACY, DISTINGUISHABLE_ACCURACY = 0.9, 0.75
"""Images count as easy to distinguish from real ones, or as distinguishable, from this accuracy on."""

CHANCE_MARGIN = 0.03
"""Excess over an accuracy of 0.5 that still counts as chance."""

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
        """One sentence: whether the images can be told from real ones, and the numbers that show it."""
        of = {metric.name: metric for metric in self.metrics}
        names = ("two_sample_accuracy", "frechet_distance", "recall", "near_copies")
        accuracy, distance, recall, copies = (of[name] for name in names)
        share, number = formatting.describe_share, formatting.describe_number
        clauses = [
            f"a trained network is right for {share(self.separation.accuracy)} of the images that it has not seen "
            f"(averaged weights; guessing: 50 %), a linear rule on features for {share(accuracy.average)} "
            f"(last weights: {share(accuracy.value)})",
            f"the Fréchet distance is {number(distance.value)} (averaged: {number(distance.average)}; real images: "
            f"{number(distance.floor)})",
            f"{share(recall.value)} of the real images lie among generated ones (recall; averaged: "
            f"{share(recall.average)}; real images: {share(recall.floor)})",
            f"and {share(copies.value)} are near copies of training images (test images: {share(copies.floor)})",
        ]
        for index, metric in enumerate((accuracy, distance, recall, copies)):
            if metric.value is None:
                clauses[index] = f"{metric.title} is not defined ({metric.why})"
        return (
            f"{_conclude(self._best_accuracy, of)}: {', '.join(clauses)}. "
            f"On {distance.n:,} images a side and {distance.extractor} features."
        )

    @property
    def _best_accuracy(self) -> float:
        linear = next(metric for metric in self.metrics if metric.name == "two_sample_accuracy")
        return max(self.separation.accuracy, linear.value or 0.0)


def _conclude(accuracy: float, of: Mapping[str, Metric]) -> str:
    if copies_training_images(of["near_copies"].value, of):
        return "The generator copies training images"
    if lacks_diversity(of["class_entropy"].value, of):
        return "The generator makes only a few different images"
    if accuracy >= EASY_ACCURACY:
        return "The generated images can easily be told from real ones"
    if accuracy >= DISTINGUISHABLE_ACCURACY:
        return "The generated images can be told from real ones"
    if accuracy >= 0.5 + max(CHANCE_MARGIN, SIGNIFICANT_ERRORS * 0.5 / sqrt(2 * of["near_copies"].n)):
        return "The generated images can sometimes be told from real ones"
    return "The generated images can hardly be told from real ones"


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
