"""Files: the content-addressed store, the object store, locks, links and strict JSON.

Imports `gan.system`. Start with `store.py`.
"""
