"""``python -m orcarouter.demo_provider --port N`` or ``--uds PATH``: serve until SIGTERM or SIGINT.

One line of JSON says where, once it listens: ``{"port": N}`` or ``{"uds": PATH}``, on standard output or ``--ready-fd``.
The bearer secret, if there is to be one, comes in the environment: ``ORCA_DEMO_SECRET``.
"""

import argparse
import json
import os
import socket
from typing import Any

import uvicorn

from orcarouter.demo_provider.server import DemoProvider


class _Server(uvicorn.Server):
    """Says where it listens."""

    def __init__(self, config: uvicorn.Config, where: dict[str, Any], ready_fd: int) -> None:
        super().__init__(config)
        self._where, self._ready_fd = where, ready_fd

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if "uds" in self._where:
            os.chmod(self._where["uds"], 0o600)  # uvicorn opens it to everybody
        os.write(self._ready_fd, json.dumps(self._where).encode() + b"\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m orcarouter.demo_provider", description="A provider without a model, for demos and tests.")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--port", type=int, help="on 127.0.0.1; 0 takes a free one")
    where.add_argument("--uds", "--socket", help="path of a Unix socket")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="before the first byte of each answer")
    parser.add_argument("--ready-fd", type=int, default=1, help="where to say that it listens")
    args = parser.parse_args()

    app = DemoProvider(secret=os.environ.get("ORCA_DEMO_SECRET") or None, delay_seconds=args.delay_ms / 1000)
    how: dict[str, Any] = {"lifespan": "off", "access_log": False, "log_level": "critical", "server_header": False, "timeout_graceful_shutdown": 1}
    if args.uds:
        _Server(uvicorn.Config(app, uds=args.uds, **how), {"uds": args.uds}, args.ready_fd).run()
        return
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", args.port))
        _Server(uvicorn.Config(app, **how), {"port": listener.getsockname()[1]}, args.ready_fd).run(sockets=[listener])


if __name__ == "__main__":
    main()
