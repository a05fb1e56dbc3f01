"""Metrics in NumPy: pure functions, each with its formula, its source, its estimator and its bias.

Imports nothing of `gan`. Many give one value per image, whose mean is the metric: a bootstrap resamples these values.
Start with `frechet.py`.
"""
