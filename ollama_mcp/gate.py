"""How many requests the engine is given at once, and how many may wait for that."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio

from ollama_mcp.errors import EngineBusy, QueueFull

RETRY_AFTER = 5.0


class Gate:
    """Lets `at_once` requests through; up to `waiting` more wait `within` seconds, first come, first served."""

    def __init__(self, *, at_once: int, waiting: int, within: float) -> None:
        self._limiter = anyio.CapacityLimiter(at_once)
        self._most_waiting = waiting
        self._within = within

    @property
    def running(self) -> int:
        """How many are through."""
        return self._limiter.borrowed_tokens

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._limiter.statistics().tasks_waiting

    @asynccontextmanager
    async def place(self) -> AsyncGenerator[None]:
        """A place at the engine, for as long as the block takes; `QueueFull` at once, `EngineBusy` after a wait."""
        # A generator may be left in another task than it was entered in, so no task can be the holder.
        holder = object()
        try:
            self._limiter.acquire_on_behalf_of_nowait(holder)
        except anyio.WouldBlock:
            await self._wait(holder)
        try:
            yield
        finally:
            self._limiter.release_on_behalf_of(holder)

    async def _wait(self, holder: object) -> None:
        if self.waiting >= self._most_waiting:
            raise QueueFull(
                f"The server is full: {self.running} requests are under way and {self.waiting} wait; "
                "try again in a moment.",
                retry_after=RETRY_AFTER,
            )
        try:
            with anyio.fail_after(self._within):
                await self._limiter.acquire_on_behalf_of(holder)
        except TimeoutError:
            raise EngineBusy(
                f"{self.running} requests are under way, and for {self._within:g} s none of them ended to make room; "
                "try again later.",
                retry_after=RETRY_AFTER,
            ) from None
