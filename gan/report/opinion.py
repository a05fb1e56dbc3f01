"""The opinion on a run among the runs of its recipe before it: is it as good as usual?"""

from collections.abc import Sequence

from gan.formatting import describe_number, describe_share
from gan.report.glance import Opinion
from gan.runs.catalog import Entry, control_limits, earlier_comparable_runs


def opinion_of(entry: Entry, entries: Sequence[Entry]) -> Opinion:
    """Compare a run with the runs of its recipe before it.

    Args:
        entry: The run.
        entries: All runs, the oldest first.
    """
    earlier = earlier_comparable_runs(entry, entries)
    distance = control_limits(each.distance for each in earlier)
    recall = control_limits(each.recall for each in earlier)
    if entry.is_broken or entry.distance is None or entry.recall is None:
        return Opinion("Something is wrong with it: look at its report.", "bad")
    if distance is None or recall is None:
        return Opinion(
            f"Too few earlier runs of {entry.recipe} with the same settings to say what is usual.", "neutral"
        )
    figures = f"Fréchet distance {describe_number(entry.distance)}, usually {describe_number(distance.mean)}"
    if entry.distance > distance.high:
        return Opinion(f"Worse than usual: look at it. {figures}.", "bad")
    if entry.recall < recall.low:
        found, mean = describe_share(entry.recall), describe_share(recall.mean)
        return Opinion(f"Less varied than usual: look at it. Recall {found}, usually {mean}.", "bad")
    if entry.passes and entry.champion:
        return Opinion(f"Better than the champion of its time, beyond noise. {figures}.", "good")
    if entry.distance < distance.low:
        return Opinion(f"Better than usual. {figures}.", "good")
    return Opinion(f"As good as usual. {figures}.", "neutral")
