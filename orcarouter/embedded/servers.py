"""Both servers of one data folder, started and stopped together."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from orcarouter.embedded import Urls, folder, urls
from orcarouter.embedded.account import account_for
from orcarouter.embedded.postgres import Postgres
from orcarouter.embedded.valkey import valkey_child, valkey_server
from orcarouter.supervision.child import Child, OnLine, log_line


class Embedded:
    """The embedded servers. `start` and `stop`, or a ``with`` block; see `orcarouter.embedded.start`.

    Neither server is started where ``postgres`` and ``valkey`` say so; the data folder is locked all the same.
    """

    def __init__(self, data_dir: Path, *, postgres: bool = True, valkey: bool = True, create_databases: bool = False, on_line: OnLine | None = None) -> None:
        self.data_dir = data_dir.resolve()
        self.urls: Urls
        #: Whether this start made the database.
        self.first_start = False
        #: In the order of their start.
        self.children: list[Child] = []
        self._wanted = (postgres, valkey)
        self._create_databases = create_databases
        self._on_line = on_line or log_line
        self._claimed = False
        self._held = ExitStack()

    def claim(self) -> Self:
        """Take the data folder for this process alone. Raises `StartRefused`."""
        folder.prepare(self.data_dir)
        self._held.callback(folder.Lock(self.data_dir).release)
        self._claimed = True
        return self

    def start(self, cancelled: Callable[[], bool] = lambda: False) -> Self:
        """Raises `StartRefused`; nothing runs then. ``cancelled()`` ends the waiting early, with what runs left to `stop`."""
        if not self._claimed:
            self.claim()
        try:
            self._start(*self._wanted, cancelled)
        except BaseException:
            self.stop()
            raise
        return self

    def _start(self, postgres: bool, valkey: bool, cancelled: Callable[[], bool]) -> None:
        binaries = [Postgres.binary("postgres")] * postgres + [valkey_server()] * valkey
        if not binaries:
            self.urls = urls(self.data_dir)
            return
        account = account_for(self.data_dir, binaries)
        sockets = folder.prepare_sockets_folder(self.data_dir, account.uid)
        self.urls = urls(self.data_dir)
        if valkey:
            self.children.append(valkey_child(account.own(self.data_dir / "valkey"), sockets, account, self._on_line))
        if postgres:
            database = Postgres(self.data_dir / "postgres", sockets, account, self._on_line)
            self.first_start = database.make()
            self.children.insert(0, database.child)
        for child in self.children:
            child.start()
        if all(child.wait_ready(cancelled) for child in self.children) and postgres:
            database.make_roles(create_databases=self._create_databases)

    def stop(self, hurried: Callable[[], bool] = lambda: False) -> None:
        """Stop the servers, PostgreSQL last, and let go of the data folder."""
        for child in reversed(self.children):
            child.stop(hurried)
        self.children.clear()
        self._held.close()
        self._claimed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
