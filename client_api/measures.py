"""What the gateway measures about itself, as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384)

UNKNOWN = "unknown"
"""The label of all requests without a valid key, and of those for a model that the gateway does not know."""

Queue = tuple[str, str, int, int]
"""Model, version, waiting rows, rows in flight."""


class _Queues(Collector):
    """Asks the lanes when somebody asks us: a gauge that nobody has to keep."""

    def __init__(self, queues: Callable[[], Iterable[Queue]]) -> None:
        self._queues = queues

    def collect(self) -> Iterator[Metric]:
        waiting = GaugeMetricFamily(
            "client_api_waiting_rows", "Rows that wait for a call.", labels=["model", "version"]
        )
        in_flight = GaugeMetricFamily(
            "client_api_in_flight_rows", "Rows in a call.", labels=["model", "version"]
        )
        totals: dict[tuple[str, str], list[int]] = {}
        for model, version, waiting_rows, in_flight_rows in self._queues():
            total = totals.setdefault((model, version), [0, 0])
            total[0] += waiting_rows
            total[1] += in_flight_rows
        for labels, (waiting_rows, in_flight_rows) in totals.items():
            waiting.add_metric(labels, waiting_rows)
            in_flight.add_metric(labels, in_flight_rows)
        yield from (waiting, in_flight)


class Measures:
    """One registry a gateway: several may live in one process."""

    def __init__(self, queues: Callable[[], Iterable[Queue]]) -> None:
        """Count from zero; `queues` is asked at each scrape."""
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "client_api_requests",
            "Answered requests.",
            ["model", "version", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "client_api_request_seconds",
            "From the first byte of a request to its answer.",
            ["model"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self._rows = Histogram(
            "client_api_block_rows",
            "Rows that went to a server as one block.",
            ["model"],
            buckets=ROWS,
            registry=self._registry,
        )
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._registry.register(_Queues(queues))
        self._series(
            UNKNOWN, "", 401
        )  # there from the start: a request without a key adds no series

    def count(self, model: str, version: str, status: int, seconds: float) -> None:
        """Count one answered request; `model` is a name that the gateway knows, or UNKNOWN: never a caller's word."""
        requests, latency = self._known.get((model, version, status)) or self._series(
            model, version, status
        )
        requests.inc()
        latency.observe(seconds)

    def _series(self, model: str, version: str, status: int) -> tuple[Counter, Histogram]:
        series = (self._requests.labels(model, version, str(status)), self._seconds.labels(model))
        self._known[model, version, status] = series
        return series

    def block(self, model: str, rows: int) -> None:
        """Count one block."""
        self._rows.labels(model).observe(rows)

    def to_bytes(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self._registry)
