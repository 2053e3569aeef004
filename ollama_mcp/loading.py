"""Loads of models into memory, each shared by all that wait for it."""

import asyncio
import time
from collections.abc import Callable

from ollama_mcp.catalog import same_model, with_tag
from ollama_mcp.engines.base import Engine
from ollama_mcp.errors import EngineTimeout

WARM_FOR = 240.0
"""Ollama keeps a model for five minutes after its last use, unless it is told otherwise."""


class Loader:
    """Loads models, `within` so many seconds; `loaded` is called after each load."""

    def __init__(self, engine: Engine, *, within: float, loaded: Callable[[], None]) -> None:
        self._engine = engine
        self._within = within
        self._tell = loaded
        self._warm_until: dict[str, float] = {}
        self._loading: dict[tuple[str, int | None], asyncio.Task[None]] = {}

    async def warm(self, model: str, num_ctx: int | None, keep_alive: float | str | None) -> None:
        """Have the model loaded before a request is sent to it.

        A client that leaves while Ollama loads a model aborts the load, so a client with a timeout shorter
        than the load would wait for ever, again and again. The load is therefore a task of its own, which
        all that wait for the model share and none of them can cancel.
        """
        if self._warm_until.get(with_tag(model), 0.0) > time.monotonic():
            return
        if any(same_model(running.name, model) for running in await self._engine.running()):
            return
        await self.load(model, num_ctx, keep_alive)

    async def load(self, model: str, num_ctx: int | None, keep_alive: float | str | None) -> None:
        """Load a model, or join the load that is under way."""
        key = (with_tag(model), num_ctx)
        task = self._loading.get(key)
        if task is None:
            task = asyncio.create_task(self._engine.load(model, num_ctx=num_ctx, keep_alive=keep_alive))
            self._loading[key] = task
            task.add_done_callback(lambda done: self._loaded(key, done))
        try:
            async with asyncio.timeout(self._within):
                await asyncio.shield(task)
        except TimeoutError:
            raise EngineTimeout(
                f"{model} was not loaded within {self._within:g} s; it goes on loading, so try again in a while, "
                "or use a smaller model."
            ) from None

    def _loaded(self, key: tuple[str, int | None], task: asyncio.Task[None]) -> None:
        del self._loading[key]
        # Asking for the exception marks it as seen, for a load that nobody waits for any more.
        if not task.cancelled() and task.exception() is None:
            self._tell()

    def used(self, model: str) -> None:
        """The model has just answered, so it need not be looked for among the loaded ones for a while."""
        self._warm_until[with_tag(model)] = time.monotonic() + WARM_FOR

    def forget(self, model: str) -> None:
        """The model may not be loaded any more."""
        self._warm_until.pop(with_tag(model), None)

    async def aclose(self) -> None:
        """Stop what is loading."""
        loading = list(self._loading.values())
        for task in loading:
            task.cancel()
        await asyncio.gather(*loading, return_exceptions=True)
