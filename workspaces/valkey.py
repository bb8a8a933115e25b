"""The shared Valkey, for the control plane: never the only copy of anything, and never waited for long."""

from functools import cache

import redis
from django.conf import settings

#: What "Valkey is away" looks like to a caller.
Unavailable = (redis.ConnectionError, redis.TimeoutError, redis.exceptions.BusyLoadingError)


@cache
def client() -> redis.Redis:
    """One pooled client a process; every command gives up after ``VALKEY_SECONDS``."""
    patience = settings.VALKEY_SECONDS
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=patience, socket_connect_timeout=patience, health_check_interval=30)


def version_key(workspace_id: int) -> str:
    """The configuration version of a workspace: a hash ``{v: the number, dirty: writers between change and commit}``."""
    return f"orca:{{{workspace_id}}}:version"


def feed_channel(workspace_id: int) -> str:
    """Pub/sub channel that says new events exist. A hint only: listeners read the rows from PostgreSQL."""
    return f"orca:{{{workspace_id}}}:feed"
