"""Pictures and untrusted text in Markdown and HTML."""

import base64
import html
import re
from pathlib import Path


def as_data_uri(content: bytes, image_format: str) -> str:
    """Return a picture, in the format "png", "webp" or "svg+xml", as a data URI."""
    return f"data:image/{image_format};base64,{base64.b64encode(content).decode()}"


def data_uri(path: Path) -> str:
    """Return the picture in a .png or .webp file as a data URI."""
    return as_data_uri(path.read_bytes(), path.suffix.removeprefix("."))


def code_span(text: str) -> str:
    """Return a Markdown code span; its fence has more backticks than any sequence of them in the text."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{' '.join(text.split())}{pad}{fence}"


def escape_markdown(text: str) -> str:
    """Escape text for one line of Markdown, also in a table; addresses in it do not become links."""
    one_line = " ".join(text.split())
    escaped = re.sub(r"([\\`*_{}\[\]|#!~])", r"\\\1", html.escape(one_line, quote=False))
    return re.sub(
        r":(?=//)|(?<=\w)@(?=[\w-]+\.)|(?<=www)\.", lambda found: f"&#{ord(found[0])};", escaped, flags=re.IGNORECASE
    )
