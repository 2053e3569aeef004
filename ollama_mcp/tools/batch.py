"""The tool `batch`: one instruction over many inputs."""

import time
from functools import partial
from typing import Annotated, Self

from mcp.types import CallToolResult, TextContent, ToolAnnotations
from pydantic import Field, WithJsonSchema, model_validator

from ollama_mcp.batch import HOPELESS, MakeRequest, Outcome, ask_all
from ollama_mcp.chat import ChatRequest, Lazy, Message, ResponseFormat, Usage
from ollama_mcp.errors import EngineTimeout
from ollama_mcp.service import Service
from ollama_mcp.tools.answer import deadline_of
from ollama_mcp.tools.base import Arguments, ServiceTool, ToolContext
from ollama_mcp.tools.counting import Counter

MOST = 1000

Inputs = Annotated[list[str], Field(min_length=1, max_length=MOST)]
OBJECT = {"type": "object", "description": "As in chat_completion"}


class BatchArguments(Arguments):
    """What `batch` takes."""

    instruction: str = Field(min_length=1, description="What to do with each input")
    inputs: Inputs | None = None
    files: Inputs | None = Field(None, description="In place of inputs: paths of local files, each an input")
    model: str | None = None
    max_tokens: int | None = Field(None, ge=1, description="For each answer")
    temperature: float | None = Field(None, ge=0, le=2)
    think: bool | None = None
    response_format: Annotated[ResponseFormat, WithJsonSchema(OBJECT)] | None = None
    concurrency: int = Field(2, ge=1, le=8)

    @classmethod
    def nested(cls) -> frozenset[str]:
        """The arguments that are lists or objects and never strings."""
        return frozenset({"inputs", "files", "response_format"})

    @model_validator(mode="after")
    def _has_inputs(self) -> Self:
        if (self.inputs is None) == (self.files is None):
            raise ValueError("give either inputs or files")
        return self

    def requests(self, service: Service, model: str) -> list[MakeRequest]:
        """What asks for the answer to each input."""
        if self.files is not None:
            return [partial(service.files.attach, self._request(model), [path]) for path in self.files]
        return [partial(_soon, self._request(model, text)) for text in self.inputs or ()]

    def _request(self, model: str, text: str | None = None) -> ChatRequest:
        prompt = self.instruction if text is None else f"{self.instruction}\n\n{text}"
        return ChatRequest(
            model=model,
            messages=[Message(role="user", content=prompt)],
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            think=self.think,
            response_format=self.response_format,
        )


class BatchItem(Lazy):
    """What became of one input: content, or an error that says why there is none."""

    index: int
    file: str | None = None
    content: str | None = None
    error: str | None = None
    warnings: list[str] | None = None


class BatchResult(Lazy):
    """The answers, in the order of the inputs."""

    model: str
    total: int
    done: int
    failed: int
    items: list[BatchItem]
    not_done: list[int] | None = Field(None, description="Indexes of the inputs that were not come to")
    usage: Usage
    seconds: float
    advice: str | None = Field(None, description="How to go on, if not all was done")


def batch_tool(service: Service) -> ServiceTool:
    """The tool over a service."""

    async def batch(arguments: BatchArguments, ctx: ToolContext) -> CallToolResult:
        started = time.monotonic()
        model = await service.catalog.resolve(arguments.model)
        requests = arguments.requests(service, model)
        counter = Counter(ctx.report_progress, total=len(requests))
        count = failed = 0

        def so_far() -> str:
            return f"{count}/{len(requests)} done" + (f", {failed} of them failed" if failed else "")

        async def settled(index: int, outcome: Outcome) -> None:
            nonlocal count, failed
            count += 1
            failed += outcome.error is not None
            await counter.tell(count, so_far())

        deadline = deadline_of(ctx, service)
        async with counter.beating(service.settings.heartbeat, so_far):
            outcomes = await ask_all(
                service,
                requests,
                concurrency=arguments.concurrency,
                deadline=deadline,
                settled=settled,
                give_up_on=HOPELESS,
            )
        result = _result(model, outcomes, arguments.files)
        result.seconds = round(time.monotonic() - started, 3)
        if not result.done:
            _raise_what_stopped_it(outcomes, deadline)
        return CallToolResult(
            content=[TextContent(text=result.model_dump_json(exclude_none=True, indent=1))],
            structured_content=result.model_dump(mode="json", exclude_none=True),
            is_error=not result.done,
        )

    return ServiceTool.of(
        batch,
        title="Batch",
        description=(
            "One instruction over many inputs with a local model: classify, extract, translate, summarize each. "
            "Keeps what was done when some fail."
        ),
        annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False),
        output=BatchResult,
    )


async def _soon(request: ChatRequest) -> ChatRequest:
    return request


def _raise_what_stopped_it(outcomes: list[Outcome | None], deadline: float) -> None:
    """Raise if there is nothing to show but one reason for all inputs."""
    errors = [outcome.error for outcome in outcomes if outcome is not None and outcome.error is not None]
    for error in errors:
        if isinstance(error, HOPELESS) or len(outcomes) == 1:
            raise error
    if not errors:
        raise EngineTimeout(
            f"No input was done within {deadline:g} s; give fewer and shorter inputs, use a smaller model, or set "
            "max_tokens. A client that asks for progress has no such limit."
        )


def _result(model: str, outcomes: list[Outcome | None], files: list[str] | None) -> BatchResult:
    items = [
        BatchItem(
            index=index,
            file=files[index] if files is not None else None,
            content=outcome.result.content if outcome.result else None,
            error=outcome.error.message if outcome.error else None,
            warnings=_warnings(outcome),
        )
        for index, outcome in enumerate(outcomes)
        if outcome is not None
    ]
    failed = sum(item.error is not None for item in items)
    result = BatchResult(
        model=model,
        total=len(outcomes),
        done=len(items) - failed,
        failed=failed,
        items=items,
        usage=_total_usage(outcomes),
        seconds=0,
    )
    if len(items) < len(outcomes):
        result.not_done = [index for index, outcome in enumerate(outcomes) if outcome is None]
        hopeless = next(
            (outcome.error for outcome in outcomes if outcome and isinstance(outcome.error, HOPELESS)), None
        )
        why = hopeless.message if hopeless else "The time that a call without progress may take was over."
        result.advice = f"{why} To go on, call again with the inputs of not_done alone."
    return result


def _warnings(outcome: Outcome) -> list[str] | None:
    if outcome.result is None:
        return None
    warnings = list(outcome.result.warnings)
    if outcome.result.finish_reason == "length":
        warnings.append("The answer is incomplete: it reached max_tokens or the end of the context.")
    return warnings or None


def _total_usage(outcomes: list[Outcome | None]) -> Usage:
    used = [outcome.result.usage for outcome in outcomes if outcome and outcome.result and outcome.result.usage]
    return Usage(
        prompt_tokens=sum(usage.prompt_tokens for usage in used),
        completion_tokens=sum(usage.completion_tokens for usage in used),
        total_tokens=sum(usage.total_tokens for usage in used),
    )
