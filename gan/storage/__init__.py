"""Files: the content-addressed store, the object store, locks, links and strict JSON.

Imports `gan.system` and `gan.formatting`. Start with `store.py`.
"""
