"""Metrics of generated images, in NumPy: pure functions, each with its formula, its source, its estimator and its bias.

Many give a value an image, whose mean is the metric: that is what a bootstrap resamples.
"""
