"""Metrics in NumPy: pure functions, each with its formula, reference, estimator and bias.

Of `gan` they import only `gan.system`. Many return one value per image, whose mean is the metric, so that a bootstrap
can resample the values. Start with `frechet.py`.
"""
