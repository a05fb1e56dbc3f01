"""The templates of all pages, and the function that fills them. No TensorFlow is imported: a leaderboard needs none."""

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from jinja2 import DictLoader, Environment, StrictUndefined, pass_context, select_autoescape
from jinja2.runtime import Context
from markupsafe import Markup

from gan import formatting
from gan.report.markup import as_data_uri, data_uri, escape_markdown
from gan.report.rendering import tiles_png

COLORS, CHART = "templates.colors.css", "templates.chart.css"
STYLES = COLORS, "page.css", CHART, "blind_test.css"
"""Style sheets, in order. A change of one changes the cache keys of the stages that reach the module it is named after
(tasks/code_identity.py)."""


def render_page(template: str, script_names: Sequence[str], *, image_sources: str = "data:", **content: object) -> str:
    """Return a page whose Content-Security-Policy allows the named scripts only, and images of `image_sources`."""
    scripts = [_SOURCES[name] for name in script_names]
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    return render(
        template,
        styles=[Markup(_SOURCES[name]) for name in STYLES],
        scripts=[Markup(script) for script in scripts],
        image_sources=image_sources,
        script_sources=" ".join(f"'sha256-{digest}'" for digest in digests),
        **content,
    )


def render_svg(template: str, **content: object) -> str:
    """Return a picture with the style sheets of charts in it, since a picture has none of a page's."""
    return render(template, style=Markup(_SOURCES[COLORS] + _SOURCES[CHART]), **content)


def render(template: str, **content: object) -> str:
    """Return a filled template; in those for HTML, text is escaped."""
    return _ENVIRONMENT.get_template(template).render(**content)


@pass_context
def _keep_together(context: Context, value: object) -> object:
    """Put a no-break space between a number and its per cent sign on pages, except in scripts and styles (Markup)."""
    if type(value) is str and str(context.name).endswith(".html.jinja"):
        return re.sub(r"(?<=\d) %", "\u00a0%", value)
    return value


_SOURCES = {  # read at import, so that an edit during a run has no effect on it
    path.name: path.read_text(encoding="utf-8")
    for path in Path(__file__).parent.iterdir()
    if path.suffix in {".css", ".js", ".jinja"}
}
_ENVIRONMENT = Environment(
    loader=DictLoader(_SOURCES),
    autoescape=select_autoescape(("html", "html.jinja")),
    undefined=StrictUndefined,
    finalize=_keep_together,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {
    "number": formatting.describe_number,
    "deviation": formatting.describe_deviation,
    "share": formatting.describe_share,
    "seconds": formatting.describe_seconds,
    "markdown": escape_markdown,
    "uri": data_uri,
    "png": lambda content: as_data_uri(content, "png"),
    "tiles": lambda pixels, columns: as_data_uri(tiles_png(pixels, columns), "png"),
}
