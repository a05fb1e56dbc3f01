"""Checks of a data set's labels, as part of `gan.data.inspection`."""

from collections.abc import Sequence
from math import log, sqrt

import numpy as np

from gan.data.catalog import FILE_NAMES
from gan.errors import DataError

MIN_CLASSES, MAX_CLASSES = 2, 100

FEW_IMAGES = 20
"""Number of images of a class below which there are warnings. A generator can do little but copy so few training
images. A class with so few test images can be left out unnoticed."""

MAX_SHARE_GAP, SHARE_CHANCE = 0.1, 1e-4
"""Total variation distance between the class shares of the splits above which there is a warning, and the probability
that two random halves of one data set cause one."""

MAX_NAMES = 5
"""Classes that a sentence names before it gives only the number of the others."""


def refuse_labels(train_labels: np.ndarray, test_labels: np.ndarray, class_names: Sequence[str]) -> None:
    """Raise DataError if labels do not fit the class names (empty if unknown), or all training labels are equal."""
    limit = len(class_names) or MAX_CLASSES
    known = f"{limit} class names" if class_names else f"at most {limit} classes"
    splits = (FILE_NAMES["train", "labels"], train_labels), (FILE_NAMES["test", "labels"], test_labels)
    for name, labels in splits:
        low, high = int(labels.min()), int(labels.max())
        if high < limit:
            continue
        advice = "Number the classes from 0 on without gaps, in both splits; give class-names.txt one line for each."
        if low >= 1 and high - low < limit:
            advice = (
                f"Labels must start at 0; these start at {low}. Subtract {low} from all labels, in both splits if both "
                f"start at {low}."
            )
        found = f"{name} holds label {high}; expected 0 to {limit - 1}, for {known}. Its labels are {low} to {high}."
        raise DataError(f"{found}\n{advice}")
    present = np.unique(train_labels)
    if len(present) < MIN_CLASSES:
        raise DataError(
            f"The training split has no label but {present[0]}; expected {MIN_CLASSES} to {MAX_CLASSES} classes, "
            "numbered from 0.\nImages are compared by the features of a classifier, which needs at least two classes. "
            "Give the images of each class their own label."
        )


def find_label_warnings(train_labels: np.ndarray, test_labels: np.ndarray, class_names: Sequence[str]) -> list[str]:
    """Describe classes with few or no images, and splits with different class shares, in one line for each finding."""
    num = len(class_names)
    in_train, in_test = (np.bincount(labels, minlength=num) for labels in (train_labels, test_labels))
    first = int(np.flatnonzero(in_train + in_test)[0])
    missing = [label for label in range(first, num) if not in_train[label]]
    untested = [label for label in range(first, num) if in_train[label] and not in_test[label]]
    few = [label for label in range(num) if 0 < in_train[label] < FEW_IMAGES]
    few_tested = [label for label in range(num) if in_train[label] and 0 < in_test[label] < FEW_IMAGES]
    found = []
    if first:
        found.append(
            f"Labels start at {first}, so no images belong to {_list_names(range(first), class_names)}. "
            f"{'If they were counted from 1, subtract 1 from' if first == 1 else f'Subtract {first} from'} all labels, "
            "in both splits. Images of a class without training images cannot be requested."
        )
    if missing:
        num_tested = int(in_test[missing].sum())
        tested = f" (but {num_tested:,} test images)" if num_tested else ""
        found.append(
            f"No training images for {_list_names(missing, class_names)}{tested}. Such a class is not learned, and "
            "images of it cannot be requested. Add training images, or remove the class and number the others from 0."
        )
    if untested:
        found.append(
            f"No test images for {_list_names(untested, class_names)}. Generated images of such a class count as "
            "unlike the test split. Add test images of it."
        )
    if few:
        found.append(
            f"Fewer than {FEW_IMAGES} training images for {_list_names(few, class_names)}; the smallest class has "
            f"{int(in_train[few].min())}. A generator can do little but copy them. Add images of these classes."
        )
    if few_tested:
        found.append(
            f"Fewer than {FEW_IMAGES} test images for {_list_names(few_tested, class_names)}; the smallest class has "
            f"{int(in_test[few_tested].min())}. Hardly anything can be said about generated images of such a class, "
            "not even whether it is missing. Add test images of these classes."
        )
    return found + _compare_shares(in_train, in_test, class_names)


def _list_names(labels: Sequence[int], class_names: Sequence[str]) -> str:
    names = ", ".join(class_names[label] for label in labels[:MAX_NAMES])
    rest = f" and {len(labels) - MAX_NAMES} more" if len(labels) > MAX_NAMES else ""
    return f"{len(labels)} of {len(class_names)} classes ({names}{rest})"


def _compare_shares(in_train: np.ndarray, in_test: np.ndarray, class_names: Sequence[str]) -> list[str]:
    """Warn if class shares differ by more than chance can explain.

    The total variation distance between two samples of sizes n and m from one distribution exceeds its mean by t with a
    probability of at most exp(-2 t^2 / (1/n + 1/m)) (McDiarmid 1989). Its mean is at most half the sum of the standard
    errors of all shares.
    """
    num_train, num_test = int(in_train.sum()), int(in_test.sum())
    inverse = 1 / num_train + 1 / num_test
    pooled = (in_train + in_test) / (num_train + num_test)
    train, test = in_train / num_train, in_test / num_test
    distance = float(np.abs(train - test).sum() / 2)
    by_chance = float(np.sqrt(pooled * (1 - pooled) * inverse).sum() / 2) + sqrt(-log(SHARE_CHANCE) * inverse / 2)
    if distance <= max(MAX_SHARE_GAP, by_chance):
        return []
    label = int(np.abs(train - test).argmax())
    return [
        f"The splits have different class shares: {100 * distance:.0f} % of the test images would need another class "
        f"({class_names[label]} is {100 * train[label]:.1f} % of the training images and {100 * test[label]:.1f} % of "
        "the test images). Even a perfect generator would look wrong. Shuffle all images before they are split."
    ]
