"""GET /health, /health/live and /health/ready."""

import asyncio
import time

from starlette.requests import Request
from starlette.responses import Response

from ollama_mcp.openai_api.wire import JSON
from ollama_mcp.service import Health, Service

MAX_AGE = 2.0


class Probe:
    """The engine's health, asked for at most every two seconds however often it is looked at."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._lock = asyncio.Lock()
        self._last: Health | None = None
        self._taken_at = 0.0

    async def health(self) -> Health:
        """The health, at most `MAX_AGE` seconds old."""
        async with self._lock:
            if self._last is None or time.monotonic() - self._taken_at > MAX_AGE:
                self._last = await self._service.health()
                self._taken_at = time.monotonic()
            return self._last

    async def full(self, request: Request) -> Response:
        """Both the server and its engine; 200 as long as the server is there to answer."""
        return JSON(_body(await self.health()))

    async def live(self, request: Request) -> Response:
        """Whether this process answers; the engine is not asked."""
        return JSON({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """Whether requests can be served: 503 if the engine is not reachable."""
        health = await self.health()
        return JSON(_body(health), 200 if health.reachable else 503)


def _body(health: Health) -> dict[str, object]:
    return {"status": health.status, "ollama_url": health.address, **health.model_dump(exclude={"status"})}
