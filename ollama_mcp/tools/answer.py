"""Follows what is under way for a caller who waits: progress on the way, and a soft deadline."""

import asyncio
import math
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import anyio

from ollama_mcp.chat import Fold
from ollama_mcp.errors import EngineTimeout
from ollama_mcp.jobs import Job
from ollama_mcp.service import Service
from ollama_mcp.tools.base import ToolContext, takes_progress

THROTTLE = 0.2
"""Seconds between two reports: a few a second are as good to read as one for each token."""

T = TypeVar("T")


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
    _fold: Fold | None = None
    _said: int = 0
    _number: float = 0.0
    _noted: str | None = None
    _last: float = field(default_factory=time.monotonic)

    async def tell(self, fold: Fold, waiting: str, *, note: str | None = None) -> None:
        """Report the new text or a new note, or that there is still none after a while."""
        now = time.monotonic()
        if fold is not self._fold:
            self._fold, self._said = fold, 0
        content = fold.content
        if note != self._noted and note is not None:
            self._number += 0.001
            await self.report(self._number, None, note)
        elif len(content) > self._said:
            news, self._said = content[self._said :], len(content)
            self._number = math.floor(self._number) + float(len(news))
            await self.report(self._number, None, news)
        elif now - self._last >= self.heartbeat:
            self._number += 0.001
            await self.report(self._number, None, waiting)
        else:
            return
        self._noted, self._last = note, now


def progress_of(ctx: ToolContext, service: Service) -> Progress:
    """The progress of a call."""
    return Progress(ctx.report_progress, service.settings.heartbeat)


def deadline_of(ctx: ToolContext, service: Service) -> float:
    """After how many seconds a call must return: a client that takes progress sees it alive and can wait longer."""
    settings = service.settings
    longest = settings.queue_timeout + settings.first_token_timeout + settings.total_timeout
    return longest if takes_progress(ctx) else min(settings.soft_deadline or longest, longest)


async def follow(job: Job, progress: Progress, *, deadline: float) -> bool:
    """Wait for a job, telling its progress; whether it ended in time."""
    started = time.monotonic()
    version = -1
    while job.state == "running":
        if (left := started + deadline - time.monotonic()) <= 0:
            return False
        await job.changed(version, within=min(progress.heartbeat, left))
        version = job.version
        doing = job.note or ("thinking" if job.fold.reasoning else "loading or reading the prompt")
        waited = f"{job.model or 'The model'} is {doing} ({time.time() - job.started:.0f} s)"
        await progress.tell(job.fold, waited, note=job.note)
        await job.finished(within=min(THROTTLE, max(left, 0)))
    await progress.tell(job.fold, "", note=job.note)
    await progress.tell(job.fold, "")
    return True


async def waited_for(work: Coroutine[Any, Any, T], ctx: ToolContext, service: Service, *, what: str) -> T:
    """The result of something that says nothing until its end; it is stopped at the soft deadline."""
    progress, deadline = progress_of(ctx, service), deadline_of(ctx, service)
    started = time.monotonic()
    task = asyncio.create_task(work)
    try:
        while not task.done():
            passed = time.monotonic() - started
            if passed >= deadline:
                raise EngineTimeout(
                    f"{what} is not ready after {deadline:g} s. If the model was loading, it goes on loading: call "
                    "again. Else use a smaller model; a client that asks for progress has no such limit."
                )
            await progress.tell(Fold(), f"{what} is under way ({passed:.0f} s)")
            await asyncio.wait([task], timeout=min(progress.heartbeat, deadline - passed))
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.wait([task])
