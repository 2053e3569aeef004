"""A job as it stands, in memory, on disk and for those who ask."""

from typing import Literal

from ollama_mcp.chat import ChatResult, Lazy

JobState = Literal["running", "done", "failed", "cancelled", "lost"]


class JobError(Lazy):
    """Why a job failed; the text until then is the record's."""

    type: str
    message: str
    retryable: bool = False


class JobRecord(Lazy):
    """A job as it stands. Times are in seconds since the epoch."""

    id: str
    state: JobState
    model: str | None = None
    started: float
    ended: float | None = None
    content: str = ""
    reasoning: str = ""
    note: str | None = None
    result: ChatResult | None = None
    error: JobError | None = None

    def as_lost(self) -> "JobRecord":
        """The same job after its process has ended without it."""
        error = JobError(
            type="JobLost", message="The server ended while the job ran; start it again.", retryable=True
        )
        return self.model_copy(update={"state": "lost", "error": error})
