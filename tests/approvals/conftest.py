"""A receiver of webhooks on loopback, and holds to tell of."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.utils import timezone

from workspaces.models import Workspace

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass
class Received:
    """One request as it came. ``headers`` by lower-case name."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict:
        return json.loads(self.body)


@dataclass
class Receiver:
    """A real small server. ``answers`` are the next statuses (then 200); ``said`` is the body of its answers."""

    server: ThreadingHTTPServer
    received: list[Received] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    said: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    #: Set to let answers wait until it is set.
    gate: threading.Event = field(default_factory=threading.Event)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/hook"

    def wait_for(self, count: int, seconds: float = 30) -> list[Received]:
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.received) >= count, seconds), f"{len(self.received)} of {count} arrived"
        return self.received


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with made.arrived:
                made.received.append(Received(self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                status = made.answers.pop(0) if made.answers else 200
                made.arrived.notify_all()
            made.gate.wait(30)
            self.send_response(status)
            for name, value in made.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(made.said)))
            self.end_headers()
            self.wfile.write(made.said)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made = Receiver(server)
    made.gate.set()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield made
    made.gate.set()
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
def loopback(settings):
    """Loopback may be dialled, as an operator's setting can allow."""
    settings.ALLOWED_PRIVATE_HOSTS = ["127.0.0.1"]
    return settings


@dataclass
class Hold:
    """What the outbox reads of a hold."""

    workspace: Workspace
    id: str = "0123456789abcdef01234567"
    tool_name: str = "payments.transfer"
    request_id: str = "req_1"
    conversation_id: str | None = "conv-1"
    policy_id: int = 7
    rule_id: int = 9
    token_name: str = "agent"
    held_because: str = "matched payments.*"
    expires_at: datetime = field(default_factory=lambda: timezone.now() + timedelta(hours=24))
    resolved_by_label: str = ""
    reason: str = ""
