"""Answers that outlive the call that asked for them.

Every answer to an MCP client is made by a `Job`, a task of its own, which the call only follows. As long as the
call is attached the two end together; once the job is kept it goes on, and can be found by its id.
"""

import asyncio
import logging
import secrets
import time
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from ollama_mcp.chat import ChatEvent, ChatResult, Fold
from ollama_mcp.errors import EngineBusy, InvalidRequest, ServiceError
from ollama_mcp.job_record import JobError, JobRecord, JobState

if TYPE_CHECKING:
    from ollama_mcp.job_store import JobStore

FINISHED_KEPT = 200
FINISHED_FOR = 3600.0
"""Seconds that a finished job stays in memory."""

LISTED = 50
SAVE_EVERY = 1.0

log = logging.getLogger(__name__)

Work = Callable[["Job"], Awaitable[ChatResult]]
"""Makes an answer, reading what models say through the job so that its followers see it."""


class Job:
    """One answer under way."""

    def __init__(self, work: Work, *, model: str | None) -> None:
        self.id = f"job_{secrets.token_urlsafe(15)}"
        self.model = model
        self.started = time.time()
        self.fold = Fold()
        """What there is of the answer; another one when the answer is begun anew."""
        self.note: str | None = None
        """What goes on, where an answer takes more than one generation."""
        self.ended: float | None = None
        self.version = 0
        """Grows with each change."""
        self._lost = False
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(self._work(work))
        self._task.add_done_callback(self._end)

    @property
    def state(self) -> JobState:
        """How far the job is."""
        if not self._task.done():
            return "running"
        if self._task.cancelled():
            return "lost" if self._lost else "cancelled"
        return "done" if self._task.exception() is None else "failed"

    async def read(self, batches: AsyncGenerator[list[ChatEvent]], *, shown: bool = True) -> ChatResult:
        """Read an answer of a model to its end; if it is shown it takes the place of what was shown before."""
        fold = Fold()
        if shown:
            self.fold = fold
        async with aclosing(batches):
            async for events in batches:
                fold.add(events)
                self._stir()
        return fold.result()

    def tell(self, note: str) -> None:
        """Say what goes on."""
        self.note = note
        self._stir()

    async def changed(self, since: int, within: float) -> None:
        """Wait for a change after the version `since`; the end is one too."""
        if self.version == since:
            with anyio.move_on_after(within):
                await self._changed.wait()

    async def finished(self, within: float) -> bool:
        """Wait for the end; whether it has come."""
        if not self._task.done():
            await asyncio.wait([self._task], timeout=within)
        return self._task.done()

    async def cancel(self, *, lost: bool = False) -> None:
        """Stop the generation, and return once it has stopped; `lost` if nobody has asked for that."""
        self._lost = lost
        self._task.cancel()
        await asyncio.wait([self._task])

    def result(self) -> ChatResult:
        """The answer of a job that is done; raises what made it fail."""
        return self._task.result()

    def record(self) -> JobRecord:
        """The job as it stands."""
        state = self.state
        record = JobRecord(
            id=self.id,
            state=state,
            model=self.model,
            started=self.started,
            ended=self.ended,
            content=self.fold.content,
            reasoning=self.fold.reasoning,
            note=self.note,
        )
        if state == "lost":
            return record.as_lost()
        if state == "failed":
            record.error = _error(self._task.exception())
        if state == "done":
            record.result = self._task.result()
            record.model = record.result.model
        return record

    async def _work(self, work: Work) -> ChatResult:
        return await work(self)

    def _end(self, task: asyncio.Task[ChatResult]) -> None:
        self.ended = time.time()
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, ServiceError):
            places = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
            log.error("A job failed with %s at %s", type(error).__name__, ", ".join(places))
        self._stir()

    def _stir(self) -> None:
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()


