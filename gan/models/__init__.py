"""The two networks, the inputs of the generator, and the images that it generates.

Imports `gan.data`, `gan.storage` and `gan.system`, and Keras through `backend.py`. Start with `networks.py`.
"""
