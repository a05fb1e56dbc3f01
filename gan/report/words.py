"""How a report writes numbers, durations, pictures, and words that come from elsewhere."""

import base64
import html
import re
from pathlib import Path


def as_data_uri(content: bytes, kind: str) -> str:
    """A picture as an address that needs no server.

    Args:
        content: The file.
        kind: "png" or "webp".
    """
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def data_uri(path: Path) -> str:
    """A picture's file, .png or .webp, as an address that needs no server."""
    return as_data_uri(path.read_bytes(), path.suffix.removeprefix("."))


def describe_number(value: float) -> str:
    """Three significant digits, thousands separated."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value else "0"


def describe_deviation(value: float) -> str:
    """A standard deviation, to stand behind a mean: two digits, since over few seeds it is itself uncertain."""
    return f"± {value:,.0f}" if value >= 10 else f"± {value:.2g}"


def describe_mean(mean: float, deviation: float | None) -> str:
    """A mean over seeds with its standard deviation; None: of one seed."""
    return describe_number(mean) if deviation is None else f"{describe_number(mean)} {describe_deviation(deviation)}"


def describe_change(value: float) -> str:
    """A number with its sign."""
    return f"{'+' if value >= 0 else '−'}{describe_number(abs(value))}"


def describe_share(share: float) -> str:
    """A share as a percentage of three digits at most."""
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 99.95 or percent == 0 else f"{percent:.3g} %"


def describe_seconds(seconds: float) -> str:
    """A duration as people say it."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def code_span(text: str) -> str:
    """Text that stays as it is in markdown, between more backticks than it holds anywhere."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{' '.join(text.split())}{pad}{fence}"


def escape_markdown(text: str) -> str:
    """Text that stays text in markdown, on one line of a table; addresses in it become no links."""
    one_line = " ".join(text.split())
    escaped = re.sub(r"([\\`*_{}\[\]|#!~])", r"\\\1", html.escape(one_line, quote=False))
    return re.sub(
        r":(?=//)|(?<=\w)@(?=[\w-]+\.)|(?<=www)\.", lambda found: f"&#{ord(found[0])};", escaped, flags=re.IGNORECASE
    )
