"""How generated images compare with real ones: features, metrics, confidence intervals, the gate.

Imports `gan.models` and the packages below it, and nothing of training. Start with `judge.py`, then `definitions.py`.
"""
