"""How a report writes numbers, durations, pictures, and words that come from elsewhere."""

import base64
import html
import re
from math import isfinite
from pathlib import Path

from gan.plain_json import LARGEST_PLAIN, SETTING_DIGITS, plain_number

NOT_DEFINED = "not defined"
"""What stands in the place of a number that is null."""


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


def describe_number(value: float | None) -> str:
    """Three significant digits, thousands separated, no exponent; "not defined" for None, NaN and infinity."""
    if value is None or not isfinite(value):
        return NOT_DEFINED
    return f"{value:,.0f}" if 100 <= abs(value) < LARGEST_PLAIN else describe_setting(value, 3)


def describe_setting(value: float, digits: int = SETTING_DIGITS) -> str:
    """A number as a person would set it, such as 0.00001; see `gan.plain_json.plain_number`."""
    return plain_number(value, digits).removesuffix(".0")


def describe_deviation(value: float) -> str:
    """A standard deviation, to stand behind a mean: two digits, since over few seeds it is itself uncertain."""
    return f"± {value:,.0f}" if 10 <= value < LARGEST_PLAIN else f"± {describe_setting(value, 2)}"


def describe_mean(mean: float | None, deviation: float | None) -> str:
    """A mean over seeds with its standard deviation; without one where it is of one seed."""
    return describe_number(mean) if deviation is None else f"{describe_number(mean)} {describe_deviation(deviation)}"


def describe_change(value: float | None) -> str:
    """A number with its sign; "not defined" for None, NaN and infinity."""
    if value is None or not isfinite(value):
        return NOT_DEFINED
    return f"{'+' if value >= 0 else '−'}{describe_number(abs(value))}"


def describe_interval(low: float | None, high: float | None) -> str:
    """Both ends with their signs; "not defined" if either is."""
    ends = describe_change(low), describe_change(high)
    return NOT_DEFINED if NOT_DEFINED in ends else " to ".join(ends)


def describe_share(share: float | None) -> str:
    """A share as a percentage of three digits at most; "not defined" for None, NaN and infinity."""
    if share is None or not isfinite(share):
        return NOT_DEFINED
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 99.95 else f"{describe_setting(percent, 3)} %"


def describe_seconds(seconds: float | None) -> str:
    """A duration as people say it; "not defined" for None, NaN and infinity."""
    if seconds is None or not isfinite(seconds):
        return NOT_DEFINED
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
