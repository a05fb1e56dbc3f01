"""Classifier two-sample test: whether a classifier can distinguish unseen real images from generated ones."""

import numpy as np

from gan.system.threads import map_in_threads

FOLDS = 5
RIDGE = 1.0
MAX_ITERATIONS = 50
TOLERANCE = 1e-8
CONSTANT = 1e-6
"""A feature whose standard deviation is below this share of its largest value is constant up to float32 rounding."""


def held_out_logits(
    real_features: np.ndarray, fake_features: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return each image's logit of "real" from a classifier that was not fitted on it (cross-fitting, 5 folds).

        accuracy = (1/n sum_i 1[logit(x_i) > 0] + 1/m sum_j 1[logit(y_j) <= 0]) / 2

    Lopez-Paz and Oquab 2017, arXiv:1610.06545, with logistic regression on standardized features. An accuracy of 0.5 is
    chance. It is a lower bound, since a stronger classifier may find more differences. For equal distributions it
    varies around 0.5 with a standard deviation of about 0.5 / sqrt(n + m), so values slightly below 0.5 are expected.

    Args:
        real_features: float, shape (n, d).
        fake_features: float, shape (m, d).
        rng: Draws the folds.

    Returns:
        Logits of "real", float64 (n,) and (m,).

    Raises:
        ValueError: If a side has fewer than two images, since none would be left to fit the classifier on.
    """
    if min(len(real_features), len(fake_features)) < 2:
        raise ValueError(
            f"held_out_logits got {len(real_features)} and {len(fake_features)} images; it expects two or more of each."
        )
    features = np.concatenate([real_features, fake_features]).astype(np.float64)
    is_real = np.arange(len(features)) < len(real_features)
    folds = np.empty(len(features), np.int64)
    for rows in (np.flatnonzero(is_real), np.flatnonzero(~is_real)):  # stratified: each fold has equal parts of both
        folds[rng.permutation(rows)] = np.arange(len(rows)) % FOLDS
    logits, largest = np.empty(len(features)), np.abs(features).max(axis=0)

    def fit_without(fold: int) -> np.ndarray:
        seen, held_out = folds != fold, folds == fold
        mean, deviation = features[seen].mean(axis=0), features[seen].std(axis=0)
        standardized = (features - mean) / np.where(deviation > CONSTANT * largest, deviation, 1)
        weights, bias = fit_logistic_regression(standardized[seen], is_real[seen])
        return np.asarray(standardized[held_out] @ weights + bias)

    for fold, held_out in enumerate(map_in_threads(fit_without, range(FOLDS))):
        logits[folds == fold] = held_out
    return logits[is_real], logits[~is_real]


def balanced_accuracy(real_logits: np.ndarray, fake_logits: np.ndarray) -> float:
    """Return the mean of the shares of real and of generated images whose logit of "real" has the right sign."""
    return float(((real_logits > 0).mean() + (fake_logits <= 0).mean()) / 2)


def fit_logistic_regression(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, float]:
    """Fit weights and bias that minimize  |w|^2 / 2 + sum_i log(1 + exp(-s_i (w.x_i + b))),  s_i = +-1.

    Newton's method (iteratively reweighted least squares; Hastie et al. 2009, section 4.4.1) with backtracking. The
    ridge penalty keeps the weights finite for separable classes.

    Args:
        features: float64, shape (n, d).
        labels: bool, shape (n,).

    Returns:
        Weights, float64 (d,), and bias.
    """
    design = np.column_stack([features, np.ones(len(features))])
    ridge = np.append(np.full(features.shape[1], RIDGE), 0.0)
    signs = np.where(labels, 1.0, -1.0)

    def loss(beta: np.ndarray) -> float:
        return float(ridge @ beta**2 / 2 + np.logaddexp(0, -signs * (design @ beta)).sum())

    beta, current = np.zeros(design.shape[1]), len(features) * np.log(2)
    for _ in range(MAX_ITERATIONS):
        probabilities = 1 / (1 + np.exp(-np.clip(design @ beta, -500, 500)))
        gradient = design.T @ (probabilities - labels) + ridge * beta
        curvature = (design * (probabilities * (1 - probabilities))[:, np.newaxis]).T @ design + np.diag(ridge + 1e-9)
        step = np.linalg.solve(curvature, gradient)
        scale = 1.0
        while (proposed := loss(beta - scale * step)) > current and scale > 1e-6:
            scale /= 2
        beta, previous, current = beta - scale * step, current, proposed
        if previous - current < TOLERANCE * max(1.0, current):
            break
    return beta[:-1], float(beta[-1])
