"""The types of functions that several modules of the training call."""

from collections.abc import Callable

import numpy as np

from gan.models.backend import keras, tf

TrainStep = Callable[[tf.Tensor, bool], tf.Tensor]
"""Runs one iteration: takes the step (int64 scalar), and whether gradient penalties are due in it.

It changes the networks in place, and returns its row of the history, float32 (3,). The second argument is a Python
bool, known at compile time. The article has no penalties and ignores it.
"""

Infer = Callable[[keras.Model, np.ndarray | list[np.ndarray]], tf.Tensor]
"""Runs a generator in inference mode on its inputs; returns images, float32 (n, 28, 28, 1) in [-1, 1]."""