class Jobs:
    """The jobs that go on by themselves, and those that have ended of late."""

    def __init__(self, *, most_running: int, store: "JobStore | None" = None) -> None:
        self._most_running = most_running
        self._store = store
        self._kept: dict[str, Job] = {}
        self._saving: dict[str, asyncio.Task[None]] = {}

    async def open(self) -> None:
        """Open the store, if there is one; `ConfigurationError` if it cannot be used."""
        if self._store is not None:
            await self._store.open()

    async def aclose(self) -> None:
        """Stop what runs, marked as lost, and let go of the store."""
        running = [job.cancel(lost=True) for job in self._kept.values() if job.state == "running"]
        await asyncio.gather(*running)
        await asyncio.gather(*self._saving.values())
        if self._store is not None:
            await self._store.aclose()

    @asynccontextmanager
    async def attached(self, work: Work, *, model: str | None) -> AsyncGenerator[Job]:
        """A job that is stopped at the end of the block, unless it is kept by then."""
        job = Job(work, model=model)
        try:
            yield job
        finally:
            if job.id not in self._kept and job.state == "running":
                with anyio.CancelScope(shield=True):
                    await job.cancel()

    async def keep(self, job: Job) -> None:
        """Let a job go on by itself; `EngineBusy` if as many as may do so already."""
        self._forget_old()
        running = sum(kept.state == "running" for kept in self._kept.values())
        if running >= self._most_running:
            raise EngineBusy(
                f"{running} jobs are running, and no more may: wait for one or cancel one with the tool job, or "
                "raise max_jobs.",
                retry_after=10.0,
            )
        self._kept[job.id] = job
        if self._store is not None:
            saving = asyncio.create_task(_save_until_its_end(job, self._store))
            self._saving[job.id] = saving
            saving.add_done_callback(lambda _: self._saving.pop(job.id, None))

    def running(self, job_id: str) -> Job | None:
        """A job of this process that still runs."""
        job = self._kept.get(job_id)
        return job if job is not None and job.state == "running" else None

    async def record(self, job_id: str) -> JobRecord:
        """A job as it stands; `InvalidRequest` if there is none with that id."""
        self._forget_old()
        if (job := self._kept.get(job_id)) is not None:
            return job.record()
        found = await self._store.find(job_id) if self._store is not None else None
        if found is None:
            gone = (
                "" if self._store is not None else f"; one that has ended is kept for {FINISHED_FOR / 60:.0f} minutes"
            )
            raise InvalidRequest(
                f"There is no job {job_id[:64]!r}{gone}. The action list shows the jobs.", param="id"
            )
        return found

    async def newest(self) -> tuple[list[JobRecord], bool]:
        """The jobs as they stand, the newest first, and whether there are older ones than these."""
        self._forget_old()
        records = {job.id: job.record() for job in self._kept.values()}
        if self._store is not None:
            records = {record.id: record for record in await self._store.newest(LISTED + 1)} | records
        found = sorted(records.values(), key=lambda record: record.started, reverse=True)
        return found[:LISTED], len(found) > LISTED

    async def cancel(self, job_id: str) -> JobRecord:
        """Stop a job and its generation; one that has ended stays as it is."""
        if (job := self.running(job_id)) is not None:
            await job.cancel()
        record = await self.record(job_id)
        if record.state == "running":
            raise InvalidRequest(f"{job_id} runs in another process of ollama-mcp; cancel it there.", param="id")
        return record

    def _forget_old(self) -> None:
        ended = sorted(((job.ended, job.id) for job in self._kept.values() if job.ended is not None), reverse=True)
        for place, (when, job_id) in enumerate(ended):
            if place >= FINISHED_KEPT or time.time() - when > FINISHED_FOR:
                del self._kept[job_id]


async def _save_until_its_end(job: Job, store: "JobStore") -> None:
    saved = ""
    try:
        while True:
            record = job.record()
            if (text := record.model_dump_json()) != saved:
                await store.save(record)
                saved = text
            if record.state != "running":
                return
            await job.finished(within=SAVE_EVERY)
    except ServiceError as error:
        log.error("A job goes on in memory alone. %s", error.message)  # noqa: TRY400 - told whole


def _error(error: BaseException | None) -> JobError:
    if isinstance(error, ServiceError):
        return JobError(type=type(error).__name__, message=error.message, retryable=error.retryable)
    return JobError(type="InternalError", message="The job failed by a mistake of ollama-mcp; the log tells which.")
