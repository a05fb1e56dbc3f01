"""The Prefect flows, and the commands that start them.

Imports Prefect, `gan` and `tasks`. Start with `train_flow.py`. Prefect reads its settings when it is imported, so the
file of each flow imports this package first.
"""

import sys
from pathlib import Path

# Put our packages before others with the same names on PYTHONPATH, before any of them is imported.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import io
import logging
from contextlib import redirect_stderr

from flows.server.prefect_settings import describe_settings_error, set_defaults
from gan.errors import SettingsError
from gan.system.environment import check_certificates

set_defaults()

output = io.StringIO()
try:
    check_certificates()
    with redirect_stderr(output):
        import prefect.context  # reads all settings
    import prefect.main  # noqa: F401  # configures logging, which must get the real stream
except SettingsError as error:
    raise SystemExit(f"Error: {error}") from None
except ImportError:
    sys.stderr.write(output.getvalue())
    raise
except Exception as error:  # an invalid setting, or an unreadable settings file
    raise SystemExit(f"Error: {describe_settings_error(error)}") from None
sys.stderr.write(output.getvalue())

for name in ("gan", "tasks"):
    logging.getLogger(name).setLevel(logging.INFO)
