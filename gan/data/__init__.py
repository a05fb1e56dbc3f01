"""Fashion-MNIST and data sets of the same format: download, verification, decoding, normalization.

Imports `gan.storage` and `gan.system`. Start with `catalog.py`, then `sources.py`.
"""
