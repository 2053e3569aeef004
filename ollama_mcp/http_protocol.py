"""uvicorn's connections with what it leaves open: deadlines, bounds, and one reading of each byte.

httptools rather than h11: it takes a third of the time for a request. What h11 refuses by itself and httptools
lets pass is refused here: a missing or second Host, two framings at once, encodings beside `chunked`, heads without
an end, chunks that are mostly framing, and trailers, which it would add to the headers.
"""

import asyncio
import json
import logging
import sys
import time
from functools import cache
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from ollama_mcp.guard import MAX_HEADERS

HEAD_SECONDS = 15.0
"""How long the head of a request may take, from the connection or its first byte to its last."""
REST_SECONDS = 5.0
"""How long the rest of a body may come that nobody reads any more, since it has been answered."""
STALLED_SECONDS = 30.0
"""How long a client may leave what was written to it unread."""
KEEP_ALIVE_SECONDS = 5
MAX_PIPELINED = 16
"""Requests of one connection that may wait for the one before them."""
LARGE = 2**16
FRAMING = 8
"""Bytes of framing that a byte of a chunked body may take: a chunk of one byte has five."""
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


class _OneWrite:
    """A transport that writes at the end of a turn of the event loop what was written in it.

    uvicorn writes the head of an answer by itself, and a write that wakes its reader costs as much as all else
    about a small answer.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._waiting: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write, soon."""
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(data)
        if len(data) >= LARGE:
            self._flush()  # so that its reader's pace is felt at once

    def close(self) -> None:
        """Write what waits, and close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._waiting and not self._transport.is_closing():
            self._transport.write(b"".join(self._waiting))
        self._waiting.clear()


class _Misframed(Exception):
    """Ends the parsing of a request."""


class Connection(HttpToolsProtocol):
    """One connection of a client."""

    head_seconds = HEAD_SECONDS
    rest_seconds = REST_SECONDS
    stalled_seconds = STALLED_SECONDS

    _in_head = True
    _in_body = False
    _bounds = 0
    """How many requests began or ended in the bytes being read."""
    _raw = 0
    """Bytes of the request being read, its framing included; never too many, so that no sound request is refused."""
    _content = 0
    """Bytes of its head and body without the framing."""
    _running: RequestResponseCycle | None = None
    _phase: str | None = None
    _since = 0.0
    _deadline: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        """Take a connection, unless there are too many."""
        super().connection_made(cast("asyncio.Transport", _OneWrite(transport, self.loop)))
        self._since = time.monotonic()  # uvloop counts in milliseconds, which does not tell the oldest
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
        """Forget about deadlines, and tell the request under way, which need not be the newest."""
        self._stop_watching()
        self.resume_writing()
        super().connection_lost(exc)
        self._abandon()

    def data_received(self, data: bytes) -> None:
        """Read on."""
        idle, self._bounds = not self._in_body and self._raw == 0, 0
        super().data_received(data)
        if self._bounds == 0 or (idle and self._bounds == 1):
            self._raw += len(data)
        if not self.transport.is_closing() and self._is_overlong():
            self.send_400_response("")
        self._watch()

    def _is_overlong(self) -> bool:
        """Whether a head has no end, or a body is mostly framing."""
        if self._in_head:
            return self._raw > MAX_HEADERS
        return self._in_body and self._raw > MAX_HEADERS + FRAMING * self._content

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_head, self._in_body = True, False
        self._bounds += 1
        self._raw = self._content = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; a trailer is none."""
        if self._in_head:
            self._content += len(name) + len(value)
            super().on_header(name, value.strip(b" \t"))  # what stands around a value is no part of it

    def on_headers_complete(self) -> None:
        """Begin to answer a request whose framing is beyond doubt."""
        if len(self.url) > MAX_HEADERS or _is_ambiguous(self.headers, self.parser.get_http_version()):
            raise _Misframed
        if len(self.pipeline) >= MAX_PIPELINED:
            raise _Misframed
        self._in_head, self._in_body = False, True
        super().on_headers_complete()
        if self.parser.should_upgrade():
            self.cycle.keep_alive = False  # the parser takes what follows for another protocol

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        """Take in a part of a body."""
        self._content += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request has come whole."""
        super().on_message_complete()
        self._bounds += 1
        self._in_head, self._in_body = True, False
        self._raw = self._content = 0

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
        if self._running is not None and self._running.response_started and not self._running.response_complete:
            self.transport.abort()
            return
        self._abandon()
        message = f"This is not a valid HTTP/1.1 request, or its headers are larger than {MAX_HEADERS // 2**10} KiB."
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": "invalid_request"}
        body = json.dumps({"error": error, "detail": message}).encode()
        head = f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n" + head.encode() + body)
        self.transport.close()

    def _abandon(self) -> None:
        """Nobody hears any more what the request under way, or one that waits for it, has to say."""
        self.pipeline.clear()
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()

    def _watch(self) -> None:
        """Have a deadline on what the client is sending, counted from when it began."""
        phase, seconds = None, 0.0
        if self._running is None or self._running.response_complete:
            phase, seconds = ("rest", self.rest_seconds) if self._in_body else ("head", self.head_seconds)
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


def _is_ambiguous(headers: list[tuple[bytes, bytes]], version: str) -> bool:
    """Whether a proxy before this server could have read the request in another way."""
    hosts = sum(name == b"host" for name, _ in headers)
    encodings = [value for name, value in headers if name == b"transfer-encoding"]
    if encodings and (encodings[0].strip().lower() != b"chunked" or len(encodings) > 1):
        return True
    return hosts > 1 or (hosts == 0 and version != "1.0")
