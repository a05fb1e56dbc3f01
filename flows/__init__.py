"""The stories: which stage follows which, and the commands that start them.

Prefect reads these variables when it is imported, so a flow's file imports this package before anything else.
"""

import logging
import os

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

for name in ("gan", "tasks"):
    logging.getLogger(name).setLevel(logging.INFO)
