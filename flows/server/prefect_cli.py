"""Run Prefect's own command line, for servers and workers, with the settings of this project.

A server also serves the reports in artifacts/ (`flows.server.pages`).

python -m flows.server.prefect_cli worker start --pool default
"""

import flows  # noqa: F401  # isort: skip  # sets what Prefect reads when it is imported

import sys
from pathlib import Path

from prefect.cli import app

from gan.command import warn_of_ignored_variables

if __name__ == "__main__":
    warn_of_ignored_variables()
    if sys.argv[1:3] == ["server", "start"]:
        from flows.server.pages import serve_beside

        serve_beside(Path("artifacts").absolute())
    app()
