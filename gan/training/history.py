"""The values that training records at every step, and their CSV file."""

import csv
import io
from collections.abc import Mapping

import numpy as np

HISTORY_COLUMNS = ("d_loss", "d_accuracy", "g_loss")
QUALITY_COLUMNS = ("frechet_distance", "recall")


def history_csv(history: np.ndarray, quality: Mapping[int, np.ndarray] | None = None) -> bytes:
    """Write the history as CSV: a header, then one row for each step, from step 0.

    Args:
        history: float32, shape (steps, 3), columns as `HISTORY_COLUMNS`.
        quality: Metrics of each snapshot by its step, float (2,), columns as `QUALITY_COLUMNS`. Other steps get empty
            cells. None omits these columns.

    Returns:
        UTF-8 text. Each number has the fewest digits that restore the same float32, without an exponent. A metric that
        is not finite is an empty cell; losses are always finite (`gan.training.guards`).
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = HISTORY_COLUMNS if quality is None else (*HISTORY_COLUMNS, *QUALITY_COLUMNS)
    writer.writerow(("step", *columns))
    unjudged = ("",) * (len(columns) - len(HISTORY_COLUMNS))
    for step, row in enumerate(history):
        judged = unjudged if quality is None or step not in quality else quality[step].astype(np.float32)
        writer.writerow([step, *map(_cell, (*row, *judged))])
    return text.getvalue().encode()


def _cell(value: np.float32 | str) -> str:
    if isinstance(value, str) or not np.isfinite(value):
        return ""
    return np.format_float_positional(value, trim="0")


def read_history(content: str) -> np.ndarray:
    """Read what `history_csv` wrote; return float32, shape (steps, 3)."""
    columns = range(1, 1 + len(HISTORY_COLUMNS))
    return np.loadtxt(io.StringIO(content), delimiter=",", skiprows=1, dtype=np.float32, ndmin=2, usecols=columns)
