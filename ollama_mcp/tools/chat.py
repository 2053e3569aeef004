"""The tool `chat_completion`: hand a conversation or a single prompt to a local model."""

import json
from typing import Annotated, Literal, Self

from mcp.types import CallToolResult, ContentBlock, TextContent, ToolAnnotations
from pydantic import Field, WithJsonSchema, model_validator

from ollama_mcp.chat import ChatRequest, ChatResult, GenerationOptions, Message, ResponseFormat, ToolDefinition
from ollama_mcp.checked import checked, rules_of
from ollama_mcp.errors import EngineBusy, EngineTimeout
from ollama_mcp.job_record import JobRecord
from ollama_mcp.jobs import Job, Work
from ollama_mcp.long_input import map_reduce
from ollama_mcp.service import Service
from ollama_mcp.tools.answer import deadline_of, follow, progress_of
from ollama_mcp.tools.base import ERROR_META, FILES, Arguments, ServiceTool, ToolContext

MESSAGES_SCHEMA = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "role": {"enum": ["system", "user", "assistant", "tool"]},
            "content": {
                "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}],
                "description": 'Text, or parts: {"type":"text","text":…} and '
                '{"type":"image_url","image_url":{"url":"data:image/png;base64,…"}}',
            },
            "tool_calls": {"type": "array", "items": {"type": "object"}},
            "tool_call_id": {"type": "string"},
        },
        "required": ["role"],
    },
}
TOOLS_SCHEMA = {"type": "array", "items": {"type": "object"}}
FORMAT_SCHEMA = {
    "type": "object",
    "properties": {
        "type": {"enum": ["text", "json_object", "json_schema"]},
        "json_schema": {"type": "object", "properties": {"schema": {"type": "object"}}},
    },
    "required": ["type"],
}

DESCRIPTION = (
    "Have a model on the user's own machine answer: private, free, offline. Good for summaries, drafts, "
    "extraction, a second opinion. Returns the whole answer, or the text so far and a job that goes on. JSON is "
    "checked against its schema. A prompt that does not fit is an error, never cut."
)


class ChatArguments(GenerationOptions, Arguments):
    """What `chat_completion` takes."""

    prompt: str | None = Field(None, min_length=1, description="The question; use this or messages")
    messages: (
        Annotated[list[Message], Field(min_length=1, max_length=512), WithJsonSchema(MESSAGES_SCHEMA)] | None
    ) = Field(None, description="A conversation in OpenAI's form")
    system: str | None = Field(None, description="Instructions put before the conversation")
    files: list[str] | None = Field(None, description=FILES)
    model: str | None = Field(None, description="Such as llama3.2 (see list_models); default: the user's")
    response_format: Annotated[ResponseFormat, WithJsonSchema(FORMAT_SCHEMA)] | None = None
    tools: Annotated[list[ToolDefinition], Field(max_length=256), WithJsonSchema(TOOLS_SCHEMA)] | None = Field(
        None, description='OpenAI function tools: {"type":"function","function":{"name":…,"parameters":…}}'
    )

    retries: int = Field(2, ge=0, le=5, description="How often to ask again for an answer that fails its checks")
    quotes_from_input: bool = Field(False, description="Check that quotes in the answer stand in the input")
    overflow: Literal["error", "map_reduce"] = Field(
        "error", description="What to do with text longer than the context; map_reduce reads it in parts"
    )
    background: bool = Field(False, description="Return a job id at once; see job")

    @classmethod
    def nested(cls) -> frozenset[str]:
        """The arguments that are lists or objects and never strings."""
        return frozenset({"messages", "files", "tools", "response_format", "options"})

    @model_validator(mode="after")
    def _asks_one_thing(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give either prompt or messages")
        if self.tools and self.overflow == "map_reduce":
            raise ValueError("overflow map_reduce does not go with tools; leave one of them out")
        return self

    def request(self) -> ChatRequest:
        """The request these arguments stand for."""
        messages = list(self.messages or [Message(role="user", content=self.prompt)])
        if self.system is not None:
            messages.insert(0, Message(role="system", content=self.system))
        options = {name: getattr(self, name) for name in GenerationOptions.model_fields}
        return ChatRequest(model=self.model, messages=messages, **options)


def chat_tool(service: Service) -> ServiceTool:
    """The tool over a service."""

    async def chat_completion(arguments: ChatArguments, ctx: ToolContext) -> CallToolResult:
        jobs = service.jobs
        work = _work(service, arguments, await service.files.attach(arguments.request(), arguments.files))
        async with jobs.attached(work, model=arguments.model) as job:
            if arguments.background:
                await jobs.keep(job)
                return chat_answer(answer_of(job.record()))
            deadline = deadline_of(ctx, service)
            if await follow(job, progress_of(ctx, service), deadline=deadline):
                return chat_answer(job.result())
            try:
                await jobs.keep(job)
            except EngineBusy as error:
                raise EngineTimeout(
                    f"The answer was stopped after {deadline:g} s, as it could not go on as a job: {error.message}",
                    partial=job.fold.content,
                ) from error
            return chat_answer(answer_of(job.record(), reason="deadline"))

    return ServiceTool.of(
        chat_completion,
        title="Chat completion",
        description=DESCRIPTION,
        annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False),
        output=ChatResult,
    )


