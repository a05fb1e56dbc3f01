"""The Prefect server around a run: its settings, the embedded server, schedules, cancellation, alerts.

Imports Prefect, `gan` and `tasks`. Start with `session.py`.
"""
