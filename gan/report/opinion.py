"""The opinion on a run among the runs of its recipe before it: is it as good as usual?"""

from collections.abc import Sequence

from gan.formatting import describe_number, describe_share
from gan.judging.faults import FAR_FROM_REAL
from gan.report.glance import WORSE, Opinion, Tone
from gan.report.usual import control_limits, earlier_comparable_runs
from gan.runs.catalog import Entry


def opinion_of(entry: Entry, entries: Sequence[Entry]) -> Opinion:
    """Compare a run with the runs of its recipe before it.

    Args:
        entry: The run.
        entries: All runs, the oldest first.
    """
    earlier = earlier_comparable_runs(entry, entries)
    ordinary = [each for each in earlier if each.is_ordinary]
    distance = control_limits(each.distance for each in ordinary)
    recall = control_limits(each.variety for each in ordinary)
    if entry.is_broken or entry.distance is None or entry.recall is None:
        return Opinion(f"Something is wrong with it. {entry.main_fault or 'Look at its report.'}", "bad")
    is_far = entry.badge == FAR_FROM_REAL
    fault = f"{entry.main_fault} " if is_far and entry.main_fault else ""
    figures = "" if "Fréchet distance" in fault else f"Fréchet distance {describe_number(entry.distance)}"
    if distance is not None:
        figures += f"{', usually' if figures else 'Usually'} {describe_number(distance.median)}"
    figures = f"{figures}." if figures else ""
    if distance is not None and entry.distance > distance.high:
        return Opinion(f"Worse than usual: look at it. {fault}{figures}", "bad")
    if recall is not None and entry.recall < recall.low:  # a doubtful recall is too high, so it proves even more
        found, usually = describe_share(entry.recall), describe_share(recall.median)
        return Opinion(f"Less varied than usual: look at it. {fault}Recall {found}, usually {usually}.", "bad")
    if is_far and earlier and not earlier[-1].is_ordinary:  # an alert every night helps nobody
        return Opinion(
            f"Its images are far from real or leave out a class, like those of the run before it. {figures}", "neutral"
        )
    if is_far:
        tone: Tone = "neutral" if entry.on_few_images else "bad"  # few images are a test of the pipeline
        fault = fault or "Its images are far from real or leave out a class. "
        return Opinion(f"{entry.badge}. {fault}{figures}".rstrip(), tone)
    if entry.passes and entry.champion:
        return Opinion(f"Better than the champion of its time, beyond noise. {figures}", "good")
    if distance is None:
        few = f"Too few earlier runs of {entry.recipe} with the same settings to say what is usual."
        worse = f" Worse than the champion, {entry.champion}." if entry.badge == WORSE and entry.champion else ""
        return Opinion(f"{few}{worse} {figures}", "neutral")
    if entry.distance < distance.low:
        return Opinion(f"Better than usual. {figures}", "good")
    return Opinion(f"As good as usual. {figures}", "neutral")