def _work(service: Service, arguments: ChatArguments, request: ChatRequest) -> Work:
    """How the answer is made."""
    rules = rules_of(request, quotes_from_input=arguments.quotes_from_input)

    async def work(job: Job) -> ChatResult:
        job.model = await service.catalog.resolve(request.model)

        async def ask(asked: ChatRequest) -> ChatResult:
            return await job.read(service.chat(asked))

        async def ask_part(asked: ChatRequest) -> ChatResult:
            return await job.read(service.chat(asked), shown=False)

        async def ask_checked(asked: ChatRequest) -> ChatResult:
            return await checked(ask, asked, rules, retries=arguments.retries, tell=job.tell)

        if arguments.overflow == "map_reduce":
            return await map_reduce(ask_checked, ask_part, request, tell=job.tell)
        return await ask_checked(request)

    return work


def answer_of(record: JobRecord, *, reason: Literal["deadline", "running", "cancelled"] = "running") -> ChatResult:
    """The text so far of a job that has no answer yet, or never will have one."""
    call = json.dumps({"action": "wait", "id": record.id})
    doing = f" ({record.note})" if record.note else ""
    how = f"The answer is incomplete and goes on as a job{doing}; for the rest call the tool job with {call}."
    if reason == "cancelled":
        how = "The answer is incomplete: the job was cancelled."
    return ChatResult(
        model=record.model or "",
        content=record.content,
        reasoning=record.reasoning or None,
        finish_reason=reason,
        job_id=record.id,
        warnings=[how],
    )


def chat_answer(result: ChatResult) -> CallToolResult:
    """The answer itself as the text, what there is to say of it after it, and all of it as structure."""
    bare = not result.content and (result.tool_calls or result.job_id)
    texts = [] if bare else [result.content]
    if result.tool_calls:
        calls = [call.model_dump(mode="json") for call in result.tool_calls]
        texts.append(json.dumps(calls, ensure_ascii=False))
    warnings = list(result.warnings)
    if result.finish_reason == "length":
        warnings.append("The answer is incomplete: it reached max_tokens or the end of the context.")
    failed = result.checks is not None and not result.checks.passed
    if failed and result.checks is not None:
        tries = "; ".join(f"try {number}: {what}" for number, what in enumerate(result.checks.failures, 1))
        warnings.append(f"The answer did not pass its checks in {result.checks.tries} tries: {tries}.")
    texts.extend(f"[{warning}]" for warning in warnings)
    content: list[ContentBlock] = [TextContent(text=text) for text in texts]
    structured = result.model_copy(update={"warnings": warnings}).model_dump(mode="json", exclude_none=True)
    meta = {ERROR_META: {"type": "AnswerInvalid", "retryable": False}} if failed else None
    return CallToolResult(content=content, structured_content=structured, is_error=failed, _meta=meta)
