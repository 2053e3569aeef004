"""What is done with a request, whichever face it came through: model, context, deadlines, warm-up.

One service stands over one engine. It raises only `ollama_mcp.errors.ServiceError`s.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

import anyio
from pydantic import Field

from ollama_mcp import __version__
from ollama_mcp.catalog import Catalog, ListedModel, check_source, same_model
from ollama_mcp.chat import ChatEvent, ChatRequest, ChatResult, Done, Fold, Lazy, fold
from ollama_mcp.context import ContextPolicy, check_not_cut
from ollama_mcp.engines.base import (
    DecideRequest,
    Decision,
    EmbedRequest,
    EmbedResult,
    Engine,
    ModelDetails,
    PullProgress,
    RunningModel,
)
from ollama_mcp.errors import EngineTimeout, GenerationBroken, ModelNotFound, PromptTruncated, ServiceError
from ollama_mcp.files import FileReader
from ollama_mcp.gate import Gate
from ollama_mcp.jobs import Jobs
from ollama_mcp.loading import Loader
from ollama_mcp.observation import Observation, Observed
from ollama_mcp.settings import EngineName, Settings

if TYPE_CHECKING:
    from ollama_mcp.job_store import JobStore

HEALTH_TIMEOUT = 2.5
MAX_CONCURRENCY = {"openai": 256}
"""Servers for many callers batch their requests; one that runs on a person's machine gains nothing from more."""
DEFAULT_MAX_CONCURRENCY = 16

ChangeKind = Literal["models", "loaded"]
"""What changed: which models are installed, or which of them are loaded."""


class Health(Lazy):
    """Whether the engine is there and what to do if it is not."""

    status: Literal["ok", "degraded", "unreachable"]
    engine: EngineName
    address: str
    reachable: bool
    version: str | None = None
    latency_ms: float | None = Field(None, description="Time the engine took to tell its version")
    loaded_models: list[RunningModel] = Field(default_factory=list)
    default_model: str | None = None
    advice: str | None = Field(None, description="What to do when something is wrong")
    server_version: str = __version__


