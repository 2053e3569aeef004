"""HTTP to an OpenAI-compatible server. Imported on first use only: httpx and aiohttp take a fifth of a second."""

from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, aclosing, asynccontextmanager
from typing import Any

import httpx
import orjson

from ollama_mcp.engines.openai_failures import failure
from ollama_mcp.engines.transport import HEADERS, TIMEOUT, open_transport, read_body, read_lines, translated
from ollama_mcp.errors import EngineFailed, InvalidRequest


class OpenAIClient:
    """Requests to one server; each failure is raised as what it stands for.

    `title` is what the server is called in messages about the connection.
    """

    def __init__(self, address: str, *, api_key: str | None, title: str) -> None:
        self._address = address
        self._title = title
        self._http = httpx.AsyncClient(
            transport=open_transport(address),
            headers=HEADERS | ({"Authorization": f"Bearer {api_key}"} if api_key else {}),
            timeout=TIMEOUT,
            trust_env=False,
            follow_redirects=False,
        )

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
            raise EngineFailed(
                f"The model server answered {url} with what is not JSON; check that its address ends in /v1.",
                status=httpx.codes.OK,
            ) from error

    async def lines(self, url: str, body: Any, *, model: str | None) -> AsyncGenerator[bytes]:
        """The lines of a streamed answer to a POST; closing the generator closes the connection."""
        async with self._send("POST", url, body, model=model) as response, aclosing(read_lines(response)) as lines:
            with self._translated(started=True):
                async for line in lines:
                    yield line

    @asynccontextmanager
    async def _send(self, method: str, url: str, body: Any, *, model: str | None) -> AsyncGenerator[httpx.Response]:
        """An answer with status 200, its body unread."""
        try:
            content = None if body is None else orjson.dumps(body)
        except orjson.JSONEncodeError as error:
            raise InvalidRequest(f"The request cannot be written as JSON: {error}.") from error
        headers = {"Content-Type": "application/json"} if content else None
        with self._translated():
            request = self._http.build_request(method, url, content=content, headers=headers)
            response = await self._http.send(request, stream=True)
        try:
            if response.status_code != httpx.codes.OK:
                with self._translated():
                    said = await read_body(response)
                raise failure(
                    response.status_code,
                    said,
                    model=model,
                    location=response.headers.get("location"),
                    retry_after=response.headers.get("retry-after"),
                )
            yield response
        finally:
            await response.aclose()

    def _translated(self, *, started: bool = False) -> AbstractContextManager[None]:
        return translated(self._title, self._address, started=started)
