"""What no file of a published run may hold: numbers that are none, and floating-point artefacts."""

import csv
import html
import json
import re
from pathlib import Path
from typing import Any

NO_NUMBER = re.compile(r"(?<![\w.-])[-+−]?(?:nan|NaN|NAN|inf|Inf|infinity|Infinity|None|null)(?![\w-])")
EXPONENT = re.compile(r"(?<!\w)\d+(?:\.\d+)?e[-+]?\d+(?!\w)", re.IGNORECASE)
NEGATIVE_ZERO = re.compile(r"(?<![\w.,-])[-−]0(?:\.0+)?(?![\w.,:-])")
DECIMAL = re.compile(r"(?<![\w.])\d+\.\d+(?![\w.])")
MAX_DIGITS = 10
"""A float32 has up to 9 significant digits."""


def refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def check_json(text: str, where: str) -> Any:
    """Parse strictly; every number is short. An exponent is a number of JSON's own."""
    content = json.loads(text, parse_constant=refuse)
    check_digits(re.sub(r'"(?:[^"\\]|\\.)*"', '""', text), where)
    return content


def check_numbers(text: str, where: str) -> None:
    for found in EXPONENT.finditer(text):
        raise AssertionError(f"{where}: {text[max(0, found.start() - 60) : found.end() + 20]!r}")
    check_digits(text, where)


def check_digits(text: str, where: str) -> None:
    for found in NEGATIVE_ZERO.finditer(text):
        raise AssertionError(f"{where}: {text[max(0, found.start() - 60) : found.end() + 20]!r}")
    for digits in DECIMAL.findall(text):
        assert len(digits.replace(".", "").strip("0")) <= MAX_DIGITS, f"{where}: {digits}"


def check_csv(text: str, where: str) -> None:
    for row in csv.reader(text.splitlines()):
        for cell in row:
            assert not NO_NUMBER.fullmatch(cell), f"{where}: {row}"
    check_numbers(text, where)


def check_words(text: str, where: str) -> None:
    """A page, a digest, or what a terminal shows: without pictures, scripts, styles and coordinates."""
    text = re.sub(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]*", "", text)
    text = re.sub(r"<(script|style)\b.*?</\1>|<(?:path|use|g|rect|clipPath|defs)\b[^>]*>", "", text, flags=re.DOTALL)
    text = re.sub(r'style="[^"]*"|data-(?:sheet|key)="[^"]*"|transform="[^"]*"|content="default-src[^>]*', "", text)
    text = html.unescape(text)
    for found in NO_NUMBER.finditer(text):
        raise AssertionError(f"{where}: {text[max(0, found.start() - 60) : found.end() + 20]!r}")
    check_numbers(text, where)


def check_folder(folder: Path) -> None:
    """Walk all files."""
    for path in sorted(folder.rglob("*")):
        where = str(path.relative_to(folder))
        if path.suffix in {".json", ".jsonl"}:
            for text in [path.read_text("utf-8")] if path.suffix == ".json" else path.read_text("utf-8").splitlines():
                check_json(text, where)
        elif path.suffix == ".csv":
            check_csv(path.read_text("utf-8"), where)
        elif path.suffix in {".html", ".md"}:
            check_words(path.read_text("utf-8"), where)
