"""Looks at the engine's models every few seconds, and tells what has changed since; runs only when told to."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import anyio

from ollama_mcp.catalog import with_tag
from ollama_mcp.errors import ServiceError
from ollama_mcp.service import Service

LOOK_TIMEOUT = 5.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Change:
    """What is other than it was: models by their full names."""

    installed: frozenset[str] = frozenset()
    """Models that came, went, or were replaced."""
    loaded: frozenset[str] = frozenset()
    """Models that were loaded or unloaded."""
    reachable: bool | None = None
    """Whether the engine came or went; None if neither."""


@dataclass(frozen=True)
class _Seen:
    reachable: bool
    installed: Mapping[str, str | None] = field(default_factory=dict)
    """The version of each model, by name."""
    loaded: frozenset[str] = frozenset()

    def change_to(self, now: "_Seen") -> Change | None:
        names = self.installed.keys() | now.installed.keys()
        absent = object()
        change = Change(
            installed=frozenset(
                name for name in names if self.installed.get(name, absent) != now.installed.get(name, absent)
            ),
            loaded=self.loaded ^ now.loaded,
            reachable=now.reachable if now.reachable != self.reachable else None,
        )
        return None if change == Change() else change


class Watcher:
    """One task over a service's engine, whoever made the change."""

    def __init__(self, service: Service, tell: Callable[[Change], Awaitable[None]], *, interval: float) -> None:
        self._service = service
        self._tell = tell
        self._interval = interval
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Whether changes are being looked for."""
        return self._task is not None

    def start(self) -> None:
        """Look from now on; what is there now is not told."""
        if self._task is None:
            self._task = asyncio.create_task(self._watch())

    def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _watch(self) -> None:
        soon = asyncio.Event()
        unsubscribe = self._service.subscribe(lambda kind: soon.set())
        try:
            seen = await self._look(_Seen(reachable=False))
            while True:
                with anyio.move_on_after(self._interval):
                    await soon.wait()
                soon.clear()
                now = await self._look(seen)
                if change := seen.change_to(now):
                    await self._tell(change)
                seen = now
        finally:
            unsubscribe()

    async def _look(self, before: _Seen) -> _Seen:
        """The state of things; of an engine that does not answer only that is known, and the rest stands."""
        engine = self._service.engine
        try:
            with anyio.fail_after(LOOK_TIMEOUT):
                installed = await engine.models()
                running = await engine.running()
        except (ServiceError, TimeoutError) as error:
            logger.debug("the engine's models were not seen: %s", type(error).__name__)
            return _Seen(reachable=False, installed=before.installed, loaded=before.loaded)
        return _Seen(
            reachable=True,
            installed={with_tag(info.name): info.digest or info.modified_at for info in installed},
            loaded=frozenset(with_tag(model.name) for model in running),
        )