class Service:
    """Policy over one engine; an async context manager that owns what runs in the background."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self.engine = engine
        self.settings = settings
        self.jobs = Jobs(most_running=settings.max_jobs, store=_job_store(settings.state_dir))
        self.catalog = Catalog(engine, default=settings.default_model, aliases=settings.aliases)
        self.files = FileReader(settings.allow_dirs)
        self.observation = Observation()
        self.gate = Gate(
            at_once=settings.max_concurrency or MAX_CONCURRENCY.get(engine.name, DEFAULT_MAX_CONCURRENCY),
            waiting=settings.max_queue,
            within=settings.queue_timeout,
        )
        self._contexts = ContextPolicy(engine, fixed=settings.num_ctx, cap=settings.max_num_ctx)
        self._loader = Loader(engine, within=settings.first_token_timeout, loaded=lambda: self._changed("loaded"))
        self._observers: dict[object, Callable[[ChangeKind], None]] = {}

    def subscribe(self, callback: Callable[[ChangeKind], None]) -> Callable[[], None]:
        """Have changes that this service made told to a callback, in the event loop; returns what ends it."""
        key = object()
        self._observers[key] = callback

        def unsubscribe() -> None:
            self._observers.pop(key, None)

        return unsubscribe

    def _changed(self, kind: ChangeKind) -> None:
        for callback in list(self._observers.values()):
            callback(kind)

    async def __aenter__(self) -> Self:
        await self.jobs.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._loader.aclose()
        await self.engine.aclose()

    async def chat(self, request: ChatRequest) -> AsyncGenerator[list[ChatEvent]]:
        """The answer as it comes, `Done` last; a list has the events that came together.

        Close the generator to stop the generation.
        """
        with self.observation.of("chat") as seen:
            async with self._admitted(seen), aclosing(self._chat(request, seen)) as batches:
                async for events in batches:
                    seen.answered()
                    if isinstance(last := events[-1], Done):
                        seen.usage = last.usage
                    yield events

    @asynccontextmanager
    async def _admitted(self, seen: Observed) -> AsyncGenerator[None]:
        """A place at the engine."""
        async with self.gate.place():
            seen.admitted()
            yield

    async def _chat(self, request: ChatRequest, seen: Observed) -> AsyncGenerator[list[ChatEvent]]:
        seen.model = model = await self.catalog.resolve(request.model)
        try:
            plan = await self._contexts.plan(model, request)
            keep_alive = request.keep_alive if request.keep_alive is not None else self.settings.keep_alive
            request = request.model_copy(update={"model": model, "num_ctx": plan.num_ctx, "keep_alive": keep_alive})
            await self._loader.warm(model, plan.num_ctx, keep_alive)
            gathered = Fold()
            async with aclosing(self._in_time(request, gathered)) as batches:
                async for events in batches:
                    if gathered.done is not None:
                        try:
                            check_not_cut(model, plan, gathered.done.usage)
                        except PromptTruncated as error:
                            error.partial = gathered.content
                            if pieces := events[:-1]:
                                yield pieces
                            raise
                    yield events
        except ModelNotFound as error:
            raise await self.catalog.explain_missing(error, request.model or model) from error

    async def answer(self, request: ChatRequest) -> ChatResult:
        """The answer once it has ended; cancel to stop the generation."""
        async with aclosing(self.chat(request)) as batches:
            return await fold(batches)

    async def _in_time(self, request: ChatRequest, gathered: Fold) -> AsyncGenerator[list[ChatEvent]]:
        """Pass the engine's events on, each list within its deadline."""
        model = request.model or ""
        started = time.monotonic()
        limit, what = self.settings.first_token_timeout, "did not begin to answer"
        batches = self.engine.chat(request)
        try:
            while gathered.done is None:
                left = self.settings.total_timeout - (time.monotonic() - started)
                try:
                    # anyio's own deadline costs five times as much, and this may be done for each token.
                    async with asyncio.timeout(min(limit, left)):
                        events = await anext(batches)
                except TimeoutError:
                    raise _too_slow(model, limit, left, what, gathered) from None
                except StopAsyncIteration:
                    raise GenerationBroken(f"The answer of {model} stopped without its end.") from None
                gathered.add(events)
                limit, what = self.settings.idle_timeout, "stopped in the middle of its answer"
                yield events
            self._loader.used(model)
        except GenerationBroken as error:
            error.partial = error.partial or gathered.content
            raise
        finally:
            if gathered.done is not None:
                await batches.aclose()
            else:
                with anyio.CancelScope(shield=True):
                    await batches.aclose()

    async def embed(
        self,
        texts: Sequence[str],
        *,
        model: str | None = None,
        dimensions: int | None = None,
        keep_alive: float | str | None = None,
    ) -> EmbedResult:
        """One vector for each text, in their order; without a model by the newest embedding model."""
        with self.observation.of("embeddings") as seen:
            async with self._admitted(seen):
                seen.model = await self.catalog.resolve_embedder(model)
                result = await self._embed(texts, seen.model, dimensions, keep_alive)
            seen.answered()
            seen.usage = result.usage
        return result

    async def _embed(
        self, texts: Sequence[str], name: str, dimensions: int | None, keep_alive: float | str | None
    ) -> EmbedResult:
        request = EmbedRequest(model=name, input=list(texts), dimensions=dimensions, keep_alive=keep_alive)
        try:
            with anyio.fail_after(self.settings.total_timeout):
                return await self.engine.embed(request)
        except TimeoutError:
            raise EngineTimeout(
                f"{name} took longer than {self.settings.total_timeout:g} s to embed {len(texts)} texts; send fewer."
            ) from None
        except ModelNotFound as error:
            raise await self.catalog.explain_missing(error, name) from error

    async def decide(self, request: DecideRequest) -> Decision | None:
        """The engine's own decision; None if it has no way for that."""
        with self.observation.of("decide") as seen:
            async with self._admitted(seen):
                seen.model = await self.catalog.resolve(request.model)
                decision = await self._decide(request, seen.model)
            seen.answered()
        return decision

    async def _decide(self, request: DecideRequest, name: str) -> Decision | None:
        try:
            with anyio.fail_after(self.settings.total_timeout):
                return await self.engine.decide(request.model_copy(update={"model": name}))
        except TimeoutError:
            raise EngineTimeout(
                f"{name} took longer than {self.settings.total_timeout:g} s to decide; use a smaller model."
            ) from None
        except ModelNotFound as error:
            raise await self.catalog.explain_missing(error, name) from error

    async def models(self) -> list[ListedModel]:
        """The installed models, newest first."""
        return await self.catalog.listing()

    async def show(self, model: str | None = None) -> ModelDetails:
        """One model in detail."""
        name = await self.catalog.resolve(model)
        try:
            with self._in_reasonable_time():
                return await self.engine.show(name)
        except ModelNotFound as error:
            raise await self.catalog.explain_missing(error, name) from error

    async def load(
        self, model: str | None = None, *, num_ctx: int | None = None, keep_alive: float | str | None = None
    ) -> RunningModel:
        """Load a model, or keep a loaded one for longer; a chosen context is kept for the requests that follow."""
        name = await self.catalog.resolve(model)
        try:
            length = await self._contexts.to_load(name, num_ctx)
            await self._loader.load(name, length, keep_alive if keep_alive is not None else self.settings.keep_alive)
            running = await self.engine.running()
        except ModelNotFound as error:
            raise await self.catalog.explain_missing(error, name) from error
        return next((found for found in running if same_model(found.name, name)), RunningModel(name=name))

    async def unload(self, model: str) -> str:
        """Free the memory a model takes, if it is loaded; the model's name."""
        name = await self.catalog.resolve(model)
        self._loader.forget(name)
        try:
            with self._in_reasonable_time():
                await self.engine.unload(name)
        except ModelNotFound as error:
            raise await self.catalog.explain_missing(error, name) from error
        self._changed("loaded")
        return name

    def nameable(self, model: str) -> str:
        """The name of a model that may not be installed yet; `InvalidRequest` if it cannot be one."""
        return check_source(self.catalog.aliases.get(model, model))

    async def pull(self, model: str) -> AsyncGenerator[PullProgress]:
        """Download a model, telling how far it is; closing the generator stops it, and a next one goes on there."""
        name = self.nameable(model)
        limit = self.settings.first_token_timeout
        steps = self.engine.pull(name)
        try:
            while True:
                with anyio.fail_after(limit):
                    step = await anext(steps, None)
                if step is None:
                    break
                yield step
        except TimeoutError:
            raise EngineTimeout(
                f"Nothing was heard of the download of {name} for {limit:g} s; start it again to go on from there."
            ) from None
        finally:
            with anyio.CancelScope(shield=True):
                await steps.aclose()
        self._changed("models")

    async def delete(self, model: str) -> str:
        """Remove a model from the disk; its name."""
        name = self.nameable(model)
        try:
            with self._in_reasonable_time():
                await self.engine.delete(name)
        except ModelNotFound as error:
            raise await self.catalog.explain_missing(error, name) from error
        self._loader.forget(name)
        self._changed("models")
        self._changed("loaded")
        return name

    @contextmanager
    def _in_reasonable_time(self) -> Generator[None]:
        """The deadline of what an engine does at once or not at all."""
        limit = self.settings.idle_timeout
        try:
            with anyio.fail_after(limit):
                yield
        except TimeoutError:
            raise EngineTimeout(
                f"{self.engine.address} did not answer within {limit:g} s; it may be overloaded: try again, or "
                "restart it."
            ) from None

    async def health(self) -> Health:
        """How the engine is, within three seconds whatever it does; never raises a `ServiceError`."""
        health = Health(
            status="unreachable",
            engine=self.engine.name,
            address=self.engine.address,
            reachable=False,
            default_model=self.settings.default_model,
        )
        try:
            with anyio.fail_after(HEALTH_TIMEOUT):
                started = time.monotonic()
                health.version = await self.engine.version()
                health.latency_ms = round((time.monotonic() - started) * 1000, 2)
                health.status, health.reachable = "degraded", True
                health.loaded_models = await self.engine.running()
                installed = await self.engine.models()
        except TimeoutError:
            health.advice = (
                f"{self.engine.address} did not answer within {HEALTH_TIMEOUT:g} s: it may be overloaded or still "
                "starting; try again, or restart it."
            )
        except ServiceError as error:
            health.advice = error.message
        else:
            if installed:
                health.status = "ok"
            else:
                health.advice = "No model is installed; get one with `ollama pull llama3.2`."
        return health


def _job_store(directory: Path | None) -> "JobStore | None":
    if directory is None:
        return None
    from ollama_mcp.job_store import JobStore  # SQLite takes a while to import

    return JobStore(directory)


def _too_slow(model: str, limit: float, left: float, what: str, gathered: Fold) -> EngineTimeout:
    if left <= limit:
        return EngineTimeout(
            f"{model} was still writing at the total time limit; ask for less, or raise the total timeout.",
            partial=gathered.content,
        )
    return EngineTimeout(
        f"{model} {what} within {limit:g} s; it may be overloaded: try again later, use a smaller model, or "
        "raise the timeout.",
        partial=gathered.content,
    )
