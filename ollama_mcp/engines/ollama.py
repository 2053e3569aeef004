"""Ollama, through the `ollama` package where it keeps everything and through its HTTP client where it does not.

The package gives the address, the authentication and the life cycle. Its typed calls are not used: they lose
ids of tool calls, parts of schemas, capabilities and counts, cannot forbid truncation, and take an answer
that stops short for a whole one.
"""

import secrets
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from typing import Any

import anyio
import httpx
import ollama
import orjson

from ollama_mcp.chat import ChatEvent, ChatRequest, Done
from ollama_mcp.engines.base import (
    EmbedRequest,
    EmbedResult,
    EngineName,
    ModelDetails,
    ModelInfo,
    PullProgress,
    RunningModel,
)
from ollama_mcp.engines.ollama_embed import embed_body, embed_result
from ollama_mcp.engines.ollama_failures import failure
from ollama_mcp.engines.ollama_models import details_of, models_of, progress_of, pull_failure, running_of
from ollama_mcp.engines.ollama_wire import ChatReader, chat_body
from ollama_mcp.engines.transport import HEADERS, TIMEOUT, open_transport, read_body, read_lines, translated
from ollama_mcp.errors import EngineFailed, InvalidRequest, ServiceError, Unsupported

END_WITHIN = 0.25
"""How long, in seconds, the end of the HTTP answer is waited for after its last line, to keep the connection."""


