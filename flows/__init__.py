"""The stories: which stage follows which, and the commands that start them.

Prefect reads its settings when it is imported, so a flow's file imports this package before anything else.
"""

import io
import logging
import sys
from contextlib import redirect_stderr
from pathlib import Path

from flows.server.prefect_settings import describe_settings_error, set_defaults
from gan.errors import SettingsError
from gan.system.environment import check_certificates

# Our packages come before others of their names that PYTHONPATH may lead to.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
set_defaults()

said = io.StringIO()
try:
    check_certificates()
    with redirect_stderr(said):
        import prefect.context  # reads all settings
    import prefect.main  # noqa: F401  # sets logging up, for a stream that must be the real one
except SettingsError as error:
    raise SystemExit(f"Error: {error}") from None
except ImportError:
    sys.stderr.write(said.getvalue())
    raise
except Exception as error:  # a setting that is wrong, or a file of settings that cannot be read
    raise SystemExit(f"Error: {describe_settings_error(error)}") from None
sys.stderr.write(said.getvalue())

for name in ("gan", "tasks"):
    logging.getLogger(name).setLevel(logging.INFO)
