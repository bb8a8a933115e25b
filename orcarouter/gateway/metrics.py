"""What the gateway counts, for ``/metrics``. No label carries a name that a caller can choose.

What is counted with every call is counted here, by the event loop alone: the library's own counters, which any thread may
use, take a twentieth of a call's CPU.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class Tally(Collector):
    """A counter: ``counts[labels] += 1``."""

    def __init__(self, name: str, text: str, labels: tuple[str, ...]) -> None:
        self._name, self._text, self._labels = name, text, labels
        self.counts: dict[tuple[object, ...], int] = defaultdict(int)
        REGISTRY.register(self)

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        for labels, count in list(self.counts.items()):
            family.add_metric([str(label) for label in labels], count)
        yield family


class Durations(Collector):
    """A histogram of seconds, by at most one label."""

    def __init__(self, name: str, text: str, labels: tuple[str, ...] = ()) -> None:
        self._name, self._text, self._labels = name, text, labels
        self._bounds = Histogram.DEFAULT_BUCKETS
        #: How many fell into each bucket, and how long they took together.
        self._rows: dict[tuple[str, ...], tuple[list[int], list[float]]] = {}
        REGISTRY.register(self)

    def observe(self, seconds: float, labels: tuple[str, ...] = ()) -> None:
        row = self._rows.get(labels)
        if row is None:
            row = self._rows[labels] = [0] * len(self._bounds), [0.0]
        row[0][bisect_left(self._bounds, seconds)] += 1
        row[1][0] += seconds

    def collect(self) -> Iterator[HistogramMetricFamily]:
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        for labels, (counts, total) in list(self._rows.items()):
            buckets = zip(map(floatToGoString, self._bounds), accumulate(counts), strict=True)
            family.add_metric(labels, buckets=list(buckets), sum_value=total[0])
        yield family


CALLS = Tally("orca_calls", "Relay calls by route and HTTP status", ("route", "status"))
DECISIONS = Tally("orca_decisions", "Firewall decisions by surface and verdict", ("surface", "verdict"))
LATENCY = Durations("orca_call_seconds", "Seconds from the first byte of a call to the last of its answer", ("route",))
UPSTREAM_SECONDS = Durations("orca_upstream_first_byte_seconds", "Seconds until a provider's first byte")
UPSTREAM_FAILURES = Counter("orca_upstream_failures_total", "Provider calls that failed, by kind", ["kind"])
OPEN_STREAMS = Gauge("orca_open_streams", "Calls that are being answered")
GRANT_LOADS = Counter("orca_grant_loads_total", "Reads of a key's configuration from PostgreSQL", ["outcome"])
VALKEY_AWAY = Counter("orca_valkey_away_total", "Calls admitted without Valkey")
NOT_RECORDED = Counter("orca_not_recorded_total", "Calls refused because their record did not stand")
