"""The Prefect server around a run: its settings, the embedded server, schedules, cancellation, alerts, served pages.

Imports Prefect, `gan`, `tasks`, and settings of `flows`. Start with `session.py`.
"""
