"""The subject itself: data, networks, training, judging. Knows nothing of the orchestrator.

Importing the package puts the environment in order, before any library that one of its modules imports can read it.
"""

from gan.environment import settle

settle()
