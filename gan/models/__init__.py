"""The two networks, the latents that go into the generator, and the images that come out.

Imports `gan.data`, `gan.storage` and `gan.system`, and Keras through `backend.py`. Start with `networks.py`.
"""
