"""Who and what may come in over HTTP: one check of every request before anything else sees it.

A page in a browser can reach a server on the same machine. Host keeps out a page whose name was bound to
this address, Origin a page of another site, the content type one that sends a form, and the key whoever
does not have it. The limits keep one caller from taking all the memory and all the connections.
"""

import asyncio
import hashlib
import hmac
import json
import logging
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ollama_mcp.errors import InvalidRequest
from ollama_mcp.strict_json import loads

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
WITHOUT_KEY = ("/health/live", "/docs", "/redoc", "/openapi.json")
"""What tells nothing of models or people: a liveness probe, and the pages that a browser opens by itself."""
MCP_PATH = "/mcp"
WITH_IMAGES = ("/v1/chat/completions", "/v1/responses", MCP_PATH)

MAX_BODY = 4 * 2**20
MAX_BODY_WITH_IMAGES = 16 * 2**20
MAX_HEADERS = 32 * 2**10
BODY_SECONDS = 60.0
"""How long a body may take from its first byte to its last, however steadily it comes."""

CALLER = "ollama_mcp.caller"
"""Where in the scope it stands who is calling: the digest of a key, or an address."""

_AUTHORITY = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:(?P<port>\d{1,5}))?")
_KEY_HEADERS = (b"x-api-key", b"api-key")

logger = logging.getLogger(__name__)


class Refusal(NamedTuple):
    """A status, the sentence that says what to do, and after how many seconds to do it."""

    status: int
    message: str
    retry_after: int | None = None


class Limiter(Protocol):
    """Counts calls."""

    @property
    def limit(self) -> str:
        """The limit in words."""

    async def wait_for(self, caller: str) -> int | None:
        """Count a call; after how many seconds to try again if it was one too many."""


class _Refused(BaseException):
    """Ends the reading of a body that is not to be had; no `except Exception` on its way may take it for an error."""


class Guard:
    """ASGI middleware, outermost. `hosts` are names without a port; None lets any name in, for servers with keys."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Iterable[str] | None,
        origins: Iterable[str],
        keys: Sequence[str],
        limiter: Limiter | None = None,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        self._app = app
        self._hosts = None if hosts is None else frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origins)
        self._keys = [_digest(key.encode()) for key in keys]
        self._limiter = limiter
        self._body_seconds = body_seconds
        if self._hosts is None and not self._keys:
            raise ValueError("a server that answers to any name needs keys")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it with what is wrong."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers) or await self._too_often(scope)
        if refusal is not None:
            await self._refuse(scope, send, refusal)
            return
        exchange = _Exchange(scope, receive, send, within=self._body_seconds)
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except* _Refused:
            pass  # the exchange knows why; a group, since a task of the application may have been reading
        if exchange.refusal is not None and not exchange.started:
            await self._refuse(scope, send, exchange.refusal)

    async def _refuse(self, scope: Scope, send: Send, refusal: Refusal) -> None:
        logger.info("refused with %d", refusal.status)
        headers = [(b"content-type", b"application/json")]
        if refusal.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        if refusal.retry_after is not None:
            headers.append((b"retry-after", b"%d" % refusal.retry_after))
        origin = Headers(scope=scope).get("origin", "")
        if origin in self._origins:
            # Without these a page that may call would not be shown why it was refused.
            headers += [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"Origin")]
        body = _envelope(scope["path"], refusal)
        headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _refusal(self, scope: Scope, headers: Headers) -> Refusal | None:
        if (refusal := _misframed(scope, headers)) is not None:
            return refusal
        hosts = headers.getlist("host")
        host = hosts[0].lower() if len(hosts) == 1 else ""
        match = _AUTHORITY.fullmatch(host)
        if match is None or (self._hosts is not None and match["name"] not in self._hosts):
            return Refusal(
                421, "This server does not answer to that Host; call it by the address it was started with."
            )
        origins = headers.getlist("origin")
        if any(origin not in self._origins and not _is_own(origin, host) for origin in origins):
            return Refusal(403, "This Origin is not allowed; list it in OLLAMA_MCP_CORS_ORIGINS.")
        # What a browser asks before it sends a key carries none, and is answered without a look at anything.
        preflight = scope["method"] == "OPTIONS" and "access-control-request-method" in headers and bool(origins)
        key = self._key(scope)
        client = scope.get("client")
        scope[CALLER] = f"address:{client[0] if client else ''}" if key is None else f"key:{key.hex()[:32]}"
        if self._keys and key is None and not preflight and not _is_open(scope["path"]):
            return Refusal(401, "This server needs a key: send it as Authorization: Bearer KEY or as X-API-Key.")
        return _unfit_body(scope, headers)

    async def _too_often(self, scope: Scope) -> Refusal | None:
        path = scope["path"]
        if self._limiter is None or scope["method"] == "OPTIONS" or not (path == MCP_PATH or path.startswith("/v1/")):
            return None
        seconds = await self._limiter.wait_for(scope[CALLER])
        if seconds is None:
            return None
        return Refusal(429, f"You may send {self._limiter.limit}; try again in {seconds} s.", seconds)

    def _key(self, scope: Scope) -> bytes | None:
        """The digest of the key that was given, if it is one of ours."""
        found = None
        for name, value in scope["headers"]:
            if name == b"authorization" and value[:7].lower() == b"bearer ":
                given = _digest(value[7:].strip())
            elif name in _KEY_HEADERS:
                given = _digest(value.strip())
            else:
                continue
            # Every key is compared, so that the time tells nothing of which one it was.
            for key in self._keys:
                if hmac.compare_digest(given, key):
                    found = key
        return found


class _Exchange:
    """One request and its answer: bounds the body as it passes, and takes the answer over where it must.

    Messages are passed on one by one and none is ever made up or sent twice, which would have the MCP SDK
    wait for a client's leaving in a busy loop.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, within: float) -> None:
        self.refusal: Refusal | None = None
        self.started = False
        self._receive = receive
        self._send = send
        self._limit = _body_limit(scope["path"])
        # What the SDK reads as JSON itself is read here before.
        self._kept: list[bytes] | None = [] if scope["path"] == MCP_PATH and scope["method"] == "POST" else None
        self._size = 0
        self._complete = False
        self._deadline = asyncio.get_running_loop().time() + within

    async def receive(self) -> Message:
        if self._complete:
            return await self._receive()
        if self.refusal is not None:
            raise _Refused
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise self._refused(Refusal(408, "The body took too long to come; send it faster.")) from None
        if message["type"] != "http.request":
            self._complete = True
            return message
        body: bytes = message.get("body", b"")
        self._size += len(body)
        if self._size > self._limit:
            raise self._refused(_too_large(self._limit))
        if self._kept is not None:
            self._kept.append(body)
        if not message.get("more_body", False):
            self._check_json()
            self._complete = True
        return message

    def _check_json(self) -> None:
        if self._kept is None:
            return
        raw, self._kept = b"".join(self._kept), None
        try:
            loads(raw)
        except InvalidRequest as error:
            raise self._refused(Refusal(400, error.message)) from None

    def _refused(self, refusal: Refusal) -> _Refused:
        self.refusal = refusal
        return _Refused()

    async def send(self, message: Message) -> None:
        if self.refusal is not None and not self.started:
            return  # what the application makes of a body it could not read
        self.started = True
        await self._send(message)


