"""The CSV file of a training: losses of every step, and metrics of every snapshot."""

from collections.abc import Mapping

import numpy as np

from gan.training.history import HISTORY_COLUMNS

QUALITY_COLUMNS = ("frechet_distance", "recall")
AVERAGE_QUALITY_COLUMNS = ("average_frechet_distance", "average_recall")


def history_csv(history: np.ndarray, quality: Mapping[int, np.ndarray]) -> bytes:
    """Write the history as CSV: a header, then one row for each step, from step 0.

    Args:
        history: float32, shape (steps, 3), columns as `HISTORY_COLUMNS`.
        quality: Metrics of each snapshot by its step, float (4,), columns as `QUALITY_COLUMNS` of the last weights and
            `AVERAGE_QUALITY_COLUMNS` of the averaged ones. Other steps get empty cells.

    Returns:
        UTF-8 text. Each number has the fewest digits that restore the same float32, without an exponent. A metric that
        is not finite is an empty cell; losses are always finite (`gan.training.guards`).
    """
    judged_columns = (*QUALITY_COLUMNS, *AVERAGE_QUALITY_COLUMNS)
    lines = [",".join(("step", *HISTORY_COLUMNS, *judged_columns))]
    for step, row in enumerate(history):
        judged = quality.get(step, np.full(len(judged_columns), np.nan)).astype(np.float32)
        numbers = (np.format_float_positional(x, trim="0") if np.isfinite(x) else "" for x in (*row, *judged))
        lines.append(",".join((str(step), *numbers)))
    return "".join(f"{line}\n" for line in lines).encode()
