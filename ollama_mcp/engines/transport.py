"""HTTP to an engine: the connection pool, the byte reader, and the one translation of foreign errors."""

import asyncio
import logging
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import aiohttp
import httpx
import orjson
from aiohttp.client_proto import ResponseHandler
from httpx_aiohttp import AiohttpTransport

from ollama_mcp.errors import EngineUnavailable, GenerationBroken, InvalidRequest, MalformedAnswer

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT = 2.0
MAX_LINE = 16 * 1024 * 1024
MAX_BODY = 256 * 1024 * 1024
"""Room for a thousand long vectors; no other answer comes near it."""

TIMEOUT = httpx.Timeout(None, connect=CONNECT_TIMEOUT, pool=CONNECT_TIMEOUT)
"""Only connecting is bounded here: how long an answer may take is the service's to say.

`connect` bounds one attempt at one address; what the transport calls `pool` bounds all of it, the look-up of
the name too.
"""

# A compressed answer could grow a thousandfold in memory; a model's answer gains nothing from it.
HEADERS = {"Accept-Encoding": "identity"}

Answer = httpx.Response | aiohttp.ClientResponse
Sent = TypeVar("Sent", httpx.Response, aiohttp.ClientResponse)

_on_reused_connection: ContextVar[bool] = ContextVar("on_reused_connection")


class _Connection(ResponseHandler):
    """aiohttp's connection, which tells whether it is used again.

    By itself it leaves the reader of a body waiting after a malformed chunk.
    """

    _used = False

    def set_response_params(self, **params: Any) -> None:
        """Note whether there has been a request before; aiohttp's own tracing costs more than the request's line."""
        _on_reused_connection.set(self._used)
        self._used = True
        super().set_response_params(**params)

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Read on after a pause; aiohttp calls this after each chunk of a body and then parses nothing."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell the reader, unless it knows."""
        body = self._payload
        super().connection_lost(exc)
        if body is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(aiohttp.ClientPayloadError("a chunk is malformed"))


class EngineTransport(AiohttpTransport):
    """aiohttp's connections for httpx, with one more try if a kept connection turns out to be dead."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request of httpx."""
        send = partial(super().handle_async_request, request)
        return await _send_once_more(request.method, str(request.url), send)

    async def post(self, url: str, headers: Mapping[str, str], content: bytes) -> aiohttp.ClientResponse:
        """POST past httpx, whose own work for a request costs twice that of all below it; the body is unread."""
        if not isinstance(self.client, aiohttp.ClientSession):
            self.client = self.get_client()
        request = partial(
            self.client.request,
            "POST",
            url,
            headers=headers,
            data=content,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_TIMEOUT, connect=CONNECT_TIMEOUT),
        )
        return await _send_once_more("POST", url, request)


async def _send_once_more(method: str, url: str, send: Callable[[], Awaitable[Sent]]) -> Sent:
    """Send a request; a POST that found its kept connection closed is sent again, once.

    The engine may close a connection at the moment it is used again. Nothing has been answered then. On a
    new connection the same error means that the request itself was too much, and sending it again could
    double the harm. The other methods are repeated by aiohttp.
    """
    _on_reused_connection.set(False)
    try:
        return await _logged(method, url, send)
    except (httpx.TransportError, aiohttp.ClientConnectionError) as error:
        if method != "POST" or not _on_reused_connection.get() or not _broke(error):
            raise
    return await _logged(method, url, send)


async def _logged(method: str, url: str, send: Callable[[], Awaitable[Sent]]) -> Sent:
    began = time.monotonic()
    outcome = "failed"
    try:
        response = await send()
        outcome = str(response.status_code if isinstance(response, httpx.Response) else response.status)
    finally:
        if logger.isEnabledFor(logging.DEBUG):
            path = urlsplit(url).path
            logger.debug("engine %s %s: %s, took %.3f s", method, path, outcome, time.monotonic() - began)
    return response


def open_transport(address: str) -> EngineTransport:
    """A connection pool for one engine, without the environment's proxies and without cookies."""

    def session() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30, ssl=transport.ssl_context)
        connector._factory = cast("partial[ResponseHandler]", partial(_Connection, loop=asyncio.get_running_loop()))
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            read_bufsize=2**18,
        )

    # Building a TLS context takes 20 ms, which an http:// address need not pay.
    transport = EngineTransport(verify=address.startswith("https:"), trust_env=False, client=session)
    return transport


def encoded(body: Any) -> bytes:
    """The JSON of a request's body; `InvalidRequest` if there is none for it."""
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError as error:
        raise InvalidRequest(f"The request cannot be written as JSON: {error}.") from error


