"""GET /metrics: what Prometheus collects of requests, tokens, times, errors and the queue.

No label holds what a caller wrote: a model is named once it has answered, up to a hundred of them, and a path is
one of those there are.
"""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from ollama_mcp.gate import Gate
from ollama_mcp.observation import Observed

MAX_MODELS = 100
UNKNOWN = "unknown"

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)


class _Queue(Collector):
    """The state of the gate at the moment it is asked for."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily("ollama_mcp_requests_running", "Requests at the engine.", self._gate.running)
        yield GaugeMetricFamily(
            "ollama_mcp_requests_waiting", "Requests that wait for their turn.", self._gate.waiting
        )


class Metrics:
    """Counts what it observes, and tells it in Prometheus's form."""

    def __init__(self, gate: Gate) -> None:
        self._registry = registry = CollectorRegistry()
        registry.register(_Queue(gate))
        self._models: set[str] = set()
        by_model = ("operation", "model")
        self._requests = Counter(
            "ollama_mcp_requests", "Requests to models that ended.", (*by_model, "outcome"), registry=registry
        )
        self._tokens_in = Counter("ollama_mcp_tokens_in", "Tokens of prompts.", by_model, registry=registry)
        self._tokens_out = Counter("ollama_mcp_tokens_out", "Tokens of answers.", by_model, registry=registry)
        self._queued = Histogram(
            "ollama_mcp_queue_seconds", "Wait for a turn.", (), buckets=_SECONDS, registry=registry
        )
        self._first_token = Histogram(
            "ollama_mcp_first_token_seconds",
            "Time to the first piece of an answer, the wait included.",
            by_model,
            buckets=_SECONDS,
            registry=registry,
        )
        self._took = Histogram(
            "ollama_mcp_request_seconds", "Time to the end.", by_model, buckets=_SECONDS, registry=registry
        )
        self._http = Counter(
            "ollama_mcp_http_requests", "Answers over HTTP.", ("method", "path", "status"), registry=registry
        )

    def observe(self, seen: Observed) -> Callable[[], None]:
        """Count a request to a model once it has ended."""

        def end() -> None:
            labels = (seen.operation, self._model(seen))
            self._requests.labels(*labels, seen.error or "ok").inc()
            if seen.queued is not None:
                self._queued.observe(seen.queued)
            if seen.first_token is not None:
                self._first_token.labels(*labels).observe(seen.first_token)
            if seen.took is not None:
                self._took.labels(*labels).observe(seen.took)
            if seen.usage is not None:
                self._tokens_in.labels(*labels).inc(seen.usage.prompt_tokens)
                self._tokens_out.labels(*labels).inc(seen.usage.completion_tokens)

        return end

    def answered(self, method: str, path: str, status: int) -> None:
        """Count an answer over HTTP."""
        self._http.labels(method, path, str(status)).inc()

    def _model(self, seen: Observed) -> str:
        name = seen.model or UNKNOWN
        if seen.first_token is not None and len(self._models) < MAX_MODELS:
            self._models.add(name)
        return name if name in self._models else UNKNOWN

    async def respond(self, request: Request) -> Response:
        """All of it, as text."""
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)
