"""The subject itself: data, models, training, judging. Knows nothing of Prefect.

Each package has a docstring that says what is in it. `tests/test_layout.py` says which package may import which.
Importing `gan` sets the environment before any library can read it.
"""

from gan.system.environment import configure_environment

configure_environment()