@contextmanager
def translated(
    engine: str, address: str, *, started: bool = False, advice: str = "check that it is running there"
) -> Generator[None]:
    """Turn what httpx and aiohttp raise into our errors; `started` once an answer has begun."""
    try:
        yield
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, aiohttp.InvalidURL) as error:
        raise EngineUnavailable(f"The address {address} of {engine} is not a valid URL: {error}.") from error
    except (httpx.HTTPError, aiohttp.ClientError) as error:
        if started:
            raise GenerationBroken(
                f"The connection to {engine} at {address} broke in the middle of the answer."
            ) from error
        if _never_connected(error):
            raise EngineUnavailable(
                f"Failed to connect to {engine} at {address}: {_reason(error)}; {advice}."
            ) from error
        if _unanswered(error):
            raise EngineUnavailable(f"{engine} at {address} gave no answer: {_reason(error)}; {advice}.") from error
        raise MalformedAnswer(f"{engine} at {address} gave no valid answer: {_reason(error)}.") from error


def _cause(error: Exception) -> BaseException | None:
    # httpx_aiohttp turns every failure of a connection into a ConnectTimeout; only the cause tells them apart.
    return error if isinstance(error, aiohttp.ClientError) else error.__cause__


def _never_connected(error: Exception) -> bool:
    return isinstance(_cause(error), (aiohttp.ClientConnectorError, aiohttp.ServerTimeoutError))


def _broke(error: Exception) -> bool:
    return isinstance(_cause(error), aiohttp.ClientConnectionError) and not _never_connected(error)


def _unanswered(error: Exception) -> bool:
    # Of an answer that ended within its head, aiohttp puts what it has in the place of the message.
    cause = _cause(error)
    half = isinstance(cause, aiohttp.ServerDisconnectedError) and not isinstance(cause.message, str)
    return _broke(error) and not half


def _reason(error: Exception) -> str:
    cause = _cause(error)
    if isinstance(cause, aiohttp.ServerTimeoutError):
        return f"no connection within {CONNECT_TIMEOUT:g} s"
    if isinstance(cause, aiohttp.ClientConnectorDNSError):
        return f"the name {cause.host} is not known"
    if isinstance(cause, aiohttp.ClientOSError) and cause.errno is not None and cause.errno > 0:
        return os.strerror(cause.errno)
    if isinstance(cause, aiohttp.ServerDisconnectedError):
        return "it closed the connection"
    if isinstance(cause, aiohttp.ClientPayloadError):
        return "it broke off its answer"
    if isinstance(error, aiohttp.ClientResponseError):
        return "its answer is not valid HTTP"
    return str(error).strip().rstrip(".") or type(error).__name__


async def _chunks(response: Answer) -> AsyncGenerator[bytes]:
    """The bytes of an answer as they come."""
    if (encoding := response.headers.get("content-encoding", "identity")) != "identity":
        raise MalformedAnswer(f"The engine sent an answer in {encoding!r} encoding, which was not asked for.")
    if isinstance(response, aiohttp.ClientResponse):
        while chunk := await response.content.readany():
            yield chunk
        return
    chunks = cast("AsyncGenerator[bytes]", response.aiter_raw())
    async with aclosing(chunks):
        async for chunk in chunks:
            yield chunk


async def read_lines(response: Answer) -> AsyncGenerator[list[bytes]]:
    r"""The lines of a streamed answer, those together that came together; never none.

    They are split on b"\n" alone and come without it; blank ones are left out. httpx's own `aiter_lines` also
    splits on U+0085 and U+2028, which stand inside JSON strings.
    """
    pending = bytearray()
    async with aclosing(_chunks(response)) as chunks:
        async for chunk in chunks:
            if b"\n" in chunk:
                *ended, rest = (bytes(pending) + chunk if pending else chunk).split(b"\n")
                pending[:] = rest
                if lines := [stripped for line in ended if (stripped := line.strip())]:
                    yield lines
            else:
                pending += chunk
            if len(pending) > MAX_LINE:
                raise MalformedAnswer(f"The engine sent a line of more than {MAX_LINE // 2**20} MiB.")
    if stripped := bytes(pending).strip():
        yield [stripped]


async def read_body(response: Answer) -> bytes:
    """The whole of an answer that is not streamed."""
    body = bytearray()
    async with aclosing(_chunks(response)) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) > MAX_BODY:
                raise MalformedAnswer(f"The engine sent an answer of more than {MAX_BODY // 2**20} MiB.")
    return bytes(body)
