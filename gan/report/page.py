"""The report on real and generated images: a self-contained HTML page, and a digest in Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

from gan.formatting import describe_number
from gan.judging.class_shares import ClassShare
from gan.judging.definitions import AskedClasses, Metric, Separation
from gan.judging.gate import Decision
from gan.report.comparison import RunComparison
from gan.report.exhibits import Exhibits
from gan.report.glance import Opinion, Tile, badge, make_tiles, verdict
from gan.report.templates import render, render_page

Rows = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Report:
    """The content of a report; the templates beside this file have its form."""

    title: str
    run_name: str
    subtitle: str
    metrics: tuple[Metric, ...]
    class_shares: tuple[ClassShare, ...]
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
        return verdict(self._by_name, self.class_shares, self.separation)

    @property
    def badge(self) -> Opinion:
        """What the run is worth, in two or three words."""
        return badge(self._by_name, self.class_shares, self.warnings, self.gate)

    @property
    def tiles(self) -> Sequence[Tile]:
        """The numbers that the report begins with."""
        return make_tiles(self._by_name, self.separation, self.gate.differences)

    @property
    def num_test(self) -> int:
        """Number of images in the test split."""
        return self._by_name["near_copies"].floor_n

    @property
    def share_noise(self) -> str:
        """95 % of the differences between the shares of two sets of n images are smaller, if each share is 50 %.

        Other shares differ by less. Images count as independent.
        """
        return f"{describe_number(100 * 1.96 * sqrt(2 * 0.25 / self.metrics[0].n), 2)} percentage points"

    @property
    def _by_name(self) -> Mapping[str, Metric]:
        return {metric.name: metric for metric in self.metrics}


def render_html(report: Report) -> str:
    """Return the page with all pictures embedded; it makes no requests."""
    return render_page("page.html.jinja", ["page.js", "blind_test.js"], report=report)


def render_comparison(against: RunComparison, credit: str) -> str:
    """Return a page with only the comparison of two runs."""
    return render_page("page.comparison.html.jinja", [], against=against, credit=credit)


def render_markdown(report: Report) -> str:
    """Return the digest in Markdown, without pictures, for terminals, pull requests and the Prefect UI."""
    return render("page.md.jinja", report=report)
