"""Reads an answer to its end for a caller who waits: progress on the way, and a soft deadline."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Protocol

import anyio

from ollama_mcp.chat import ChatEvent, Fold

THROTTLE = 0.2
"""Seconds between two reports: a few a second are as good to read as one for each token."""


class Report(Protocol):
    """Sends one report; nothing comes of it where the client asked for none."""

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        """The number, which must grow, its end if it is known, and what to show."""


@dataclass
class Progress:
    """Tells the caller how an answer comes along.

    The number is the count of characters of the answer so far, so a client can tell new text (the number
    grows by the length of the message) from a heartbeat (it grows by a trifle).
    """

    report: Report
    heartbeat: float
    _said: int = 0
    _number: float = 0.0
    _last: float = field(default_factory=time.monotonic)

    async def tell(self, fold: Fold, waiting: str) -> None:
        """Report the new text, or that there is still none after a while."""
        now = time.monotonic()
        content = fold.content
        if len(content) > self._said:
            news, self._said = content[self._said :], len(content)
            self._number = float(self._said)
            await self.report(self._number, None, news)
        elif now - self._last >= self.heartbeat:
            self._number += 0.001
            await self.report(self._number, None, waiting)
        else:
            return
        self._last = now


async def read_answer(
    events: AsyncGenerator[ChatEvent], progress: Progress, *, what: str, soft_deadline: float | None
) -> Fold:
    """Read the events; past the soft deadline the generation is stopped and the fold is left without `done`."""
    fold = Fold()
    started = time.monotonic()
    changed = anyio.Event()
    finished = anyio.Event()
    failure: list[Exception] = []

    async def read() -> None:
        try:
            async with aclosing(events):
                async for event in events:
                    fold.add(event)
                    changed.set()
        except Exception as error:  # noqa: BLE001 - raised below, outside the group that would wrap it
            failure.append(error)
        finished.set()
        changed.set()

    with anyio.move_on_after(soft_deadline):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            while not finished.is_set():
                with anyio.move_on_after(progress.heartbeat):
                    await changed.wait()
                changed = anyio.Event()
                state = "is thinking" if fold.reasoning_parts else "is loading or reading the prompt"
                await progress.tell(fold, f"{what} {state} ({time.monotonic() - started:.0f} s)")
                with anyio.move_on_after(THROTTLE):
                    await finished.wait()
    if failure:
        raise failure[0]
    await progress.tell(fold, "")
    return fold
