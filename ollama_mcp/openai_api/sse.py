"""Server-sent events: true status for an early failure, pings while nothing comes, nothing held back."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ollama_mcp.errors import ServerEnding, ServiceError
from ollama_mcp.openai_api.disconnect import client_gone, end
from ollama_mcp.openai_api.errors import body_of
from ollama_mcp.openai_api.middleware import log_failure
from ollama_mcp.openai_api.wire import dumps

PING = b": ping\n\n"
MOST_WAITING = 64
"""How many events may be read ahead of a client that does not take them."""

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
        clock = asyncio.get_running_loop().time
        started, writing = False, False
        last = clock()

        async def write(data: bytes) -> None:
            nonlocal started, writing, last
            writing = True
            if not started:
                started = True
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": data, "more_body": True})
            writing = False
            last = clock()

        # Events that are there at once leave in one write, since a write costs more than all else about an event:
        # while events come without a wait, only the reader runs.
        waiting: list[bytes] = []
        arrived, room = asyncio.Event(), asyncio.Event()
        ended = False

        async def read_all() -> None:
            nonlocal ended
            try:
                async with aclosing(self._events) as events:
                    async for event in events:
                        waiting.append(event)
                        arrived.set()
                        if len(waiting) >= MOST_WAITING:
                            room.clear()
                            await room.wait()
            finally:
                ended = True
                arrived.set()

        # The events are read in one task from start to end: a wait with a timeout around each of them
        # would cancel the generator that makes them.
        reader = asyncio.create_task(read_all())

        async def write_all() -> None:
            while waiting or not ended:
                await arrived.wait()
                arrived.clear()
                if waiting:
                    data = b"".join(waiting)
                    waiting.clear()
                    room.set()
                    await write(data)
            await reader

        writer = asyncio.create_task(write_all())
        gone = asyncio.create_task(client_gone(receive))
        try:
            while not writer.done():
                pause = self._heartbeat if writing else max(0.0, last + self._heartbeat - clock())
                await asyncio.wait({writer, gone}, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    return
                if not writer.done() and not writing and clock() - last >= self._heartbeat:
                    await write(PING)
            if (error := writer.exception()) is not None:
                if not started or not isinstance(error, Exception):
                    raise error
                if not isinstance(error, ServiceError):
                    log_failure(error, "stream")
                await write(self._failure(error))
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except asyncio.CancelledError:
            # uvicorn was told to end and has waited long enough. A client that does not read is not waited for.
            await end(writer, gone)
            if writing:
                raise
            if not started:
                raise ServerEnding from None
            await write(self._failure(ServerEnding()))
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await end(writer, reader, gone)
