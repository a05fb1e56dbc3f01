"""The real-vs-fake report: one self-contained page for people, and its digest in markdown."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

from jinja2 import DictLoader, Environment, StrictUndefined, select_autoescape
from markupsafe import Markup

from gan.formatting import (
    describe_change,
    describe_deviation,
    describe_interval,
    describe_number,
    describe_seconds,
    describe_share,
)
from gan.judging.definitions import AskedClasses, Metric
from gan.judging.gate import SIGNIFICANT_ERRORS, Decision, copies_training_images, lacks_diversity
from gan.report.comparison import RunComparison
from gan.report.exhibits import Exhibits, tiles
from gan.report.markup import as_data_uri, data_uri, escape_markdown

TOLD_APART, HARDLY = 0.75, 0.03

Rows = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Report:
    """What a report shows; the templates beside this file say how."""

    title: str
    subtitle: str
    metrics: Sequence[Metric]
    extractor_sha256: str
    warnings: Sequence[str]  # of collapse
    exhibits: Exhibits
    animation: Path  # .webp
    interpolation: Path  # .png
    against: RunComparison | None
    gate: Decision
    asked_classes: AskedClasses | None
    settings: Rows
    provenance: Rows
    timings: Rows
    credit: str
    data_warnings: Sequence[str] = ()

    @property
    def verdict(self) -> str:
        """Whether the images can be told from real ones, in one sentence with the numbers that carry it."""
        of = {metric.name: metric for metric in self.metrics}
        told, distance, recall = of["two_sample_accuracy"], of["frechet_distance"], of["recall"]
        share, number = describe_share, describe_number
        copies = of["near_copies"]
        clauses = [
            f"a classifier is right for {share(told.value)} of the images that it has not seen (averaged weights: "
            f"{share(told.average)}; guessing: 50 %)",
            f"the Fréchet distance is {number(distance.value)} (averaged: {number(distance.average)}; real images: "
            f"{number(distance.floor)})",
            f"{share(recall.value)} of the real images lie among generated ones (recall; averaged: "
            f"{share(recall.average)}; real images: {share(recall.floor)})",
            f"and {share(copies.value)} are near copies of training images (test images: {share(copies.floor)})",
        ]
        for index, metric in enumerate((told, distance, recall, copies)):
            if metric.value is None:
                clauses[index] = f"{metric.title} is not defined ({metric.why})"
        return (
            f"{_lead(told.value, of)}: {', '.join(clauses)}. On {distance.n:,} images a side and {distance.extractor} "
            "features."
        )


def _lead(accuracy: float | None, of: Mapping[str, Metric]) -> str:
    if copies_training_images(of["near_copies"].value, of):
        return "The generator copies training images"
    if lacks_diversity(of["class_entropy"].value, of):
        return "The generator makes only a few kinds of images"
    if accuracy is None:
        return "It is not known whether the generated images can be told from real ones"
    if accuracy >= TOLD_APART:
        return "The generated images can be told from real ones"
    if accuracy >= 0.5 + max(HARDLY, SIGNIFICANT_ERRORS * 0.5 / sqrt(2 * of["near_copies"].n)):
        return "The generated images can sometimes be told from real ones"
    return "The generated images can hardly be told from real ones"


def render_html(report: Report) -> str:
    """The page: every picture inside it, no request to anywhere."""
    names = ["page.js", "blind_test.js"] if report.exhibits.test else ["page.js"]
    return render_page("page.html.jinja", names, report=report)


def render_comparison(against: RunComparison, credit: str) -> str:
    """A page with nothing but the comparison of two runs."""
    return render_page("page.comparison.html.jinja", [], against=against, credit=credit)


def render_markdown(report: Report) -> str:
    """The digest, for terminals, pull requests and the orchestrator's pages; no pictures."""
    return _ENVIRONMENT.get_template("page.md.jinja").render(report=report)


def render_page(template: str, names: Sequence[str], **content: object) -> str:
    """A page may run the scripts beside this file and nothing else, and ask no one for anything."""
    scripts = [_SOURCES[name] for name in names]
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    return _ENVIRONMENT.get_template(template).render(
        styles=[Markup(_SOURCES[name]) for name in ("page.css", "blind_test.css")],
        scripts=[Markup(script) for script in scripts],
        script_sources=" ".join(f"'sha256-{digest}'" for digest in digests),
        **content,
    )


def _environment() -> Environment:
    environment = Environment(
        loader=DictLoader(_SOURCES),
        autoescape=select_autoescape(("html", "html.jinja")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": describe_number,
        "deviation": describe_deviation,
        "change": describe_change,
        "interval": describe_interval,
        "share": describe_share,
        "seconds": describe_seconds,
        "markdown": escape_markdown,
        "uri": data_uri,
        "png": lambda content: as_data_uri(content, "png"),
        "tiles": lambda pixels, columns: as_data_uri(tiles(pixels, columns), "png"),
    }
    return environment


_SOURCES = {  # read with this module, so that an edit during a run does not mix with it
    path.name: path.read_text(encoding="utf-8")
    for path in Path(__file__).parent.iterdir()
    if path.suffix in {".css", ".js", ".jinja"}
}
_ENVIRONMENT = _environment()
