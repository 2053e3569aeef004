"""Any server that speaks OpenAI's protocol: vLLM, Ray Serve, llama-server, LM Studio."""

import secrets
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

from ollama_mcp.chat import ChatEvent, ChatRequest
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
from ollama_mcp.engines.openai_models import entries_of, info_of, names_of, running_of
from ollama_mcp.engines.openai_wire import Answer, chat_body, refuse_num_ctx, vectors_of, warnings_for
from ollama_mcp.errors import (
    ContextLengthExceeded,
    EngineBusy,
    EngineFailed,
    EngineRejected,
    GenerationBroken,
    InvalidRequest,
    MalformedAnswer,
    ModelNotFound,
    Unsupported,
)
from ollama_mcp.settings import EngineName

if TYPE_CHECKING:
    from ollama_mcp.engines.openai_client import OpenAIClient

LISTING_FRESH = 5.0
"""For so many seconds the details of models come from the last list: a list of hundreds is asked for each."""


_VERSIONS: dict[str, Callable[[Any], str | None]] = {
    "/version": lambda answer: _labelled("vLLM", answer, "version"),
    "/props": lambda answer: _labelled("llama.cpp", answer, "build_info"),
}


class OpenAIEngine:
    """Something at `base_url`, such as http://127.0.0.1:8000/v1, that speaks OpenAI's protocol."""

    name: EngineName = "openai"
    sets_context = False
    title = "OpenAI-compatible server"
    """What it is called in messages about the connection."""

    def __init__(self, base_url: str, *, api_key: str | None = None) -> None:
        self._base_url = base_url.rstrip("/")
        self._api_key = api_key
        self._opened: OpenAIClient | None = None
        self._listing: tuple[float, list[dict[str, Any]]] = (0.0, [])
        self._versions = dict(_VERSIONS)

    @property
    def address(self) -> str:
        """The base URL."""
        return self._base_url

    async def chat(self, request: ChatRequest) -> AsyncGenerator[list[ChatEvent]]:
        """The answer as it comes, `Done` last. Closing the generator closes the connection."""
        model = request.model or ""
        body = chat_body(request)
        answer = Answer(model, lambda: f"call_{secrets.token_hex(12)}", warnings_for(request))
        try:
            async with aclosing(
                self._client.lines(self._base_url + "/chat/completions", body, model=model)
            ) as batches:
                async for lines in batches:
                    for events in in_batches(lines, answer.events):
                        yield events
                    if answer.ended:
                        break
        except MalformedAnswer as error:
            if answer.begun:
                raise GenerationBroken(error.message) from error
            raise
        yield answer.end()

    async def embed(self, request: EmbedRequest) -> EmbedResult:
        """Vectors for texts; `ContextLengthExceeded` if one is too long."""
        body: dict[str, Any] = {"model": request.model, "input": request.input}
        if request.dimensions is not None:
            body["dimensions"] = request.dimensions
        try:
            answer = await self._client.ask("POST", self._base_url + "/embeddings", body, model=request.model)
        except ContextLengthExceeded as error:
            error.param = "input"
            raise
        vectors, usage = vectors_of(answer)
        if len(vectors) != len(request.input):
            raise MalformedAnswer(f"The model server sent {len(vectors)} vectors for {len(request.input)} texts.")
        if request.dimensions is not None and any(len(vector) != request.dimensions for vector in vectors):
            raise Unsupported(
                f"{request.model} makes vectors of {len(vectors[0])} numbers only; leave dimensions out.",
                param="dimensions",
            )
        return EmbedResult(model=request.model, embeddings=vectors, usage=usage)

    async def decide(self, request: DecideRequest) -> Decision | None:
        """None: there is no endpoint for that."""

    async def models(self) -> list[ModelInfo]:
        """The models that the server lists, in its order; none has a date."""
        return [info_of(entry) for entry in await self._entries()]

    async def show(self, model: str) -> ModelDetails:
        """What the server's list tells about one model."""
        asked_at, entries = self._listing
        if time.monotonic() - asked_at > LISTING_FRESH:
            entries = await self._entries()
        return ModelDetails(**info_of(_find(model, entries)).model_dump())

    async def running(self) -> list[RunningModel]:
        """The models that the server has loaded, as far as its list says."""
        return [loaded for entry in await self._entries() if (loaded := running_of(entry))]

    async def load(self, model: str, *, num_ctx: int | None = None, keep_alive: float | str | None = None) -> None:
        """See that the model is there; loading it is the server's business."""
        if num_ctx is not None:
            raise refuse_num_ctx()
        _find(model, await self._entries())

    async def unload(self, model: str) -> None:
        """Not possible."""
        raise Unsupported(f"{model} cannot be unloaded from here; stop it at the server {self.address}.")

    def pull(self, model: str) -> AsyncGenerator[PullProgress]:
        """Not possible."""
        raise Unsupported(f"{model} cannot be downloaded from here; start the server {self.address} with it.")

    async def delete(self, model: str) -> None:
        """Not possible."""
        raise Unsupported(f"{model} cannot be deleted from here; remove it where the server {self.address} runs.")

    async def version(self) -> str | None:
        """The version of vLLM or llama-server; None from others."""
        root = self._base_url.removesuffix("/v1")
        for path, version_in in tuple(self._versions.items()):
            try:
                if version := version_in(await self._client.ask("GET", root + path)):
                    return version
            except EngineBusy:
                return None  # it is there, loading its model
            except (EngineFailed, EngineRejected, InvalidRequest) as error:
                if isinstance(error, EngineFailed) and error.status is None:
                    raise
            del self._versions[path]  # some servers log a warning each time that they are asked in vain
        if not self._versions:
            with suppress(EngineBusy):
                await self._entries()
        return None

    async def aclose(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            await self._opened.aclose()

    async def _entries(self) -> list[dict[str, Any]]:
        entries = entries_of(await self._client.ask("GET", self._base_url + "/models"))
        self._listing = (time.monotonic(), entries)
        return entries

    @property
    def _client(self) -> "OpenAIClient":
        if self._opened is None:
            from ollama_mcp.engines.openai_client import OpenAIClient

            self._opened = OpenAIClient(self._base_url, api_key=self._api_key, title=self.title)
        return self._opened


def _find(model: str, entries: list[dict[str, Any]]) -> dict[str, Any]:
    for entry in entries:
        if model in names_of(entry):
            return entry
    raise ModelNotFound(f"The model server has no model {model!r}.", model=model)


def _labelled(label: str, answer: Any, key: str) -> str | None:
    value = answer.get(key) if isinstance(answer, dict) else None
    return f"{label} {value}" if isinstance(value, str) and value else None
