"""The stories: which stage follows which, and the commands that start them.

Prefect reads its settings when it is imported, and HTTP clients their proxies when they are made, so a flow's file
imports this package before anything else.
"""

import io
import logging
import os
import sys
from contextlib import redirect_stderr

from flows.prefect_settings import describe_settings_error
from gan.environment import check_certificates, settle_output
from gan.errors import SettingsError
from gan.proxies import settle_proxies

os.environ.setdefault("DO_NOT_TRACK", "1")
# The embedded server's telemetry runs into its own database lock at start-up, and logs that as a long traceback.
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("PREFECT_LOGGING_EXTRA_LOGGERS", "gan,tasks")  # what they log shows in the UI as well
# A run that gives no sign of life is marked as crashed (flows/setup_server.py).
os.environ.setdefault("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", "30")
# The first start makes the database; on a busy machine that takes longer than Prefect's 20 s.
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
# A server that was there before is asked again for so many times, 4 minutes in all.
os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", "7")

# A page of another site that is open in a browser here may neither read answers of the embedded server nor change
# anything there: it shares its database with make server, and so with workers.
os.environ.setdefault("PREFECT_SERVER_CSRF_PROTECTION_ENABLED", "true")
os.environ.setdefault("PREFECT_SERVER_CORS_ALLOWED_ORIGINS", "")  # it has no UI: no page may

# Checks before a flow may log as well; there is no run yet that the line could belong to.
os.environ.setdefault("PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW", "ignore")

settle_output()
settle_proxies()

said = io.StringIO()
try:
    check_certificates()
    with redirect_stderr(said):
        import prefect.context  # noqa: F401  # reads all settings
except SettingsError as error:
    raise SystemExit(f"Error: {error}") from None
except ValueError as error:  # a setting that is wrong, or a file of settings that cannot be read
    raise SystemExit(f"Error: {describe_settings_error(error)}") from None
sys.stderr.write(said.getvalue())

for name in ("gan", "tasks"):
    logging.getLogger(name).setLevel(logging.INFO)
