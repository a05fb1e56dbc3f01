"""The type of a training iteration, which both algorithms provide."""

from collections.abc import Callable

from gan.models.backend import tf

TrainStep = Callable[[tf.Tensor, bool], tf.Tensor]
"""Runs one iteration: takes the step (int64 scalar), and whether gradient penalties are due in it.

It changes the networks in place, and returns its row of the history, float32 (3,). The second argument is a Python
bool, known at compile time. The article has no penalties and ignores it.
"""
