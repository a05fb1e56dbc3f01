"""The stages: thin Prefect tasks that read references, call one function of `gan`, and write references.

Imports Prefect and `gan`, and nothing of `flows`. Start with `stage.py`, then `train.py`.
"""
