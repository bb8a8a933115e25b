"""``/healthz`` (this process), ``/readyz`` (what it stands on) and ``/metrics``, as plain ASGI."""

import asyncio
import hmac
import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address

import redis
from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection
from django.db.migrations.executor import MigrationExecutor
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from orcarouter.tasks import HEARTBEAT_KEY, HEARTBEAT_SECONDS
from workspaces import valkey
from workspaces.errors import ApiNotImplemented, AuthenticationRequired

logger = logging.getLogger(__name__)

CHECK_SECONDS = 3.0
#: A look serves whoever asks this soon after it.
FRESH_SECONDS = 0.5
_looking: asyncio.Task[dict[str, bool]] | None = None
_looked_at = 0.0
_threads = ThreadPoolExecutor(2, thread_name_prefix="orca-health")


async def healthz(scope, receive, send) -> None:
    """200 as long as the process answers at all."""
    await _answer(send, 200, {"status": "ok"})


async def readyz(scope, receive, send) -> None:
    """200 when PostgreSQL, Valkey, the migrations and a worker are there; else 503 that names what is not."""
    global _looking
    if _looking is None or (_looking.done() and time.monotonic() - _looked_at > FRESH_SECONDS):
        # Nobody needs a key to ask, so many who ask at once are answered from one look.
        _looking = asyncio.create_task(_look())
    found = await asyncio.shield(_looking)
    ready = all(found.values())
    await _answer(send, 200 if ready else 503, {"status": "ready" if ready else "not ready", "checks": found})


async def _look() -> dict[str, bool]:
    global _looked_at
    loop = asyncio.get_running_loop()
    checks = {"postgres": _postgres, "valkey": _valkey, "migrations": _migrations, "worker": _worker}
    found = await asyncio.gather(*(_within(loop.run_in_executor(_threads, check)) for check in checks.values()))
    _looked_at = time.monotonic()
    return dict(zip(checks, found, strict=True))


async def metrics(scope, receive, send) -> None:
    """Prometheus text: to loopback, or to whoever has ``METRICS_TOKEN``."""
    if not _may_read_metrics(scope):
        await _answer(send, 401, AuthenticationRequired("Send the metrics token as a bearer token.").body())
        return
    await _write(send, 200, CONTENT_TYPE_LATEST.encode(), generate_latest())


def _may_read_metrics(scope) -> bool:
    headers = dict(scope["headers"])
    if settings.METRICS_TOKEN:
        sent = headers.get(b"authorization", b"")
        return hmac.compare_digest(sent, b"Bearer " + settings.METRICS_TOKEN.encode())
    # Behind a proxy every peer is loopback: without a token it must be the machine itself.
    return b"x-forwarded-for" not in headers and bool(scope.get("client")) and ip_address(scope["client"][0]).is_loopback


async def elsewhere(scope, receive, send) -> None:
    """This process plays the other role (``serve --role``)."""
    await _answer(send, 404, ApiNotImplemented("This process does not serve this path.").body())


ROUTES = {"/healthz": healthz, "/readyz": readyz, "/metrics": metrics}


async def _within(check) -> bool:
    try:
        return await asyncio.wait_for(check, CHECK_SECONDS)
    except TimeoutError:
        return False


def _postgres() -> bool:
    return _asks("SELECT 1")


def _migrations() -> bool:
    close_old_connections()
    try:
        executor = MigrationExecutor(connection)
        return not executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError:
        return False
    finally:
        close_old_connections()


def _asks(statement: str) -> bool:
    close_old_connections()
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
        return True
    except DatabaseError:
        return False
    finally:
        close_old_connections()


def _valkey() -> bool:
    try:
        return bool(valkey.client().ping())
    except redis.RedisError:
        return False


def _worker() -> bool:
    try:
        beat = valkey.client().get(HEARTBEAT_KEY)
    except redis.RedisError:
        return False
    return beat is not None and time.time() - int(beat) < HEARTBEAT_SECONDS


async def _answer(send, status: int, body: dict) -> None:
    await _write(send, status, b"application/json", json.dumps(body).encode())


async def _write(send, status: int, content_type: bytes, body: bytes) -> None:
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
