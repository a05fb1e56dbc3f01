"""How a report writes numbers, durations and pictures."""

import base64
from pathlib import Path


def data_uri(path: Path) -> str:
    """A picture as an address that needs no server."""
    kind = {".png": "png", ".webp": "webp"}[path.suffix]
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def describe_number(value: float) -> str:
    """Three significant digits, thousands separated."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value else "0"


def describe_seconds(seconds: float) -> str:
    """A duration as people say it."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
