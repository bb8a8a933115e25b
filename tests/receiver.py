"""A receiver of webhooks: a real small server on loopback."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

#: An address of this machine that the product under test may dial (``tests/conftest.py``).
HOST = "127.0.0.77"
#: What webhooks are signed with in tests.
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
        return f"http://{HOST}:{self.server.server_address[1]}/hook"

    def wait_for(self, count: int, seconds: float = 60) -> list[Received]:
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.received) >= count, seconds), f"{len(self.received)} of {count} arrived"
        return self.received


@contextmanager
def listening() -> Iterator[Receiver]:
    """A receiver on a free port, until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with made.arrived:
                made.received.append(Received(self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                status = made.answers.pop(0) if made.answers else 200
                made.arrived.notify_all()
            made.gate.wait(120)
            self.send_response(status)
            for name, value in made.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(made.said)))
            self.end_headers()
            self.wfile.write(made.said)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer((HOST, 0), Handler)
    server.daemon_threads = True
    made = Receiver(server)
    made.gate.set()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.gate.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
