"""Progress of a call that counts something: items, models, bytes."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

from ollama_mcp.tools.answer import Report

TRIFLE = 0.001


class Counter:
    """Reports a count that grows, and between its steps, by a trifle, that the call is alive."""

    def __init__(self, report: Report, *, total: float | None = None) -> None:
        self._report = report
        self._total = total
        self._number = 0.0

    async def tell(self, count: float, message: str, *, total: float | None = None) -> None:
        """Report how far it is; the number that the client sees always grows."""
        self._number = max(count, self._number + TRIFLE)
        self._total = total if total is not None else self._total
        await self._report(self._number, self._total, message)

    @asynccontextmanager
    async def beating(self, every: float, message: Callable[[], str]) -> AsyncGenerator[None]:
        """Report every so many seconds as long as the block runs."""

        async def beat() -> None:
            while True:
                await asyncio.sleep(every)
                await self.tell(0, message())

        task = asyncio.create_task(beat())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
