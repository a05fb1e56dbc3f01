"""Run Prefect's own command line, for servers and workers, with the settings of this project.

A server also serves the reports in artifacts/ (`flows.server.pages`). A worker starts only if its server answers.

python -m flows.server.prefect_cli worker start --pool default
"""

import flows  # noqa: F401  # isort: skip  # sets what Prefect reads when it is imported

import sys

from prefect.cli import app

from gan.command import exit_on_error, warn_of_ignored_variables
from gan.config import DEFAULT_OUTPUT_DIR

if __name__ == "__main__":
    warn_of_ignored_variables()
    command = sys.argv[1:3]
    if command == ["server", "start"]:
        from flows.server.pages import serve_beside

        serve_beside(DEFAULT_OUTPUT_DIR.absolute())
    if command == ["worker", "start"]:
        from flows.server.session import prefect_session

        with exit_on_error(), prefect_session("A worker takes its runs from a permanent Prefect server"):
            pass  # Prefect's worker would repeat a traceback for a minute
    app()
