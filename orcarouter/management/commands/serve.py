"""`manage.py serve`: the web process."""

import os
from argparse import ArgumentParser
from typing import Any

import uvicorn
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from orcarouter import static_files
from orcarouter.database_roles import refuse_privileged
from orcarouter.supervision import StartRefused
from orcarouter.supervision.listening import refuse_taken

#: Seconds that answers under way get when the process is told to stop.
GRACE_SECONDS = 10
#: Seconds that a connection without a call stays open.
KEEP_ALIVE_SECONDS = 75


class Command(BaseCommand):
    help = "Serve the gateway, the console, or both, on HOST and PORT."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--role", choices=["gateway", "console", "all"], default="all", help="what this process answers (default: all)")

    def handle(self, *args: Any, role: str, **options: Any) -> None:
        try:
            refuse_taken(settings.HOST, settings.PORT)
            refuse_privileged()
        except StartRefused as refused:
            raise CommandError(str(refused)) from refused
        if role != "gateway":
            static_files.gather()
        # Read when orcarouter.asgi is imported.
        os.environ["ORCA_ROLE"] = role
        uvicorn.run(
            "orcarouter.asgi:application",
            host=settings.HOST,
            port=settings.PORT,
            loop="uvloop",
            http="orcarouter.http_protocol:BoundedProtocol",
            ws="none",
            lifespan="on",
            interface="asgi3",
            # The client's address is the socket's peer; the gateway reads X-Forwarded-For itself, of trusted proxies only.
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_config=None,
            # Longer than clients keep theirs: who closes last loses no request on the way.
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
