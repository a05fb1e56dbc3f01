"""The real-vs-fake report: one self-contained page for people, and its digest in markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, select_autoescape

from gan.judging import Metric
from gan.report.words import data_uri, describe_number

Rows = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Report:
    """What a report shows; the templates beside this file say how."""

    title: str
    subtitle: str
    metrics: Sequence[Metric]
    warnings: Sequence[str]
    settings: Rows
    provenance: Rows
    timings: Rows
    pictures: Mapping[str, Path]  # by name in the templates
    grids: Sequence[tuple[str, Path]]  # caption and picture of each snapshot
    credit: str = ""  # of the data

    @property
    def verdict(self) -> str:
        """The numbers that matter, in one sentence."""
        distance = next(metric for metric in self.metrics if metric.name == "frechet_distance")
        return (
            f"On {distance.extractor} features the generated images are at a Fréchet distance of "
            f"{describe_number(distance.value)} from {distance.n:,} test images, with averaged weights "
            f"{describe_number(distance.average)}; real training images are at {describe_number(distance.floor)}."
        )


def render_html(report: Report) -> str:
    """The page: every picture inside it, no request to anywhere."""
    return _HTML.render(report=report)


def render_markdown(report: Report) -> str:
    """The digest, for terminals, pull requests and the orchestrator's pages; no pictures."""
    return _MARKDOWN.render(report=report)


def _templates() -> tuple[Template, Template]:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(("html", "html.jinja")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"data_uri": data_uri, "number": describe_number}
    return environment.get_template("page.html.jinja"), environment.get_template("page.md.jinja")


_HTML, _MARKDOWN = _templates()  # read with this module, so that an edit during a run does not mix with it
