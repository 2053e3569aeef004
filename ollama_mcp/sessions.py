"""Sessions of the handshake era over HTTP, whose streams a client can take up again after its connection broke.

The SDK hands one store of events to all sessions and names streams by request ids, which every client
counts from one, so a client could be given what another one missed. Here each session has its own.
"""

import itertools
import socket
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from types import FrameType
from typing import Any
from uuid import uuid4

import anyio
import orjson
import uvicorn
from mcp.server import Server as LowLevelServer
from mcp.server.auth.middleware.bearer_auth import AuthorizationContext
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore, StreamableHTTPServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.subscriptions import ListenHandler
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import INVALID_REQUEST, JSONRPCMessage
from sse_starlette.sse import AppStatus
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Send

from ollama_mcp.settings import Settings

MAX_BODY = 16 * 2**20
"""Bytes of the longest request, as over stdio; images make requests long."""

MAX_STREAM_EVENTS = 1000
MAX_STREAM_BYTES = 4 * 2**20
MAX_EVENTS = 50_000
MAX_BYTES = 64 * 2**20
NO_MESSAGE = (
    "Invalid request: a JSON-RPC 2.0 message has jsonrpc, a method as text, params as an object, and an id; a body "
    "has one message"
)
RETRY_MILLISECONDS = 1000
"""How long a client is asked to wait before it takes up a broken stream."""
MARGIN = 0.3
"""Seconds by which sessions end before uvicorn cuts off what is left."""
EVENT_BYTES = 200
"""What an event takes in memory beside its text, about."""


@dataclass(frozen=True)
class _Event:
    number: int
    message: JSONRPCMessage | None
    size: int


@dataclass(eq=False)
class _Stream:
    forget: Callable[[], object]
    """Has its owner know it no more."""
    events: deque[_Event] = field(default_factory=deque)
    bytes: int = 0
    dropped: int = 0
    """The newest event that is kept no more."""


class EventBudget:
    """How much all sessions keep together; beyond it the stream that was silent for longest is forgotten."""

    def __init__(self, *, max_events: int = MAX_EVENTS, max_bytes: int = MAX_BYTES) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._streams: OrderedDict[_Stream, None] = OrderedDict()
        self.events = 0
        self.bytes = 0

    def add(self, stream: _Stream, event: _Event) -> None:
        """Keep an event, and let go of what is too much."""
        stream.events.append(event)
        self._count(stream, 1, event.size)
        self._streams[stream] = None
        self._streams.move_to_end(stream)
        while len(stream.events) > MAX_STREAM_EVENTS or stream.bytes > MAX_STREAM_BYTES:
            oldest = stream.events.popleft()
            stream.dropped = oldest.number
            self._count(stream, -1, -oldest.size)
        while self.events > self._max_events or self.bytes > self._max_bytes:
            self.forget(next(iter(self._streams)))

    def forget(self, stream: _Stream) -> None:
        """Let go of a whole stream."""
        self._count(stream, -len(stream.events), -stream.bytes)
        if stream.events:
            stream.dropped = stream.events[-1].number
        stream.events.clear()
        self._streams.pop(stream, None)
        stream.forget()

    def _count(self, stream: _Stream, events: int, size: int) -> None:
        stream.bytes += size
        self.events += events
        self.bytes += size


class SessionEvents(EventStore):
    """What one session's streams sent."""

    def __init__(self, budget: EventBudget) -> None:
        self._budget = budget
        self._streams: dict[str, _Stream] = {}
        self._numbers = itertools.count(1)

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        """Keep an event; its id."""
        size = EVENT_BYTES + (len(message.model_dump_json(by_alias=True, exclude_unset=True)) if message else 0)
        event = _Event(next(self._numbers), message, size)
        stream = self._streams.get(stream_id)
        if stream is None:
            stream = self._streams[stream_id] = _Stream(partial(self._streams.pop, stream_id, None))
        self._budget.add(stream, event)
        return str(event.number)

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        """Send again what came after an event on its stream; the stream, or None if some of it is kept no more.

        Nothing is awaited between the last look for events and the return, so that none comes unseen.
        """
        for stream_id, stream in list(self._streams.items()):
            seen = next((event.number for event in stream.events if str(event.number) == last_event_id), None)
            if seen is None:
                continue
            while (event := next((event for event in stream.events if event.number > seen), None)) is not None:
                seen = event.number
                if event.message is not None:
                    await send_callback(EventMessage(event.message, str(event.number)))
            return stream_id if stream.dropped <= seen else None
        return None

    def knows(self, stream_id: str) -> bool:
        """Whether anything is kept of a stream."""
        return stream_id in self._streams

    def close(self) -> None:
        """Let go of everything."""
        for stream in list(self._streams.values()):
            self._budget.forget(stream)