class OllamaEngine:
    """An Ollama at a URL."""

    name: EngineName = "ollama"
    sets_context = True

    def __init__(self, address: str, *, api_key: str | None = None) -> None:
        self._address = address
        self._api_key = api_key
        self._opened: httpx.AsyncClient | None = None

    @property
    def address(self) -> str:
        """Ollama's URL."""
        return self._address

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ChatEvent]:
        """The answer as it comes, `Done` last; closing the generator closes the HTTP answer at once."""
        body = chat_body(request)
        reader = ChatReader(request, lambda: f"call_{secrets.token_hex(12)}")
        async with AsyncExitStack() as stack:
            try:
                response = await stack.enter_async_context(self._send("POST", "/api/chat", body))
            except Unsupported as error:
                if error.param != "think" or request.think is not None:
                    raise
                # An OpenAI client sends its reasoning_effort to whatever model it has been given.
                del body["think"]
                reader.warnings.append(f"{request.model} does not support thinking; reasoning_effort was left out.")
                response = await stack.enter_async_context(self._send("POST", "/api/chat", body))
            lines = await stack.enter_async_context(aclosing(self._lines(response, reader)))
            async for line in lines:
                for event in reader.read(line):
                    if isinstance(event, Done):
                        await _read_to_end(lines)
                        yield event
                        return
                    yield event
            raise reader.ended()

    async def embed(self, request: EmbedRequest) -> EmbedResult:
        """Vectors for texts; a text that does not fit is an error, never cut."""
        answer = await self._call("POST", "/api/embed", embed_body(request))
        return embed_result(answer, request)

    async def models(self) -> list[ModelInfo]:
        """The installed models, most recently changed first."""
        return models_of(await self._call("GET", "/api/tags"))

    async def show(self, model: str) -> ModelDetails:
        """One model in detail; `ModelNotFound` if it is not installed."""
        return details_of(await self._call("POST", "/api/show", {"model": model}), model)

    async def running(self) -> list[RunningModel]:
        """The loaded models."""
        return running_of(await self._call("GET", "/api/ps"))

    async def load(self, model: str, *, num_ctx: int | None = None, keep_alive: float | str | None = None) -> None:
        """Load a model, and return once it is ready."""
        # `shift` is fixed when a model is loaded: with another value the first chat would load it again.
        body: dict[str, Any] = {"model": model, "messages": [], "stream": False, "shift": False}
        if num_ctx is not None:
            body["options"] = {"num_ctx": num_ctx}
        if keep_alive is not None:
            body["keep_alive"] = keep_alive
        await self._call("POST", "/api/chat", body)

    async def unload(self, model: str) -> None:
        """Free the memory a model takes."""
        await self._call("POST", "/api/chat", {"model": model, "messages": [], "stream": False, "keep_alive": 0})

    async def pull(self, model: str) -> AsyncGenerator[PullProgress]:
        """Download a model; closing the generator stops the download."""
        body = {"model": model, "stream": True}
        async with self._send("POST", "/api/pull", body) as response, aclosing(self._lines(response)) as lines:
            async for line in lines:
                step = _object(line)
                if (error := step.get("error")) is not None:
                    raise pull_failure(error, model)
                yield progress_of(step)
                if step.get("status") == "success":
                    return
        raise EngineFailed(f"Ollama stopped downloading {model} before its end; pull it again to go on from there.")

    async def delete(self, model: str) -> None:
        """Remove a model from the disk."""
        async with self._send("DELETE", "/api/delete", {"model": model}) as response:
            await read_body(response)

    async def version(self) -> str | None:
        """Ollama's version."""
        version = (await self._call("GET", "/api/version")).get("version")
        return version if isinstance(version, str) else None

    async def aclose(self) -> None:
        """Let go of the connections."""
        if self._opened is not None:
            await self._opened.aclose()
            self._opened = None

    def _http(self) -> httpx.AsyncClient:
        """The HTTP client inside the package's, which alone sends and receives everything as it is."""
        if self._opened is None:
            headers = dict(HEADERS)
            if self._api_key is not None:
                headers["Authorization"] = f"Bearer {self._api_key}"
            client = ollama.AsyncClient(
                host=self._address,
                headers=headers,
                transport=open_transport(self._address),
                timeout=TIMEOUT,
                trust_env=False,
                follow_redirects=False,
            )
            self._opened = client._client
            if self._api_key is None:
                # The package would send the OLLAMA_API_KEY of the environment to whatever address this is.
                self._opened.headers.pop("Authorization", None)
        return self._opened

    @asynccontextmanager
    async def _send(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> AsyncGenerator[httpx.Response]:
        """The beginning of an answer with status 200; any other is raised as what it stands for."""
        content = None if body is None else _encoded(body)
        with translated("Ollama", self._address):
            client = self._http()
            response = await client.send(client.build_request(method, path, content=content), stream=True)
        try:
            if response.status_code != httpx.codes.OK:
                with translated("Ollama", self._address):
                    said = await read_body(response)
                headers = response.headers
                raise failure(
                    response.status_code,
                    said,
                    model=None if body is None else body.get("model"),
                    location=headers.get("location"),
                    retry_after=headers.get("retry-after"),
                )
            yield response
        finally:
            await response.aclose()

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """A whole answer."""
        async with self._send(method, path, body) as response:
            with translated("Ollama", self._address):
                return _object(await read_body(response))

    async def _lines(self, response: httpx.Response, reader: ChatReader | None = None) -> AsyncGenerator[bytes]:
        async with aclosing(read_lines(response)) as lines:
            try:
                with translated("Ollama", self._address, started=True):
                    async for line in lines:
                        yield line
            except EngineFailed as error:
                raise error if reader is None else reader.broken(error.message) from error


def _encoded(body: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError as error:
        raise InvalidRequest(f"The request cannot be written as JSON: {error}.") from error


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise _nonsense() from error
    if not isinstance(found, dict):
        raise _nonsense()
    return found


def _nonsense() -> ServiceError:
    return EngineFailed("What answers there does not speak as Ollama does; check that the address is Ollama's.")


async def _read_to_end(lines: AsyncGenerator[bytes]) -> None:
    # The answer is whole by now: if its connection cannot be kept, the next request opens another.
    with anyio.move_on_after(END_WITHIN), suppress(ServiceError):
        async for _ in lines:
            pass
