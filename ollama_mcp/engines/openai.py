"""Any server that speaks OpenAI's protocol: vLLM, Ray Serve, llama-server, LM Studio."""

import secrets
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, aclosing, suppress
from typing import Any

import httpx
import orjson

from ollama_mcp.chat import ChatEvent, ChatRequest
from ollama_mcp.engines.base import (
    EmbedRequest,
    EmbedResult,
    EngineName,
    ModelDetails,
    ModelInfo,
    PullProgress,
    RunningModel,
)
from ollama_mcp.engines.openai_failures import failure
from ollama_mcp.engines.openai_models import entries_of, info_of, names_of, running_of
from ollama_mcp.engines.openai_wire import Answer, chat_body, refuse_num_ctx, vectors_of, warnings_for
from ollama_mcp.engines.transport import HEADERS, TIMEOUT, open_transport, read_body, read_lines, translated
from ollama_mcp.errors import (
    ContextLengthExceeded,
    EngineBusy,
    EngineFailed,
    EngineRejected,
    InvalidRequest,
    ModelNotFound,
    Unsupported,
)

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
        headers = HEADERS | ({"Authorization": f"Bearer {api_key}"} if api_key else {})
        self._client = httpx.AsyncClient(
            transport=open_transport(base_url),
            headers=headers,
            timeout=TIMEOUT,
            trust_env=False,
            follow_redirects=False,
        )
        self._listing: tuple[float, list[dict[str, Any]]] = (0.0, [])
        self._versions = dict(_VERSIONS)

    @property
    def address(self) -> str:
        """The base URL."""
        return self._base_url

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ChatEvent]:
        """The answer as it comes, `Done` last. Closing the generator closes the connection."""
        model = request.model or ""
        body = chat_body(request)
        answer = Answer(model, lambda: f"call_{secrets.token_hex(12)}", warnings_for(request))
        response = await self._send("POST", self._base_url + "/chat/completions", body, model=model)
        try:
            async with aclosing(read_lines(response)) as lines:
                while not answer.ended:
                    with self._translated(started=True):
                        line = await anext(lines, None)
                    if line is None:
                        break
                    if delta := answer.read(line):
                        yield delta
        finally:
            await response.aclose()
        for event in answer.end():
            yield event

    async def embed(self, request: EmbedRequest) -> EmbedResult:
        """Vectors for texts; `ContextLengthExceeded` if one is too long."""
        body: dict[str, Any] = {"model": request.model, "input": request.input}
        if request.dimensions is not None:
            body["dimensions"] = request.dimensions
        try:
            answer = await self._ask("POST", self._base_url + "/embeddings", body, model=request.model)
        except ContextLengthExceeded as error:
            error.param = "input"
            raise
        vectors, usage = vectors_of(answer)
        if len(vectors) != len(request.input):
            raise EngineFailed(f"The model server sent {len(vectors)} vectors for {len(request.input)} texts.")
        if request.dimensions is not None and any(len(vector) != request.dimensions for vector in vectors):
            raise Unsupported(
                f"{request.model} makes vectors of {len(vectors[0])} numbers only; leave dimensions out.",
                param="dimensions",
            )
        return EmbedResult(model=request.model, embeddings=vectors, usage=usage)

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
                if version := version_in(await self._ask("GET", root + path)):
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
        await self._client.aclose()

    async def _entries(self) -> list[dict[str, Any]]:
        entries = entries_of(await self._ask("GET", self._base_url + "/models"))
        self._listing = (time.monotonic(), entries)
        return entries

    async def _ask(self, method: str, url: str, body: Any = None, *, model: str | None = None) -> Any:
        """The JSON of a whole answer."""
        response = await self._send(method, url, body, model=model)
        try:
            with self._translated():
                data = await read_body(response)
        finally:
            await response.aclose()
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise EngineFailed(
                f"The model server answered {url} with what is not JSON; check that its address ends in /v1.",
                status=httpx.codes.OK,
            ) from error

    async def _send(self, method: str, url: str, body: Any = None, *, model: str | None = None) -> httpx.Response:
        """An answer with status 200, its body unread; the caller closes it."""
        try:
            content = None if body is None else orjson.dumps(body)
        except orjson.JSONEncodeError as error:
            raise InvalidRequest(f"The request cannot be written as JSON: {error}.") from error
        headers = {"Content-Type": "application/json"} if content else None
        with self._translated():
            request = self._client.build_request(method, url, content=content, headers=headers)
            response = await self._client.send(request, stream=True)
        if response.status_code == httpx.codes.OK:
            return response
        try:
            with self._translated():
                said = await read_body(response)
        finally:
            await response.aclose()
        raise failure(
            response.status_code,
            said,
            model=model,
            location=response.headers.get("location"),
            retry_after=response.headers.get("retry-after"),
        )

    def _translated(self, *, started: bool = False) -> AbstractContextManager[None]:
        return translated(self.title, self._base_url, started=started)


def _find(model: str, entries: list[dict[str, Any]]) -> dict[str, Any]:
    for entry in entries:
        if model in names_of(entry):
            return entry
    raise ModelNotFound(f"The model server has no model {model!r}.", model=model)


def _labelled(label: str, answer: Any, key: str) -> str | None:
    value = answer.get(key) if isinstance(answer, dict) else None
    return f"{label} {value}" if isinstance(value, str) and value else None
