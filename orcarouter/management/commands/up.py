"""`manage.py up`: the whole of OrcaRouter on this machine, under one supervisor."""

import http.client
import json
import logging
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings
from django.core.management.base import BaseCommand

from orcarouter.demo_provider import PRICES
from orcarouter.embedded.servers import Embedded
from orcarouter.logging import Relay
from orcarouter.management.commands.serve import GRACE_SECONDS
from orcarouter.supervision import StartRefused
from orcarouter.supervision.child import Child, python
from orcarouter.supervision.listening import answers, refuse_taken
from orcarouter.supervision.supervisor import Supervisor

logger = structlog.get_logger("orcarouter.up")
# Celery warns of root because of pickled messages; ours are JSON.
AS_ROOT_IT_SAYS = "ignore:You're running the worker with superuser privileges"
MANAGE = str(settings.BASE_DIR / "manage.py")


class Command(BaseCommand):
    help = "Start the databases, the migrations, the web process and the worker; watch them; stop them in order on Ctrl-C or SIGTERM."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        os.environ["ORCA_PROCESS"] = "up"
        sys.exit(Up().run())


class Up:
    def __init__(self) -> None:
        self.data_dir: Path = settings.DATA_DIR
        self.relay = Relay(as_json=settings.LOGGING["json"], level=settings.LOG_LEVEL)
        self.supervisor = Supervisor(self.data_dir / "children.json")
        self.embedded = Embedded(self.data_dir, postgres=settings.EMBEDDED_DATABASE, valkey=settings.EMBEDDED_VALKEY, on_line=self.relay)
        self.address = settings.BASE_URL

    def run(self) -> int:
        """Start everything, watch it until told to stop, stop it. The exit status: 1 where the start was refused."""
        self.supervisor.listen()
        status = 0
        try:
            self.embedded.claim()
            self.supervisor.end_leftovers()
            refuse_taken(settings.HOST, settings.PORT)
            self.start()
            self.supervisor.watch()
            logger.info("Stopping. Once more hurries it.")
        except StartRefused as refused:
            status = 1
            logger.error(str(refused))
        finally:
            self.supervisor.stop()
            self.embedded.stop()
        if not status:
            logger.info("Stopped.")
        return status

    def start(self) -> None:
        logger.info("Starting.", data=str(self.data_dir))
        self.embedded.start(self.supervisor.stopping)
        for child in self.embedded.children:
            self.supervisor.adopt(child)
        self.migrate()
        first = self.bootstrap()
        children = [self.worker(), self.web()]
        self.supervisor.start(*([self.demo_provider()] if settings.DEMO_PROVIDER_SOCKET else []), *children)
        if not self.supervisor.stopping():
            self.tell(first)

    # --- Once, before anything serves -----------------------------------------------------------------------------------

    def migrate(self) -> None:
        """Migrate as the owner; without an owner's address, see that nothing is missing."""
        if "owner" in settings.DATABASES:
            status = self.supervisor.run(self.child("migrate", MANAGE, "migrate", "--database=owner", "--no-input", "--skip-checks", "--verbosity=0"))
            refusal = "The database could not be migrated: the lines above say why."
        else:
            status = self.supervisor.run(self.child("migrate", MANAGE, "migrate", "--check", "--skip-checks", "--verbosity=0"))
            refusal = "The database lacks migrations: set DATABASE_OWNER_URL, or run `manage.py migrate --database=owner` with it."
        if status:
            raise StartRefused(refusal)

    def bootstrap(self) -> bool:
        """On the embedded database's first start, make the first workspace and its owner. Whether that was now."""
        done = self.data_dir / "bootstrapped"
        if not settings.EMBEDDED_DATABASE or done.exists():
            return False
        # It prints what nobody but its reader may see, so it is not repeated here.
        status = self.supervisor.run(self.child("bootstrap", MANAGE, "bootstrap", "--json", on_line=self._all_but_credentials))
        if status:
            raise StartRefused("The first workspace could not be made: the lines above say why.")
        if status == 0:
            done.touch(mode=0o600)
        return True

    def _all_but_credentials(self, name: str, level: int, line: str) -> None:
        if '"owner_email"' not in line:
            self.relay(name, level, line)

    # --- What goes on ---------------------------------------------------------------------------------------------------

    def web(self) -> Child:
        return self.child("web", MANAGE, "serve", "--role", "all", grace=GRACE_SECONDS + 5, ready=self._web_answers)

    def worker(self) -> Child:
        schedule = str(self.data_dir / "beat-schedule")
        options = ["--beat", "--schedule", schedule, "--concurrency", "2", "--without-gossip", "--without-mingle"]
        return self.child("worker", "-W", AS_ROOT_IT_SAYS, "-m", "celery", "--quiet", "-A", "orcarouter.celery", "worker", *options, grace=20)

    def demo_provider(self) -> Child:
        path = settings.DEMO_PROVIDER_SOCKET
        return self.child("demo", "-m", "orcarouter.demo_provider", "--uds", path, grace=5, ready=lambda: answers(Path(path)), parse=_fine)

    def child(self, name: str, *arguments: str, **options: Any) -> Child:
        environment = os.environ | {"ORCAROUTER_DATA": str(self.data_dir), "ORCA_PROCESS": name, "ORCA_LOG": "json"}
        return Child(name, python(*arguments), env=environment, cwd=settings.BASE_DIR, **{"on_line": self.relay} | options)

    def _web_answers(self) -> bool:
        connection = http.client.HTTPConnection(settings.BASE_URL.removeprefix("http://"), timeout=5)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status < 500
        except OSError:
            return False
        finally:
            connection.close()

    # --- What a person sees ---------------------------------------------------------------------------------------------

    def tell(self, first: bool) -> None:
        """Say where it is. Credentials are for a terminal alone: a log would keep them."""
        logger.info("OrcaRouter answers.", address=self.address)
        file = self.data_dir / "bootstrap.json"
        if not sys.stdout.isatty():
            if file.exists():
                logger.info("Credentials of the first workspace are in a file.", file=str(file))
            return
        rows = {"Console": self.address}
        made = json.loads(file.read_text()) if file.exists() else {}
        if made:
            rows["Sign in as"] = made["owner_email"]
            if made.get("owner_password"):
                rows["Password"] = made["owner_password"] if first else f"the first one is in {file}"
            rows["Relay key"] = made["relay_key"]
            if first:
                rows["Kept in"] = str(file)
        lines = [f"  {name:<11} {value}" for name, value in rows.items()]
        if made:
            lines += ["", "  Try it:", *_curl(self.address, made["relay_key"])]
        print("\n" + "\n".join(lines) + "\n", flush=True)


def _fine(line: str) -> tuple[int, str]:
    """The demo provider only says where it listens."""
    return logging.DEBUG, line


def _curl(address: str, key: str) -> list[str]:
    body = json.dumps({"model": next(iter(PRICES)), "messages": [{"role": "user", "content": "Hello"}]})
    return [
        f"  curl {address}/v1/chat/completions \\",
        f"    -H 'Authorization: Bearer {key}' \\",
        "    -H 'Content-Type: application/json' \\",
        f"    -d {shlex.quote(body)}",
    ]
