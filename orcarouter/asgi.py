"""What uvicorn serves: the gateway's paths go straight to the gateway, everything else to Django.

``ORCA_ROLE`` (``gateway``, ``console`` or ``all``) says which of the two this process answers.
"""

import gc
import os
import re

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orcarouter.settings")

from django.core.asgi import get_asgi_application

_django = get_asgi_application()

from django.conf import settings  # noqa: E402

from firewall import policy_file  # noqa: E402
from orcarouter import health  # noqa: E402
from orcarouter.bounded_body import BoundedBody  # noqa: E402
from orcarouter.gateway.app import Gateway  # noqa: E402

ROLE = os.environ.get("ORCA_ROLE", "all")
gateway = Gateway()
#: A policy's file, and the form around it.
IMPORTS = {re.compile(r"(?:/api/workspace/firewall)?/policies/(?:[0-9]+/)?import/?"): policy_file.MAX_BYTES + 64 * 1024}
django_application = BoundedBody(_django, settings.DATA_UPLOAD_MAX_MEMORY_SIZE, IMPORTS)


def application(scope, receive, send):
    """Dispatch by path alone: no session, middleware or template is on an agent's way."""
    return _server_of(scope)(scope, receive, send)


def _server_of(scope):
    if scope["type"] != "http":
        return _lifespan if scope["type"] == "lifespan" else _no_websocket
    path = scope["path"]
    if path.startswith(("/v1/", "/api/v1/")) or path == "/v1":
        return gateway if ROLE != "console" else health.elsewhere
    if path in health.ROUTES:
        return health.ROUTES[path]
    return django_application if ROLE != "gateway" else health.elsewhere


async def _no_websocket(scope, receive, send):
    await send({"type": "websocket.close", "code": 1003})


async def _lifespan(scope, receive, send):
    """Start the gateway before the first call, end it after the last."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            if ROLE != "console":
                await gateway.start()
            # Long-lived objects leave the collector's sight: its pauses are the tail of the latency.
            gc.collect()
            gc.freeze()
            gc.set_threshold(50_000, 20, 50)
            await send({"type": "lifespan.startup.complete"})
        else:
            if ROLE != "console":
                await gateway.stop()
            await send({"type": "lifespan.shutdown.complete"})
            return
