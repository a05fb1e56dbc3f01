"""The machine that a process runs on: environment variables, proxies, signals, progress in a terminal.

Imports `gan.errors` only. Start with `environment.py`.
"""
