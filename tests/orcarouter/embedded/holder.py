"""A process that holds the embedded servers: `holder.py DATA_DIR`. It prints one JSON line and stops them when told to."""

import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from orcarouter import embedded
from orcarouter.supervision import StartRefused


def main() -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    try:
        servers = embedded.start(Path(sys.argv[1]))
    except StartRefused as refused:
        print(json.dumps({"refused": str(refused)}), flush=True)
        sys.exit(1)
    pids = {child.name: child.process.pid for child in servers.children if child.process}
    print(json.dumps({"urls": {"owner": servers.urls.owner_url, "redis": servers.urls.redis_url}, "uid": os.geteuid(), "pids": pids}), flush=True)
    told.wait()
    servers.stop()


if __name__ == "__main__":
    main()
