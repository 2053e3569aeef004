"""The tool `job`: wait for, read, list and cancel answers that go on by themselves."""

from datetime import UTC, datetime
from typing import Literal, Self

from mcp.types import CallToolResult, ToolAnnotations
from pydantic import Field, model_validator

from ollama_mcp.chat import ChatResult, Lazy
from ollama_mcp.job_record import JobRecord, JobState
from ollama_mcp.service import Service
from ollama_mcp.tools.answer import deadline_of, follow, progress_of
from ollama_mcp.tools.base import Arguments, ServiceTool, ToolContext, failed
from ollama_mcp.tools.chat import answer_of, chat_answer


class JobArguments(Arguments):
    """What `job` takes."""

    action: Literal["wait", "read", "list", "cancel"]
    id: str | None = Field(None, max_length=100, description="Needed but for list")

    @model_validator(mode="after")
    def _names_its_job(self) -> Self:
        if self.id is None and self.action != "list":
            raise ValueError(f"id is required for {self.action}")
        return self


class JobInfo(Lazy):
    """A job in short."""

    id: str
    state: JobState = Field(description='"lost": the server ended while it ran')
    model: str | None = None
    started: str
    seconds: float = Field(description="How long it has run")
    characters: int = Field(description="Of the answer so far")
    note: str | None = Field(None, description="What goes on, where an answer takes several generations")

    @classmethod
    def of(cls, record: JobRecord) -> Self:
        """A record in short."""
        now = datetime.now(UTC).timestamp()
        return cls(
            id=record.id,
            state=record.state,
            model=record.model,
            started=datetime.fromtimestamp(record.started, UTC).isoformat(timespec="seconds"),
            seconds=round((record.ended or now) - record.started, 1),
            characters=len(record.result.content if record.result else record.content),
            note=record.note if record.state == "running" else None,
        )


class JobReport(Lazy):
    """The jobs that were asked for, newest first, and the answer of a single one."""

    jobs: list[JobInfo]
    more: bool | None = Field(None, description="Whether there are older jobs than these; their ids still work")
    answer: ChatResult | None = Field(None, description="Whole if the job is done, else the text so far")


def job_tool(service: Service) -> ServiceTool:
    """The tool over a service."""
    jobs = service.jobs

    async def job(arguments: JobArguments, ctx: ToolContext) -> JobReport | CallToolResult:
        if arguments.id is None or arguments.action == "list":
            newest, more = await jobs.newest()
            return JobReport(jobs=[JobInfo.of(record) for record in newest], more=more or None)
        if arguments.action == "cancel":
            return _told(await jobs.cancel(arguments.id))
        if arguments.action == "wait" and (running := jobs.running(arguments.id)) is not None:
            await follow(running, progress_of(ctx, service), deadline=deadline_of(ctx, service))
        return _told(await jobs.record(arguments.id))

    return ServiceTool.of(
        job,
        title="Job",
        description="Wait for (or read, cancel, list) answers of chat_completion that go on as jobs.",
        annotations=ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False),
        output=JobReport,
    )


def _told(record: JobRecord) -> CallToolResult:
    """A job as its call would have answered, with its state beside."""
    if record.error is not None:
        return failed(
            record.error.message, record.error.type, retryable=record.error.retryable, partial=record.content
        )
    answer = record.result or answer_of(record, reason="cancelled" if record.state == "cancelled" else "running")
    told = chat_answer(answer.model_copy(update={"job_id": record.id}))
    told.structured_content = {
        "jobs": [JobInfo.of(record).model_dump(mode="json", exclude_none=True)],
        "answer": told.structured_content,
    }
    return told
