"""uvicorn's connections with what it leaves open: deadlines, a bound on their number, and one way to end a line.

h11 rather than httptools: it refuses a missing or duplicate Host, large headers and large chunk extensions by
itself, and what it lets pass is seen here (bare line feeds) and by the guard (two framings at once).
"""

import asyncio
import json
import logging
import sys
from functools import cache
from typing import Any

import h11
import uvicorn
from h11._receivebuffer import ReceiveBuffer
from uvicorn.protocols.http.h11_impl import H11Protocol

from ollama_mcp.guard import MAX_HEADERS

HEAD_SECONDS = 15.0
"""How long the head of a request may take, from the connection or its first byte to its last."""
REST_SECONDS = 5.0
"""How long the rest of a body may come that nobody reads any more, since it has been answered."""
STALLED_SECONDS = 30.0
"""How long a client may leave what was written to it unread."""
KEEP_ALIVE_SECONDS = 5
MAX_CONNECTIONS = 1000

logger = logging.getLogger(__name__)


def server_config(app: Any, *, drain_seconds: int) -> uvicorn.Config:
    """How uvicorn serves an application here."""
    return uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        # The address of a caller is where the connection comes from, not what a header says.
        proxy_headers=False,
        h11_max_incomplete_event_size=MAX_HEADERS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=drain_seconds,
    )


@cache
def max_connections() -> int:
    """How many connections are kept; each may need a second file to the engine, and a few are for all else."""
    if sys.platform == "win32":
        return MAX_CONNECTIONS
    import resource

    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if files == resource.RLIM_INFINITY else max(8, min(MAX_CONNECTIONS, (files - 32) // 2))


class _StrictBuffer(ReceiveBuffer):
    """h11's buffer, which takes a bare line feed for the end of a line; other readers do not."""

    _reads_lines = False

    def maybe_extract_lines(self) -> list[bytearray] | None:
        """The lines of a head or a trailer, once it is complete."""
        self._reads_lines = True
        try:
            return super().maybe_extract_lines()
        finally:
            self._reads_lines = False

    def _extract(self, count: int) -> bytearray:
        data = super()._extract(count)
        if self._reads_lines and data.count(b"\n") != data.count(b"\r\n"):
            raise h11.LocalProtocolError("bare line feed")
        return data


class Connection(H11Protocol):
    """One connection of a client."""

    head_seconds = HEAD_SECONDS
    rest_seconds = REST_SECONDS
    stalled_seconds = STALLED_SECONDS

    _phase: str | None = None
    _since = 0.0
    _deadline: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.conn._receive_buffer = _StrictBuffer()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        """Take a connection, unless there are too many."""
        super().connection_made(transport)
        self._since = self.loop.time()
        if len(self.connections) > max_connections() and not self._make_room():
            logger.warning("a connection was closed: there are %d already", max_connections())
            transport.abort()
            return
        self._watch()

    def _make_room(self) -> bool:
        """Close the oldest connection on which no request has come, if there is one."""
        idle = [other for other in self.connections if isinstance(other, Connection) and other._phase == "head"]
        if not idle:
            return False
        min(idle, key=lambda other: other._since).transport.abort()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget about deadlines."""
        self._stop_watching()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for the next request, and no longer for what is left of this one."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """Note since when the client does not read."""
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(self.stalled_seconds, self._cut, "did not read its answer")

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def timeout_keep_alive_handler(self) -> None:
        """End an idle connection, even if its client has not read all of the last answer."""
        super().timeout_keep_alive_handler()
        self.loop.call_later(self.rest_seconds, self.transport.abort)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, or end the connection if an answer is under way."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE) or (
            self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        ):
            self.transport.abort()
            return
        message = f"This is not a valid HTTP/1.1 request, or its headers are larger than {MAX_HEADERS // 2**10} KiB."
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": "invalid_request"}
        body = json.dumps({"error": error, "detail": message}).encode()
        headers = [("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close")]
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _watch(self) -> None:
        """Have a deadline on what the client is sending, counted from when it began."""
        phase, seconds = None, 0.0
        if self.conn.their_state is h11.IDLE:
            phase, seconds = "head", self.head_seconds
        elif self.conn.their_state is h11.SEND_BODY and self.conn.our_state is h11.DONE:
            phase, seconds = "rest", self.rest_seconds
        if phase == self._phase:
            return
        self._stop_watching()
        self._phase = phase
        if phase is not None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(seconds, self._cut, "sent its request too slowly")

    def _stop_watching(self) -> None:
        self._phase = None
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _cut(self, why: str) -> None:
        logger.info("a connection was closed: its client %s", why)
        self.transport.abort()
