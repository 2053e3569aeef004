"""Server-sent events: true status for an early failure, pings while nothing comes, nothing held back."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ollama_mcp.errors import ServerEnding, ServiceError
from ollama_mcp.openai_api.disconnect import WhileThere
from ollama_mcp.openai_api.errors import body_of
from ollama_mcp.openai_api.middleware import log_failure
from ollama_mcp.openai_api.wire import dumps

PING = b": ping\n\n"

DONE = b"data: [DONE]\n\n"

_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",  # nginx would else gather the tokens
}


def error_event(error: Exception) -> bytes:
    """A failure in the middle, as the official clients read it."""
    return b"data: " + dumps(body_of(error)) + b"\n\n"


class EventStream(Response):
    """Sends events as they come; the headers go with the first, or with a ping after `heartbeat` seconds.

    What the events raise before that is raised here, for the error handlers; later it is told by an event
    made by `failure`. The events are closed when the client leaves.
    """

    def __init__(
        self, events: AsyncGenerator[bytes], *, heartbeat: float, failure: Callable[[Exception], bytes] = error_event
    ) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers(_HEADERS)
        self._events = events
        self._heartbeat = heartbeat
        self._failure = failure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the events or the client have ended."""
        writer = _Writer(send, self.raw_headers, self._heartbeat)
        try:
            async with WhileThere(receive) as client, aclosing(self._events) as events:
                async for data in events:
                    await writer.write(data)
            if not client.left:
                await writer.end()
        except asyncio.CancelledError:
            # uvicorn was told to end and has waited long enough. A client that does not read is not waited for.
            if writer.busy:
                raise
            if not writer.started:
                raise ServerEnding from None
            await writer.end(self._failure(ServerEnding()))
        except Exception as error:
            if not writer.started:
                raise
            if not isinstance(error, ServiceError):
                log_failure(error, "stream")
            await writer.end(self._failure(error))
        finally:
            writer.close()


class _Writer:
    """One answer on its way out, with a ping after each `heartbeat` seconds without anything else."""

    def __init__(self, send: Send, headers: Any, heartbeat: float) -> None:
        self.started = False
        self.busy = False
        """Whether a write is under way, which it stays for as long as the client does not read."""
        self._send = send
        self._headers = headers
        self._heartbeat = heartbeat
        self._turn = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._timer = self._loop.call_later(heartbeat, self._beat)
        self._ping: asyncio.Task[None] | None = None

    async def write(self, data: bytes) -> None:
        """Send a part of the answer."""
        async with self._turn:
            self.busy = True
            if not self.started:
                self.started = True
                await self._send({"type": "http.response.start", "status": 200, "headers": self._headers})
            await self._send({"type": "http.response.body", "body": data, "more_body": True})
            self.busy = False
        self._last = self._loop.time()

    async def end(self, data: bytes = b"") -> None:
        """Send the last part; there must have been one before."""
        self.close()
        async with self._turn:
            await self._send({"type": "http.response.body", "body": data, "more_body": False})

    def _beat(self) -> None:
        pause = self._heartbeat - (self._loop.time() - self._last)
        if pause <= 0:
            pause = self._heartbeat
            if not self.busy:
                self._ping = self._loop.create_task(self.write(PING))
        self._timer = self._loop.call_later(pause, self._beat)

    def close(self) -> None:
        """Send no more pings."""
        self._timer.cancel()
        if self._ping is not None:
            self._ping.cancel()
