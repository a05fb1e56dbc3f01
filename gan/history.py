"""What training records of every step, and its CSV file."""

import csv
import io

import numpy as np

HISTORY_COLUMNS = ("d_loss", "d_accuracy", "g_loss")


def history_csv(history: np.ndarray) -> bytes:
    """The history as CSV: a header, then a row a step, from step 0.

    Args:
        history: float32, shape (steps, 3), columns as `HISTORY_COLUMNS`.

    Returns:
        UTF-8 text; each number in the fewest digits that give the same float32 again.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("step", *HISTORY_COLUMNS))
    writer.writerows([step, *(str(value) for value in row)] for step, row in enumerate(history))
    return text.getvalue().encode()


def read_history(content: str) -> np.ndarray:
    """The inverse of `history_csv`: float32, shape (steps, 3)."""
    rows = np.loadtxt(io.StringIO(content), delimiter=",", skiprows=1, dtype=np.float32, ndmin=2)
    return rows[:, 1:]
