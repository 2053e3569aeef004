"""HTTP to Ollama: its package's client for the address, the authentication and the life cycle, raw underneath.

Imported on first use only: the packages below take a third of a second, which no client should wait for
before it sees the tools.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, aclosing, asynccontextmanager
from types import ModuleType
from typing import Any

import aiohttp
import httpx

from ollama_mcp.engines.ollama_failures import as_object, failure
from ollama_mcp.engines.transport import (
    HEADERS,
    TIMEOUT,
    Answer,
    encoded,
    open_transport,
    read_body,
    read_lines,
    translated,
)
from ollama_mcp.errors import ServiceError

ADVICE = "start it with `ollama serve`, or set OLLAMA_HOST to where it runs"

Json = dict[str, Any]


class OllamaClient:
    """Requests to one Ollama; each failure is raised as what it stands for."""

    def __init__(self, address: str, *, api_key: str | None) -> None:
        self._address = address
        headers = dict(HEADERS)
        if api_key is not None:
            headers["Authorization"] = f"Bearer {api_key}"
        self._transport = open_transport(address)
        self._client = _import_ollama().AsyncClient(
            host=address,
            headers=headers,
            transport=self._transport,
            timeout=TIMEOUT,
            trust_env=False,
            follow_redirects=False,
        )
        # The HTTP client inside the package's, which alone sends and receives everything as it is.
        self._http: httpx.AsyncClient = self._client._client
        if api_key is None:
            # The package would send the OLLAMA_API_KEY of the environment to whatever address this is.
            self._http.headers.pop("Authorization", None)
        self._url = str(self._http.base_url).rstrip("/")
        self._headers = dict(self._http.headers)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()

    @asynccontextmanager
    async def send(self, method: str, path: str, body: Json | None = None) -> AsyncGenerator[httpx.Response]:
        """The beginning of an answer with status 200; any other is raised as what it stands for."""
        content = None if body is None else encoded(body)
        request = self._http.build_request(method, path, content=content)
        with self._translated():
            response = await self._http.send(request, stream=True)
        try:
            if response.status_code != httpx.codes.OK:
                raise await self._failure(response, response.status_code, body)
            yield response
        finally:
            await response.aclose()

    async def post(self, path: str, body: Json) -> aiohttp.ClientResponse:
        """As `send`, past httpx: the way for answers of models, of which there are many. The caller closes it."""
        content = encoded(body)
        with self._translated():
            response = await self._transport.post(self._url + path, self._headers, content)
        if response.status == httpx.codes.OK:
            return response
        try:
            raise await self._failure(response, response.status, body)
        finally:
            response.close()

    async def _failure(self, response: Answer, status: int, body: Json | None) -> ServiceError:
        with self._translated():
            said = await read_body(response)
        return failure(
            status,
            said,
            model=None if body is None else body.get("model"),
            location=response.headers.get("location"),
            retry_after=response.headers.get("retry-after"),
        )

    async def call(self, method: str, path: str, body: Json | None = None) -> Json:
        """A whole answer."""
        async with self.send(method, path, body) as response:
            with self._translated():
                return as_object(await read_body(response))

    async def lines(self, response: Answer, *, generating: bool) -> AsyncGenerator[list[bytes]]:
        """The lines of a streamed answer, those together that came together.

        `GenerationBroken` if one breaks off that a model is generating.
        """
        async with aclosing(read_lines(response)) as batches:
            with self._translated(started=generating):
                async for lines in batches:
                    yield lines

    def _translated(self, *, started: bool = False) -> AbstractContextManager[None]:
        return translated("Ollama", self._address, started=started, advice=ADVICE)


def _import_ollama() -> ModuleType:
    """Import the package without the environment's OLLAMA_HOST.

    On import it makes a client of its own from that, and fails on spellings that Ollama itself takes.
    """
    host = os.environ.pop("OLLAMA_HOST", None)
    try:
        import ollama
    finally:
        if host is not None:
            os.environ["OLLAMA_HOST"] = host
    return ollama
