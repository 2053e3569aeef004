"""HTTP to an OpenAI-compatible server. Imported on first use only: httpx and aiohttp take a fifth of a second."""

from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, aclosing, asynccontextmanager
from typing import Any

import httpx
import orjson

from ollama_mcp.engines.openai_failures import failure
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
from ollama_mcp.errors import MalformedAnswer, ServiceError

JSON_TYPE = {"Content-Type": "application/json"}


class OpenAIClient:
    """Requests to one server; each failure is raised as what it stands for.

    `title` is what the server is called in messages about the connection.
    """

    def __init__(self, address: str, *, api_key: str | None, title: str) -> None:
        self._address = address
        self._title = title
        self._transport = open_transport(address)
        self._http = httpx.AsyncClient(
            transport=self._transport,
            headers=HEADERS | ({"Authorization": f"Bearer {api_key}"} if api_key else {}),
            timeout=TIMEOUT,
            trust_env=False,
            follow_redirects=False,
        )
        self._headers = dict(self._http.headers) | JSON_TYPE

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def ask(self, method: str, url: str, body: Any = None, *, model: str | None = None) -> Any:
        """The JSON of a whole answer."""
        async with self._send(method, url, body, model=model) as response:
            with self._translated():
                data = await read_body(response)
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise MalformedAnswer(
                f"The model server answered {url} with what is not JSON; check that its address ends in /v1.",
                status=httpx.codes.OK,
            ) from error

    async def lines(self, url: str, body: Any, *, model: str | None) -> AsyncGenerator[list[bytes]]:
        """The lines of a streamed answer to a POST, those together that came together.

        Sent past httpx. Closing the generator closes the connection.
        """
        content = encoded(body)
        with self._translated():
            response = await self._transport.post(url, self._headers, content)
        try:
            if response.status != httpx.codes.OK:
                raise await self._failure(response, response.status, model)
            async with aclosing(read_lines(response)) as batches:
                with self._translated(started=True):
                    async for lines in batches:
                        yield lines
        finally:
            response.close()

    @asynccontextmanager
    async def _send(self, method: str, url: str, body: Any, *, model: str | None) -> AsyncGenerator[httpx.Response]:
        """An answer with status 200, its body unread."""
        content = None if body is None else encoded(body)
        with self._translated():
            request = self._http.build_request(method, url, content=content, headers=JSON_TYPE if content else None)
            response = await self._http.send(request, stream=True)
        try:
            if response.status_code != httpx.codes.OK:
                raise await self._failure(response, response.status_code, model)
            yield response
        finally:
            await response.aclose()

    async def _failure(self, response: Answer, status: int, model: str | None) -> ServiceError:
        with self._translated():
            said = await read_body(response)
        headers = response.headers
        return failure(
            status, said, model=model, location=headers.get("location"), retry_after=headers.get("retry-after")
        )

    def _translated(self, *, started: bool = False) -> AbstractContextManager[None]:
        return translated(self._title, self._address, started=started)