class Sessions(StreamableHTTPSessionManager):
    """The SDK's manager of sessions, with a store of events for each, and an end for streams that only listen."""

    def __init__(self, server: LowLevelServer[Any], settings: Settings) -> None:
        super().__init__(
            server,
            # The SDK's own check of Host and Origin goes by prefixes; the guard's is exact and stands before it.
            security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
            max_request_body_size=MAX_BODY,
            max_sessions=settings.max_sessions,
            session_idle_timeout=settings.session_idle_timeout,
        )
        self._budget = EventBudget()
        self._stores: dict[str, SessionEvents] = {}

    def end_listening(self) -> None:
        """Close the streams that wait for something to happen, in both eras; calls under way go on."""
        for transport in self._server_instances.values():
            transport.close_standalone_sse_stream()
        listen = self.app.get_request_handler("subscriptions/listen")
        if listen is not None and isinstance(listen.handler, ListenHandler):
            listen.handler.close()

    async def end_calls(self) -> None:
        """Close every session, and with it the streams of its calls."""
        for session_id, transport in list(self._server_instances.items()):
            await self._discard_session(session_id, transport)

    def _admit_session(self, requestor: AuthorizationContext | None) -> StreamableHTTPServerTransport | None:
        if self.max_sessions is not None and len(self._server_instances) >= self.max_sessions:
            return None
        session_id = uuid4().hex
        store = self._stores[session_id] = SessionEvents(self._budget)
        transport = _Transport(session_id, store, self.security_settings, self.session_idle_timeout)
        self._server_instances[session_id] = transport
        if requestor is not None:
            self._session_owners[session_id] = requestor
        return transport

    async def _discard_session(self, session_id: str, transport: StreamableHTTPServerTransport) -> None:
        if (store := self._stores.pop(session_id, None)) is not None:
            store.close()
        await super()._discard_session(session_id, transport)


class _Transport(StreamableHTTPServerTransport):
    def __init__(
        self,
        session_id: str,
        store: SessionEvents,
        security: TransportSecuritySettings | None,
        idle_timeout: float | None,
    ) -> None:
        super().__init__(
            session_id,
            event_store=store,
            retry_interval=RETRY_MILLISECONDS,
            security_settings=security,
            idle_timeout=idle_timeout,
        )
        self._store = store

    async def _mint_priming_event(self, stream_id: str, protocol_version: str) -> dict[str, Any] | None:
        # To prime a stream that is taken up the SDK awaits before it listens, and what comes then would be lost.
        if self._store.knows(stream_id):
            return None
        return await super()._mint_priming_event(stream_id, protocol_version)

    async def _validate_request_headers(self, request: Request, send: Send) -> bool:
        if not await super()._validate_request_headers(request, send):
            return False
        if request.method != "POST":
            return True
        # The body has been read by now. A second request by the same id would take the first one's stream from it,
        # which then would never end.
        message = orjson.loads(await request.body())
        if "method" not in message or str(message.get("id")) not in self._request_streams:
            return True
        refusal = self._create_error_response(
            "A request with this id is under way in this session; give each request an id of its own",
            HTTPStatus.BAD_REQUEST,
        )
        await refusal(request.scope, request.receive, send)
        return False

    def _create_error_response(
        self,
        error_message: str,
        status_code: HTTPStatus,
        error_code: int = INVALID_REQUEST,
        headers: dict[str, str] | None = None,
    ) -> Response:
        if error_message.startswith("Validation error"):
            # The SDK would show how pydantic tried one kind of message after the other.
            error_message, error_code = NO_MESSAGE, INVALID_REQUEST
        return super()._create_error_response(error_message, status_code, error_code, headers)


class HttpServer(uvicorn.Server):
    """Ends streams that only listen as soon as it is told to end, so that it waits for real work alone."""

    def __init__(self, config: uvicorn.Config, sessions: Sessions) -> None:
        super().__init__(config)
        self._sessions = sessions
        # It would cut off every stream of the SDK's as soon as a signal comes, calls under way too.
        AppStatus.enable_automatic_graceful_drain = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End, at once when told a second time by any signal; uvicorn by itself heeds only SIGINT then."""
        if self.should_exit:
            self.force_exit = True
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait for what is under way, for as long as the configuration says."""
        self._sessions.end_listening()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._end_calls)
            await super().shutdown(sockets)
            tasks.cancel_scope.cancel()

    async def _end_calls(self) -> None:
        # A little before uvicorn loses patience, since the SDK gives a stream that is cut off another second.
        await anyio.sleep(max(0.0, (self.config.timeout_graceful_shutdown or 0) - MARGIN))
        await self._sessions.end_calls()
