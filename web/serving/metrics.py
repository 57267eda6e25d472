"""Numbers for Prometheus: requests, the time of each stage, batches of the encoder, and what waits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from storage.errors import StorageError

if TYPE_CHECKING:
    from web.service import SearchService

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
ROWS_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The numbers of one application. Thread safe."""

    def __init__(self, service: SearchService) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "panoptes_requests_total", "Requests answered.", ["method", "endpoint", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "panoptes_request_seconds", "Time to an answer.", ["endpoint"], buckets=SECONDS_BUCKETS, registry=self._registry
        )
        self._stages = Histogram(
            "panoptes_stage_seconds", "Time of a search's stage.", ["stage"], buckets=SECONDS_BUCKETS, registry=self._registry
        )
        self._batches = Histogram(
            "panoptes_batch_rows", "Rows that the encoder computed at once, without padding: images, texts or pairs.", ["kind"],
            buckets=ROWS_BUCKETS, registry=self._registry,
        )  # fmt: skip
        self._registry.register(_Gauges(service))

    def count_request(self, method: str, endpoint: str, status: int, seconds: float) -> None:
        """Count one request; `endpoint` is a route's name, of which there are few."""
        self._requests.labels(method, endpoint, str(status)).inc()
        self._seconds.labels(endpoint).observe(seconds)

    def count_search(self, took_ms: dict[str, float]) -> None:
        """Count one search by its stages, in milliseconds."""
        for stage, ms in took_ms.items():
            self._stages.labels(stage).observe(ms / 1000)

    def count_batch(self, kind: str, rows: int) -> None:
        """Count one batch of the encoder; `kind` is "images", "texts" or "pairs"."""
        self._batches.labels(kind).observe(rows)

    def text(self) -> bytes:
        """All numbers in Prometheus' text format."""
        return generate_latest(self._registry)


class _Gauges(Collector):
    """Numbers that are read when they are asked for."""

    def __init__(self, service: SearchService) -> None:
        self._service = service

    def collect(self) -> Iterator[GaugeMetricFamily]:
        service = self._service
        try:
            version = service.snapshot().version
        except StorageError:
            version = 0
        for name, documentation, value in (
            ("panoptes_index_version", "The version that is searched; 0 where nothing is indexed.", version),
            ("panoptes_model_ready", "1 once the model is loaded and warmed up.", int(service.state == "ready")),
            ("panoptes_searches_running", "Searches under way.", service.admission.running),
            ("panoptes_searches_waiting", "Searches that wait for their turn.", service.admission.waiting),
        ):
            yield GaugeMetricFamily(name, documentation, value=value)
