"""Run Prefect's own command line, for servers and workers, with the settings of this project.

python -m flows.server.prefect_cli worker start --pool default
"""

import flows  # noqa: F401  # isort: skip  # sets what Prefect reads when it is imported

from prefect.cli import app

from gan.command import warn_of_ignored_variables

if __name__ == "__main__":
    warn_of_ignored_variables()
    app()