def _digest(key: bytes) -> bytes:
    # Of one length whatever the key, so that comparing takes the same time for all.
    return hashlib.sha256(key).digest()


def _is_open(path: str) -> bool:
    return any(path == known or path.startswith(f"{known}/") for known in WITHOUT_KEY)


def _is_own(origin: str, host: str) -> bool:
    """Whether the page came from this server."""
    return origin.lower() in (f"http://{host}", f"https://{host}")


def _misframed(scope: Scope, headers: Headers) -> Refusal | None:
    """What another reader of the same bytes, such as a proxy, could take for another request."""
    if scope["http_version"] not in ("1.0", "1.1"):
        return Refusal(505, "This server speaks HTTP/1.1.")
    if sum(len(name) + len(value) + 4 for name, value in scope["headers"]) > MAX_HEADERS:
        return Refusal(431, f"The headers are larger than {MAX_HEADERS // 2**10} KiB.")
    if "transfer-encoding" in headers and ("content-length" in headers or scope["http_version"] != "1.1"):
        return Refusal(400, "Send either Content-Length or, with HTTP/1.1, Transfer-Encoding.")
    if len(headers.getlist("content-length")) > 1:
        return Refusal(400, "Send Content-Length once.")
    return None


def _unfit_body(scope: Scope, headers: Headers) -> Refusal | None:
    if scope["method"] == "POST":
        # A browser sends any other type to another origin without asking first.
        types = headers.getlist("content-type")
        media_type = types[0].partition(";")[0].strip().lower() if len(types) == 1 else ""
        if media_type != "application/json":
            return Refusal(415, f"Send JSON with the header Content-Type: application/json, not {media_type[:64]!r}.")
    if headers.get("content-encoding", "identity").lower() != "identity":
        return Refusal(415, "Send the body as it is, without a Content-Encoding.")
    declared = headers.get("content-length", "0")
    limit = _body_limit(scope["path"])
    if not declared.isdecimal() or len(declared) > 20 or int(declared) > limit:
        return _too_large(limit)
    return None


def _body_limit(path: str) -> int:
    return MAX_BODY_WITH_IMAGES if path in WITH_IMAGES else MAX_BODY


def _too_large(limit: int) -> Refusal:
    return Refusal(413, f"The body is larger than {limit // 2**20} MiB.")


_CODES = {
    400: "invalid_request",
    401: "invalid_api_key",
    403: "forbidden",
    408: "request_timeout",
    413: "request_too_large",
    415: "unsupported_media_type",
    421: "misdirected_request",
    429: "rate_limit_exceeded",
    431: "headers_too_large",
    505: "http_version_not_supported",
}
_KINDS = {401: "authentication_error", 429: "rate_limit_error"}


def _envelope(path: str, refusal: Refusal) -> bytes:
    """The refusal in OpenAI's form; on the MCP route a JSON text that is none is an error of JSON-RPC."""
    if path == MCP_PATH and refusal.status == 400:
        return json.dumps(
            {"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": refusal.message}}
        ).encode()
    kind = _KINDS.get(refusal.status, "invalid_request_error")
    error = {"message": refusal.message, "type": kind, "param": None, "code": _CODES.get(refusal.status)}
    return json.dumps({"error": error, "detail": refusal.message}).encode()
