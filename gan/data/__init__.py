"""Fashion-MNIST and data sets of its form: download, check, decode, normalize.

Imports `gan.storage` and `gan.system`. Start with `catalog.py`, then `sources.py`.
"""
