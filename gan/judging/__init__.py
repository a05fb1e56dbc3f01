"""The comparison of generated images with real ones: features, metrics, confidence intervals and the gate.

Imports `gan.models` and the packages below it, but not training. Start with `judge.py`, then `definitions.py`.
"""
