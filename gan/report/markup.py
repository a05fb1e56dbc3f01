"""Pictures and foreign text in markdown and HTML."""

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
