"""What the gateway measures about itself, in Prometheus' text format.

Names follow Prometheus' rules: prefix `gateway_`, base units, `_total` for counters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384)
BY_RELEASE = ("model", "version")

UNKNOWN = "unknown"
"""The model label of requests without a valid key, and of requests for an unknown model."""

Queue = tuple[str, str, int, int]
"""Model, version, waiting rows, rows in flight."""


class _Queues(Collector):
    """Reads queue sizes from the lanes at scrape time."""

    def __init__(self, queues: Callable[[], Iterable[Queue]]) -> None:
        self._queues = queues

    def collect(self) -> Iterator[Metric]:
        waiting = GaugeMetricFamily(
            "gateway_waiting_rows", "Rows that wait for a call.", labels=BY_RELEASE
        )
        in_flight = GaugeMetricFamily(
            "gateway_in_flight_rows", "Rows in a call to a model server.", labels=BY_RELEASE
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
    """The measures of one gateway. A process with several gateways has several registries."""

    def __init__(
        self, queues: Callable[[], Iterable[Queue]], *, version: str = "", revision: str = ""
    ) -> None:
        """Count from zero.

        Args:
            queues: Called at each scrape.
            version: Ratchet's version.
            revision: The commit that the code was built from.
        """
        self._registry = registry = CollectorRegistry()
        Info("gateway_build", "Which code runs.", registry=registry).info(
            {"version": version, "revision": revision}
        )
        self._requests = Counter(
            "gateway_requests_total",
            "Answered requests.",
            [*BY_RELEASE, "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "gateway_request_duration_seconds",
            "Time from the headers of a request to its answer.",
            ["model"],
            buckets=SECONDS,
            registry=registry,
        )
        self._rows = Histogram(
            "gateway_block_rows",
            "Rows of one block that a model server answered.",
            ["model"],
            buckets=ROWS,
            registry=registry,
        )
        self._series: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        registry.register(_Queues(queues))
        self._new_series(UNKNOWN, "", 401)  # from the start: requests without a key add no series

    def count(self, model: str, version: str, status: int, seconds: float) -> None:
        """Count one answered request. `model` is a served model or UNKNOWN, no caller's word."""
        series = self._series.get((model, version, status))
        requests, duration = series or self._new_series(model, version, status)
        requests.inc()
        duration.observe(seconds)

    def _new_series(self, model: str, version: str, status: int) -> tuple[Counter, Histogram]:
        series = (self._requests.labels(model, version, str(status)), self._seconds.labels(model))
        self._series[model, version, status] = series
        return series

    def block(self, model: str, rows: int) -> None:
        """Count one answered block."""
        self._rows.labels(model).observe(rows)

    def to_bytes(self) -> bytes:
        """Return all measures in Prometheus' text format."""
        return generate_latest(self._registry)
