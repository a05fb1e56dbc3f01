"""A web server that receives alerts, and the notification block that sends them there."""

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prefect.blocks.notifications import CustomWebhookNotificationBlock

SLUG = "custom-webhook/ops"
SECRET = "a-secret-token"
PROBE, LAST = "probe", "last"
"""Names of runs that only show how far the server has come with its alerts."""


class Mailbox(list[dict[str, str]]):
    """The received messages."""

    def wait(self) -> dict[str, str]:
        self.receives("", 60)
        (message,) = self
        self.clear()
        return message

    def receives(self, name: str, seconds: float) -> bool:
        """Return whether a message about that name arrives within the time."""
        deadline = time.monotonic() + seconds
        while not (found := any(name in message["subject"] for message in self)) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def alerts_during(
        self, happen: Callable[[str], object], meanwhile: Callable[[], object], name: str
    ) -> list[dict[str, str]]:
        """Return all alerts about `meanwhile` from an automation that was just created.

        Args:
            happen: Causes an alert about a run with the given name. It is called until the automation is active, and
                once more at the end, so that unwanted alerts have arrived by then.
            meanwhile: The events under test.
            name: Name of a run that `meanwhile` must cause an alert about.
        """
        deadline = time.monotonic() + 120
        happen(PROBE)
        while not self.receives(PROBE, 2):
            assert time.monotonic() < deadline, "the automation is not active"
            happen(PROBE)
        meanwhile()
        assert self.receives(name, 60)
        happen(LAST)
        assert self.receives(LAST, 60)
        alerts = [message for message in self if not {PROBE, LAST} & {*message["subject"].split()}]
        self.clear()
        return alerts


@contextmanager
def listening(mailbox: Mailbox, status: int = 200) -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            mailbox.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def save_block(port: int, name: str = "ops") -> None:
    CustomWebhookNotificationBlock(
        name=name,
        url=f"http://127.0.0.1:{port}/{{{{token}}}}",
        json_data={"subject": "{{subject}}", "body": "{{body}}", "token": "{{token}}"},
        secrets={"token": SECRET},
    ).save(name, overwrite=True)
