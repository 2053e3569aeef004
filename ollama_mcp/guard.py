"""Who may come in over HTTP: one check of Host, Origin and key before anything else sees a request.

A page in a browser can reach a server on the same machine. Host keeps out a page whose name was bound to
this address, Origin a page of another site, and the key whoever does not have it.
"""

import hmac
import json
import re
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
WITHOUT_KEY = ("/health/live", "/docs", "/redoc", "/openapi.json")
"""What tells nothing of models or people: a liveness probe, and the pages that a browser opens by itself."""

_AUTHORITY = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:(?P<port>\d{1,5}))?")
_KEY_HEADERS = (b"x-api-key", b"api-key")


class Guard:
    """ASGI middleware, outermost. `hosts` are names without a port; None lets any name in, for servers with keys."""

    def __init__(
        self, app: ASGIApp, *, hosts: Iterable[str] | None, origins: Iterable[str], keys: Sequence[str]
    ) -> None:
        self._app = app
        self._hosts = None if hosts is None else frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origins)
        self._keys = [key.encode() for key in keys]
        if self._hosts is None and not self._keys:
            raise ValueError("a server that answers to any name needs keys")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it with what is wrong."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send)
            return
        status, message = refusal
        kind = "authentication_error" if status == 401 else "invalid_request_error"
        error = {"message": message, "type": kind, "param": None, "code": None}
        body = json.dumps({"error": error, "detail": message}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        host = hosts[0].lower() if len(hosts) == 1 else ""
        match = _AUTHORITY.fullmatch(host)
        if match is None or (self._hosts is not None and match["name"] not in self._hosts):
            return 421, "This server does not answer to that Host; call it by the address it was started with."
        origin = headers.get("origin")
        if origin is not None and origin not in self._origins and not _is_own(origin, host):
            return 403, "This Origin is not allowed; list it in OLLAMA_MCP_CORS_ORIGINS."
        if self._keys and not scope["path"].startswith(WITHOUT_KEY) and not self._has_key(scope):
            return 401, "This server needs a key: send it as Authorization: Bearer KEY or as X-API-Key."
        return None

    def _has_key(self, scope: Scope) -> bool:
        given = b""
        for name, value in scope["headers"]:
            if name == b"authorization" and value[:7].lower() == b"bearer ":
                given = value[7:].strip()
            elif name in _KEY_HEADERS:
                given = value.strip()
        # Every key is compared, so that the time tells nothing of which one it was.
        return sum(hmac.compare_digest(given, key) for key in self._keys) > 0


def _is_own(origin: str, host: str) -> bool:
    """Whether the page came from this server."""
    try:
        parts = urlsplit(origin.lower())
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc == host
