"""Numbers for Prometheus: what is asked, how long each stage takes, what waits."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily

from storage.errors import StorageError

TEXT = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """All of one application's. Thread safe."""

    def __init__(self, service) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "panoptes_requests_total", "Requests answered.", ["method", "endpoint", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "panoptes_request_seconds", "Time to an answer.", ["endpoint"], buckets=BUCKETS, registry=self._registry
        )
        self._stages = Histogram(
            "panoptes_stage_seconds", "Time of a search's stage.", ["stage"], buckets=BUCKETS, registry=self._registry
        )
        self._batches = Histogram(
            "panoptes_batch_rows", "Rows that the encoder computed at once, without padding: images, texts or pairs.", ["kind"],
            buckets=ROWS, registry=self._registry,
        )  # fmt: skip
        self._registry.register(_State(service))

    def answered(self, method: str, endpoint: str, status: int, seconds: float) -> None:
        """Counts one request; `endpoint` is a route's name, of which there are few."""
        self._requests.labels(method, endpoint, str(status)).inc()
        self._seconds.labels(endpoint).observe(seconds)

    def searched(self, took_ms: dict[str, float]) -> None:
        """Counts one search's stages."""
        for stage, ms in took_ms.items():
            self._stages.labels(stage).observe(ms / 1000)

    def encoded(self, kind: str, rows: int) -> None:
        """Counts one batch of the encoder's."""
        self._batches.labels(kind).observe(rows)

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self._registry)


class _State:
    """What is so at the moment of asking."""

    def __init__(self, service) -> None:
        self._service = service

    def collect(self):
        service = self._service
        try:
            version = service.snapshot().version
        except StorageError:
            version = 0
        for name, said, value in (
            ("panoptes_index_version", "The version that is searched; 0 where nothing is indexed.", version),
            ("panoptes_model_ready", "1 once the model is loaded and warmed up.", int(service.state == "ready")),
            ("panoptes_searches_running", "Searches under way.", service.gate.inside),
            ("panoptes_searches_waiting", "Searches that wait for their turn.", service.gate.waiting),
        ):
            yield GaugeMetricFamily(name, said, value=value)
