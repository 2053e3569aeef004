"""HTTP to an engine: the connection pool, the byte reader, and the one translation of foreign errors."""

from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from ollama_mcp.errors import EngineFailed, EngineUnavailable, GenerationBroken

CONNECT_TIMEOUT = 2.0
MAX_LINE = 16 * 1024 * 1024

TIMEOUT = httpx.Timeout(None, connect=CONNECT_TIMEOUT)
"""Only connecting is bounded here: how long an answer may take is the service's to say."""

# A compressed answer could grow a thousandfold in memory; a model's answer gains nothing from it.
HEADERS = {"Accept-Encoding": "identity"}


def open_transport(address: str) -> AiohttpTransport:
    """A connection pool for one engine, without the environment's proxies and without cookies."""

    def session() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30, ssl=transport.ssl_context)
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            read_bufsize=2**18,
        )

    # Building a TLS context takes 20 ms, which an http:// address need not pay.
    transport = AiohttpTransport(verify=address.startswith("https:"), trust_env=False, client=session)
    return transport


@contextmanager
def translated(engine: str, address: str, *, started: bool = False) -> Generator[None]:
    """Turn what httpx raises into our errors; `started` once a part of the answer has been read."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        if started:
            raise GenerationBroken(
                f"The connection to {engine} at {address} broke in the middle of the answer."
            ) from error
        raise EngineUnavailable(f"Failed to connect to {engine} at {address}: {_reason(error)}.") from error
    except httpx.InvalidURL as error:
        raise EngineUnavailable(f"The address {address} of {engine} is not a valid URL: {error}.") from error
    except httpx.HTTPError as error:
        if started:
            raise GenerationBroken(
                f"The connection to {engine} at {address} broke in the middle of the answer."
            ) from error
        raise EngineFailed(
            f"{engine} at {address} closed the connection without an answer: {_reason(error)}."
        ) from error


def _reason(error: Exception) -> str:
    return str(error).strip().rstrip(".") or type(error).__name__


async def read_lines(response: httpx.Response) -> AsyncGenerator[bytes]:
    r"""The lines of a streamed answer, split on b"\n" alone and without it; blank lines are left out.

    httpx's own `aiter_lines` also splits on U+0085 and U+2028, which stand inside JSON strings.
    """
    pending = bytearray()
    async for chunk in response.aiter_raw():
        pending += chunk
        if b"\n" in chunk:
            *lines, rest = pending.split(b"\n")
            pending = bytearray(rest)
            for line in lines:
                if stripped := bytes(line).strip():
                    yield stripped
        elif len(pending) > MAX_LINE:
            raise EngineFailed(f"The engine sent a line of more than {MAX_LINE // 2**20} MiB.")
    if stripped := bytes(pending).strip():
        yield stripped
