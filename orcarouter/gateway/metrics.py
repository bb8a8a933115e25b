"""What the gateway counts, for ``/metrics``. No label carries a name that a caller can choose."""

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

CALLS = Counter("orca_calls_total", "Relay calls by route and HTTP status", ["route", "status"])
DECISIONS = Counter("orca_decisions_total", "Firewall decisions by surface and verdict", ["surface", "verdict"])
LATENCY = Histogram("orca_call_seconds", "Seconds from the first byte of a call to the last of its answer", ["route"])
UPSTREAM_SECONDS = Histogram("orca_upstream_first_byte_seconds", "Seconds until a provider's first byte")
UPSTREAM_FAILURES = Counter("orca_upstream_failures_total", "Provider calls that failed, by kind", ["kind"])
OPEN_STREAMS = Gauge("orca_open_streams", "Streams being relayed")
GRANT_LOADS = Counter("orca_grant_loads_total", "Reads of a key's configuration from PostgreSQL", ["outcome"])
VALKEY_AWAY = Counter("orca_valkey_away_total", "Calls admitted without Valkey")
NOT_RECORDED = Counter("orca_not_recorded_total", "Calls refused because their record did not stand")

# Finding the child of some labels costs more than counting: these are found once.
calls_of = cache(CALLS.labels)
decisions_of = cache(DECISIONS.labels)
latency_of = cache(LATENCY.labels)
