"""A look at the labels of a data set: what `gan.data.inspection` refuses and warns of."""

from collections.abc import Sequence
from math import log, sqrt

import numpy as np

from gan.data.catalog import FILE_NAMES, Split
from gan.errors import DataError

MIN_CLASSES, MAX_CLASSES = 2, 100

FEW_IMAGES = 20
"""Training images of a class; with fewer a generator can do little but copy them."""

MAX_SHARE_GAP, SHARE_CHANCE = 0.1, 1e-4
"""Total variation distance between class shares of the splits, and how rarely chance alone may give what is shown."""

MAX_NAMES = 5
"""Classes that a sentence names before it counts the rest."""


def refuse_labels(train_labels: np.ndarray, test_labels: np.ndarray, class_names: Sequence[str]) -> None:
    """Refuse labels that no class names belong to, or that leave nothing to tell apart.

    Args:
        train_labels: uint8, shape (n,).
        test_labels: uint8, shape (m,).
        class_names: Names by label; empty if they are not known.

    Raises:
        DataError: Says which labels there are, which were expected, and what to do.
    """
    limit = len(class_names) or MAX_CLASSES
    known = f"{limit} class names" if class_names else f"at most {limit} classes"
    labels_by_split: tuple[tuple[Split, np.ndarray], ...] = (("train", train_labels), ("test", test_labels))
    for split, labels in labels_by_split:
        name, low, high = FILE_NAMES[split, "labels"], int(labels.min()), int(labels.max())
        if high < limit:
            continue
        raise DataError(
            f"{name} holds label {high}; expected 0 to {limit - 1}, for {known}. Its labels are {low} to {high}.\n"
            f"{_label_advice(low, high, limit)}"
        )
    present = np.unique(train_labels)
    if len(present) < MIN_CLASSES:
        raise DataError(
            f"The training split has no label but {present[0]}; expected {MIN_CLASSES} to {MAX_CLASSES} classes, from "
            "0 on.\nThe features that images are compared by are those of a classifier, which needs two classes. "
            "Give the images of each class a label of its own."
        )


def _label_advice(low: int, high: int, limit: int) -> str:
    if low >= 1 and high - low < limit:
        return (
            f"Labels must start at 0; these start at {low}. Subtract {low} from all labels, in both splits if both do."
        )
    return "Number the classes from 0 on without gaps, in both splits, and give class-names.txt one line for each."


def find_label_warnings(
    train_labels: np.ndarray, test_labels: np.ndarray, class_names: Sequence[str]
) -> tuple[str, ...]:
    """Find classes without images or with few, and splits of different class shares.

    Args:
        train_labels: uint8, shape (n,), indices into `class_names`.
        test_labels: uint8, shape (m,), indices into `class_names`.
        class_names: Names by label.

    Returns:
        One text of one line for each finding: the figures, and what to do.
    """
    classes = _class_warnings(train_labels, test_labels, class_names)
    return (*classes, *_share_warning(train_labels, test_labels, class_names))


def _class_warnings(train_labels: np.ndarray, test_labels: np.ndarray, class_names: Sequence[str]) -> list[str]:
    num = len(class_names)
    in_train, in_test = (np.bincount(labels, minlength=num) for labels in (train_labels, test_labels))
    first = int(np.flatnonzero(in_train + in_test)[0])
    missing = [label for label in range(first, num) if not in_train[label]]
    untested = [label for label in range(first, num) if in_train[label] and not in_test[label]]
    few = [label for label in range(num) if 0 < in_train[label] < FEW_IMAGES]
    found = []
    if first:
        found.append(
            f"Labels start at {first}, so no images belong to {_named(range(first), class_names)}. "
            f"{'If they were counted from 1, subtract 1 from' if first == 1 else f'Subtract {first} from'} all labels, "
            "in both splits. A class without training images cannot be asked for."
        )
    if missing:
        num_tested = int(in_test[missing].sum())
        tested = f" (but {num_tested:,} test images)" if num_tested else ""
        found.append(
            f"No training images for {_named(missing, class_names)}{tested}. Such a class is not "
            "learned and cannot be asked for. Add training images, or leave the class out and "
            "number the others from 0 on."
        )
    if untested:
        found.append(
            f"No test images for {_named(untested, class_names)}. Generated images of such a class "
            "count as unlike the test split. Add test images of it."
        )
    if few:
        found.append(
            f"Fewer than {FEW_IMAGES} training images for {_named(few, class_names)}; the smallest has "
            f"{int(in_train[few].min())}. A generator can do little but copy them. Add images of these classes."
        )
    return found


def _named(labels: Sequence[int], class_names: Sequence[str]) -> str:
    """How many classes, and the first of their names."""
    names = ", ".join(class_names[label] for label in labels[:MAX_NAMES])
    rest = f" and {len(labels) - MAX_NAMES} more" if len(labels) > MAX_NAMES else ""
    return f"{len(labels)} of {len(class_names)} classes ({names}{rest})"


def _share_warning(train_labels: np.ndarray, test_labels: np.ndarray, class_names: Sequence[str]) -> list[str]:
    """Whether class shares differ by more than chance gives.

    The total variation distance of two samples of one distribution exceeds its mean by t with a probability of at most
    exp(-2 t^2 / (1/n + 1/m)) (McDiarmid 1989); its mean is at most half the sum of the standard errors of all shares.
    """
    counts = [np.bincount(labels, minlength=len(class_names)) for labels in (train_labels, test_labels)]
    inverse = sum(1 / len(labels) for labels in (train_labels, test_labels))
    pooled = sum(counts) / (len(train_labels) + len(test_labels))
    train, test = counts[0] / len(train_labels), counts[1] / len(test_labels)
    distance = float(np.abs(train - test).sum() / 2)
    by_chance = float(np.sqrt(pooled * (1 - pooled) * inverse).sum() / 2) + sqrt(-log(SHARE_CHANCE) * inverse / 2)
    if distance <= max(MAX_SHARE_GAP, by_chance):
        return []
    label = int(np.abs(train - test).argmax())
    name, in_train, in_test = class_names[label], 100 * train[label], 100 * test[label]
    return [
        f"The splits have different shares of classes: {100 * distance:.0f} % of the test images would need another "
        f"class ({name} is {in_train:.1f} % of the training images and {in_test:.1f} % of the test images). A perfect "
        "generator would look wrong. Shuffle all images before they are split."
    ]
