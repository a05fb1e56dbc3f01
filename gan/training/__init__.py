"""Training: one iteration of each algorithm (`article.py`, `relativistic.py`) and the loop around it (`loop.py`).

Imports `gan.models` and the packages below it. Start with `article.py`, beside the recipe of that name.
"""
