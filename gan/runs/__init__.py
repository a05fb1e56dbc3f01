"""Published runs: their folders and manifests, the champion among them, and what can be removed.

Imports `gan.storage` and `gan.judging`. Start with `publish.py`.
"""
