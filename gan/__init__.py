"""The domain code: data, models, training and judging. It imports nothing of Prefect.

The docstring of each package says what is in it, and `tests/test_layout.py` which package may import which others.
Importing `gan` configures the environment before any library can read it.
"""

from gan.system.environment import configure_environment

configure_environment()
