"""POST /v1/responses, without memory: all that the model is to know comes with the request."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ollama_mcp.chat import ChatEvent, ChatRequest, Delta, ImagePart, ImageURL, Message, TextPart, ToolCall
from ollama_mcp.errors import InvalidRequest
from ollama_mcp.openai_api.body import read_body
from ollama_mcp.openai_api.disconnect import unless_gone
from ollama_mcp.openai_api.responses_events import Answer
from ollama_mcp.openai_api.responses_schemas import (
    Content,
    FunctionChoice,
    InputCall,
    InputCallOutput,
    InputImage,
    InputMessage,
    InputReasoning,
    InputText,
    ResponseBody,
    SchemaFormat,
)
from ollama_mcp.openai_api.sse import DONE, EventStream
from ollama_mcp.openai_api.validation import validate
from ollama_mcp.openai_api.wire import JSON
from ollama_mcp.service import Service


class Responses:
    """The route over a service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def create(self, request: Request) -> Response:
        """Answer an input, whole or as it comes."""
        body = await read_body(request, ResponseBody)
        wanted = to_request(body)
        answer = Answer(body)
        if body.stream:
            return EventStream(
                _events(self._service.chat(wanted), answer),
                heartbeat=self._service.settings.heartbeat,
                failure=answer.fail,
            )
        result = await unless_gone(request, self._service.answer(wanted))
        answer.add(
            Delta(
                content=result.content,
                reasoning=result.reasoning or "",
                tool_calls=tuple(result.tool_calls or ()),
                logprobs=tuple(result.logprobs or ()),
            )
        )
        answer.finish(result.finish_reason, result.usage, result.warnings)
        return JSON(answer.response())


async def _events(batches: AsyncGenerator[list[ChatEvent]], answer: Answer) -> AsyncGenerator[bytes]:
    opened = False
    async with aclosing(batches):
        async for events in batches:
            data = b"" if opened else answer.start()
            opened = True
            for event in events:
                if isinstance(event, Delta):
                    data += answer.add(event)
                else:
                    data += answer.finish(event.finish_reason, event.usage, event.warnings) + DONE
            if data:
                yield data


def to_request(body: ResponseBody) -> ChatRequest:
    """The input as a conversation."""
    messages = _messages(body)
    if not messages:
        raise InvalidRequest("input: holds no message", param="input")
    logprobs = body.top_logprobs is not None or "message.output_text.logprobs" in (body.include or ())
    values: dict[str, Any] = {
        "model": body.model,
        "messages": messages,
        "temperature": body.temperature,
        "top_p": body.top_p,
        "max_tokens": body.max_output_tokens,
        "presence_penalty": body.presence_penalty,
        "frequency_penalty": body.frequency_penalty,
        "parallel_tool_calls": body.parallel_tool_calls,
        "reasoning_effort": body.reasoning.effort if body.reasoning else None,
        "response_format": _format(body),
        "tools": _tools(body),
        "tool_choice": body.tool_choice,
        "logprobs": logprobs or None,
        "top_logprobs": body.top_logprobs,
    }
    if isinstance(body.tool_choice, FunctionChoice):
        values["tool_choice"] = {"type": "function", "function": {"name": body.tool_choice.name}}
    return validate(ChatRequest, values)


def _tools(body: ResponseBody) -> list[dict[str, Any]] | None:
    if not body.tools:
        return None
    return [{"type": "function", "function": tool.model_dump(exclude={"type"})} for tool in body.tools]


def _format(body: ResponseBody) -> dict[str, Any] | None:
    wanted = body.text.format if body.text else None
    if wanted is None:
        return None
    if isinstance(wanted, SchemaFormat):
        return {"type": "json_schema", "json_schema": wanted.model_dump(by_alias=True, exclude={"type"})}
    return {"type": wanted.type}


def _messages(body: ResponseBody) -> list[Message]:
    """The items as messages: calls in a row, and what was thought before them, belong to one message."""
    messages: list[dict[str, Any]] = []
    if body.instructions:
        messages.append({"role": "system", "content": body.instructions})
    if isinstance(body.input, str):
        messages.append({"role": "user", "content": body.input})
        return [Message.model_construct(**message) for message in messages]
    thought: list[str] = []
    for item in body.input:
        match item:
            case InputReasoning():
                thought += [part.text for part in (*(item.content or item.summary or ()),)]
                continue
            case InputMessage():
                messages.append({"role": item.role, "content": _content(item.content)})
            case InputCall():
                if thought or not messages or messages[-1]["role"] != "assistant":
                    messages.append({"role": "assistant"})
                function = {"name": item.name, "arguments": item.arguments}
                call = ToolCall.model_validate({"id": item.call_id, "function": function})
                messages[-1].setdefault("tool_calls", []).append(call)
            case InputCallOutput():
                messages.append({"role": "tool", "tool_call_id": item.call_id, "content": _content(item.output)})
        if thought and messages[-1]["role"] == "assistant":
            messages[-1]["reasoning_content"] = "".join(thought)
        thought = []
    return [Message.model_construct(**message) for message in messages]


def _content(content: Content) -> str | list[TextPart | ImagePart]:
    if isinstance(content, str):
        return content
    parts: list[TextPart | ImagePart] = []
    for part in content:
        if isinstance(part, InputImage):
            url = ImageURL.model_construct(url=part.image_url)
            parts.append(ImagePart.model_construct(type="image_url", image_url=url))
        else:
            text = part.text if isinstance(part, InputText) else part.refusal
            parts.append(TextPart.model_construct(type="text", text=text))
    return parts
