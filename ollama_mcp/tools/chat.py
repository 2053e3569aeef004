"""The tool `chat_completion`: hand a conversation or a single prompt to a local model."""

import json
from typing import Annotated, Self

from mcp.types import CallToolResult, ContentBlock, TextContent, ToolAnnotations
from pydantic import Field, WithJsonSchema, model_validator

from ollama_mcp.chat import ChatRequest, ChatResult, Fold, GenerationOptions, Message, ResponseFormat, ToolDefinition
from ollama_mcp.errors import EngineTimeout
from ollama_mcp.service import Service
from ollama_mcp.tools.answer import Progress, read_answer
from ollama_mcp.tools.base import FILES, Arguments, ServiceTool, ToolContext, takes_progress

MESSAGES_SCHEMA = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "role": {"enum": ["system", "user", "assistant", "tool"]},
            "content": {
                "description": 'Text, or parts: {"type":"text","text":…} and '
                '{"type":"image_url","image_url":{"url":"data:image/png;base64,…"}}'
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
    "extraction, a second opinion. Returns the whole answer; a prompt that does not fit is an error, never cut."
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

    @classmethod
    def nested(cls) -> frozenset[str]:
        """The arguments that are lists or objects and never strings."""
        return frozenset({"messages", "files", "tools", "response_format", "options"})

    @model_validator(mode="after")
    def _asks_one_thing(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give either prompt or messages")
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
        settings = service.settings
        deadline = None if takes_progress(ctx) else settings.soft_deadline or None
        what = arguments.model or "The model"
        events = service.chat(await service.files.attach(arguments.request(), arguments.files))
        progress = Progress(ctx.report_progress, settings.heartbeat)
        fold = await read_answer(events, progress, what=what, soft_deadline=deadline)
        if fold.done is None:
            return _so_far(fold, what, settings.soft_deadline)
        return chat_answer(fold.result())

    return ServiceTool.of(
        chat_completion,
        title="Chat completion",
        description=DESCRIPTION,
        annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False),
        output=ChatResult,
    )


def _so_far(fold: Fold, what: str, seconds: float) -> CallToolResult:
    if not fold.content and not fold.reasoning:
        raise EngineTimeout(
            f"{what} has not begun to answer after {seconds:g} s. If it was loading, it goes on loading: call again. "
            "Else use a smaller model or a shorter prompt; a client that asks for progress has no such limit."
        )
    advice = (
        f"The answer is incomplete: it was stopped after {seconds:g} s, before the client would give up. To go on, "
        "call again with this text as the last assistant message and a user message that asks to continue; or "
        "ask for less with max_tokens."
    )
    return chat_answer(
        ChatResult(
            model=what,
            content=fold.content,
            reasoning=fold.reasoning or None,
            tool_calls=fold.tool_calls or None,
            finish_reason="deadline",
            warnings=[advice],
        )
    )


def chat_answer(result: ChatResult) -> CallToolResult:
    """The answer itself as the text, what there is to say of it after it, and all of it as structure."""
    texts = [result.content] if result.content or not result.tool_calls else []
    if result.tool_calls:
        calls = [call.model_dump(mode="json") for call in result.tool_calls]
        texts.append(json.dumps(calls, ensure_ascii=False))
    if result.finish_reason == "length":
        result.warnings.append("The answer is incomplete: it reached max_tokens or the end of the context.")
    texts.extend(f"[{warning}]" for warning in result.warnings)
    content: list[ContentBlock] = [TextContent(text=text) for text in texts]
    return CallToolResult(content=content, structured_content=result.model_dump(mode="json", exclude_none=True))
