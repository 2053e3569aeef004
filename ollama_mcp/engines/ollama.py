"""Ollama, through the `ollama` package where it keeps everything and through its HTTP client where it does not.

The package gives the address, the authentication and the life cycle. Its typed calls are not used: they lose
ids of tool calls, parts of schemas, capabilities and counts, cannot forbid truncation, and take an answer
that stops short for a whole one.
"""

import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import anyio

from ollama_mcp.chat import ChatEvent, ChatRequest, Done
from ollama_mcp.engines.base import (
    DecideRequest,
    Decision,
    EmbedRequest,
    EmbedResult,
    ModelDetails,
    ModelInfo,
    PullProgress,
    RunningModel,
    in_batches,
)
from ollama_mcp.engines.ollama_decide import decide_body, decision_of
from ollama_mcp.engines.ollama_embed import embed_body, embed_result
from ollama_mcp.engines.ollama_failures import as_object
from ollama_mcp.engines.ollama_models import details_of, models_of, progress_of, pull_failure, running_of
from ollama_mcp.engines.ollama_wire import ChatReader, chat_body
from ollama_mcp.errors import EngineFailed, GenerationBroken, MalformedAnswer, ServiceError, Unsupported
from ollama_mcp.settings import EngineName

if TYPE_CHECKING:
    import aiohttp

    from ollama_mcp.engines.ollama_client import OllamaClient

END_WITHIN = 0.25
"""How long, in seconds, the end of the HTTP answer is waited for after its last line, to keep the connection."""


class OllamaEngine:
    """An Ollama at a URL."""

    name: EngineName = "ollama"
    sets_context = True

    def __init__(self, address: str, *, api_key: str | None = None) -> None:
        self._decides = True
        self._address = address
        self._api_key = api_key
        self._opened: OllamaClient | None = None

    @property
    def address(self) -> str:
        """Ollama's URL."""
        return self._address

    async def chat(self, request: ChatRequest) -> AsyncGenerator[list[ChatEvent]]:
        """The answer as it comes, `Done` last; closing the generator closes the HTTP answer at once."""
        reader = ChatReader(request, lambda: f"call_{secrets.token_hex(12)}")
        async with self._asked(request, reader) as response, aclosing(self._lines(response, reader)) as batches:
            async for lines in batches:
                for events in in_batches(lines, reader.read):
                    if isinstance(events[-1], Done):
                        if not response.content.at_eof():
                            await _read_to_end(batches)
                        yield events
                        return
                    yield events
            raise reader.ended()

    @asynccontextmanager
    async def _asked(self, request: ChatRequest, reader: ChatReader) -> AsyncGenerator["aiohttp.ClientResponse"]:
        """The beginning of an answer."""
        body = chat_body(request)
        try:
            response = await self._client.post("/api/chat", body)
        except Unsupported as error:
            if error.param != "think" or request.think is not None:
                raise
            # An OpenAI client sends its reasoning_effort to whatever model it has been given.
            del body["think"]
            reader.warnings.append(f"{request.model} does not support thinking; reasoning_effort was left out.")
            response = await self._client.post("/api/chat", body)
        try:
            yield response
        finally:
            response.close()  # which keeps the connection if the answer has been read to its end

    async def embed(self, request: EmbedRequest) -> EmbedResult:
        """Vectors for texts; a text that does not fit is an error, never cut."""
        answer = await self._client.call("POST", "/api/embed", embed_body(request))
        return embed_result(answer, request)

    async def decide(self, request: DecideRequest) -> Decision | None:
        """The decision of /v1/systemone; None if this Ollama has no such path or the model cannot decide so."""
        if not self._decides:
            return None
        try:
            answer = await self._client.call("POST", "/v1/systemone", decide_body(request))
        except Unsupported:
            return None
        except EngineFailed as error:
            if error.status not in (404, 405):
                raise
            self._decides = False
            return None
        return decision_of(answer, request)

    async def models(self) -> list[ModelInfo]:
        """The installed models, most recently changed first."""
        return models_of(await self._client.call("GET", "/api/tags"))

    async def show(self, model: str) -> ModelDetails:
        """One model in detail; `ModelNotFound` if it is not installed."""
        return details_of(await self._client.call("POST", "/api/show", {"model": model}), model)

    async def running(self) -> list[RunningModel]:
        """The loaded models."""
        return running_of(await self._client.call("GET", "/api/ps"))

    async def load(self, model: str, *, num_ctx: int | None = None, keep_alive: float | str | None = None) -> None:
        """Load a model, and return once it is ready."""
        # `shift` is fixed when a model is loaded: with another value the first chat would load it again.
        shared: dict[str, Any] = {"model": model}
        if num_ctx is not None:
            shared["options"] = {"num_ctx": num_ctx}
        if keep_alive is not None:
            shared["keep_alive"] = keep_alive
        try:
            await self._client.call("POST", "/api/chat", {**shared, "messages": [], "stream": False, "shift": False})
        except Unsupported:
            # An embedding model cannot chat; it is loaded by having nothing embedded.
            await self._client.call("POST", "/api/embed", {**shared, "input": []})

    async def unload(self, model: str) -> None:
        """Free the memory a model takes."""
        await self._client.call(
            "POST", "/api/chat", {"model": model, "messages": [], "stream": False, "keep_alive": 0}
        )

    async def pull(self, model: str) -> AsyncGenerator[PullProgress]:
        """Download a model; closing the generator stops the download."""
        body = {"model": model, "stream": True}
        async with (
            self._client.send("POST", "/api/pull", body) as response,
            aclosing(self._client.lines(response, generating=False)) as batches,
        ):
            async for lines in batches:
                for line in lines:
                    step = as_object(line)
                    if (error := step.get("error")) is not None:
                        raise pull_failure(error, model)
                    yield progress_of(step)
                    if step.get("status") == "success":
                        return
        raise GenerationBroken(
            f"Ollama stopped downloading {model} before its end; pull it again to go on from there."
        )

    async def delete(self, model: str) -> None:
        """Remove a model from the disk."""
        async with self._client.send("DELETE", "/api/delete", {"model": model}):
            pass  # the status says it all

    async def version(self) -> str | None:
        """Ollama's version."""
        version = (await self._client.call("GET", "/api/version")).get("version")
        return version if isinstance(version, str) else None

    async def aclose(self) -> None:
        """Let go of the connections."""
        if self._opened is not None:
            await self._opened.aclose()
            self._opened = None

    async def _lines(self, response: "aiohttp.ClientResponse", reader: ChatReader) -> AsyncGenerator[list[bytes]]:
        async with aclosing(self._client.lines(response, generating=True)) as batches:
            try:
                async for lines in batches:
                    yield lines
            except MalformedAnswer as error:
                raise reader.broken(error.message) from error

    @property
    def _client(self) -> "OllamaClient":
        """The connections, opened on first use."""
        if self._opened is None:
            from ollama_mcp.engines.ollama_client import OllamaClient

            self._opened = OllamaClient(self._address, api_key=self._api_key)
        return self._opened


async def _read_to_end(lines: AsyncGenerator[list[bytes]]) -> None:
    # The answer is whole by now: if its connection cannot be kept, the next request opens another.
    with anyio.move_on_after(END_WITHIN), suppress(ServiceError):
        async for _ in lines:
            pass
