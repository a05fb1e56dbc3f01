"""Classifier two-sample test: can a classifier tell real from generated images that it has not seen?"""

import numpy as np

FOLDS = 5
RIDGE = 1.0
MAX_ITERATIONS = 50
TOLERANCE = 1e-8
CONSTANT = 1e-6
"""A standard deviation below that share of the largest value is the float32 rounding of a constant feature."""


def held_out_logits(
    real_features: np.ndarray, fake_features: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """How real each image looks to a classifier that was fitted without it (cross-fitting, 5 folds).

        accuracy = (1/n sum_i 1[logit(x_i) > 0] + 1/m sum_j 1[logit(y_j) <= 0]) / 2

    Lopez-Paz and Oquab 2017, arXiv:1610.06545, with logistic regression on standardized features. 0.5: the classifier
    can only guess. A lower bound: a stronger classifier may tell more. Where the sets cannot be told apart the accuracy
    scatters round 0.5 by about 0.5 / sqrt(n + m); a little below 0.5 is no news.

    Args:
        real_features: float, shape (n, d).
        fake_features: float, shape (m, d).
        rng: Draws the folds.

    Returns:
        Logits of "this is real", float64 (n,) and (m,).

    Raises:
        ValueError: If a side has fewer than two images: there would be none to fit the classifier on.
    """
    if min(len(real_features), len(fake_features)) < 2:
        raise ValueError(
            f"held_out_logits got {len(real_features)} and {len(fake_features)} images; it expects two or more of each."
        )
    features = np.concatenate([real_features, fake_features]).astype(np.float64)
    is_real = np.arange(len(features)) < len(real_features)
    folds = np.empty(len(features), np.int64)
    for rows in (np.flatnonzero(is_real), np.flatnonzero(~is_real)):  # each fold has both in equal parts
        folds[rng.permutation(rows)] = np.arange(len(rows)) % FOLDS
    logits = np.empty(len(features))
    for fold in range(FOLDS):
        seen, held_out = folds != fold, folds == fold
        mean, deviation = features[seen].mean(axis=0), features[seen].std(axis=0)
        varies = deviation > CONSTANT * np.abs(features).max(axis=0)
        standardized = (features - mean) / np.where(varies, deviation, 1)
        weights, bias = fit_logistic_regression(standardized[seen], is_real[seen])
        logits[held_out] = standardized[held_out] @ weights + bias
    return logits[is_real], logits[~is_real]


def fit_logistic_regression(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights and bias that minimize  |w|^2 / 2 + sum_i log(1 + exp(-s_i (w.x_i + b))),  s_i = +-1.

    Newton's method (iteratively reweighted least squares; Hastie et al. 2009, section 4.4.1), with the step halved
    while it does not lower the loss. The ridge keeps the weights finite where the classes are separable.

    Args:
        features: float64, shape (n, d).
        labels: bool, shape (n,).

    Returns:
        float64 (d,), and the bias.
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
