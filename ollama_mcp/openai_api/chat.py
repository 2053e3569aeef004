"""POST /v1/chat/completions."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ollama_mcp.chat import ChatEvent, ChatResult, Delta, Done, ToolCall, Usage
from ollama_mcp.openai_api.body import read_body
from ollama_mcp.openai_api.disconnect import unless_gone
from ollama_mcp.openai_api.schemas import ChatCompletionBody
from ollama_mcp.openai_api.sse import DONE, EventStream
from ollama_mcp.openai_api.wire import JSON, dumps, new_id
from ollama_mcp.service import Service


class ChatCompletions:
    """The route over a service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def create(self, request: Request) -> Response:
        """Answer a conversation, whole or as it comes."""
        body = await read_body(request, ChatCompletionBody)
        wanted = body.to_request()
        if not body.stream:
            result = await unless_gone(request, self._service.answer(wanted))
            return JSON(_completion(body.model, result))
        usage = body.stream_options is not None and body.stream_options.include_usage is True
        events = _chunks(self._service.chat(wanted), body.model, usage=usage)
        return EventStream(events, heartbeat=self._service.settings.heartbeat)


def _completion(model: str, result: ChatResult) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": result.content or (None if result.tool_calls else ""),
        "refusal": None,
        "annotations": [],
    }
    if result.reasoning:
        message |= _reasoning(result.reasoning)
    if result.tool_calls:
        message["tool_calls"] = [call.model_dump() for call in result.tool_calls]
    answer = {
        "id": new_id("chatcmpl-"),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": message,
                "logprobs": _logprobs(result.logprobs),
                "finish_reason": result.finish_reason,
            }
        ],
        "usage": usage_of(result.usage),
    }
    if result.warnings:
        answer["warnings"] = result.warnings
    return answer


def _reasoning(text: str) -> dict[str, str]:
    # Two names are in use for what OpenAI itself does not show.
    return {"reasoning_content": text, "reasoning": text}


def _logprobs(tokens: Any) -> dict[str, Any] | None:
    return {"content": list(tokens), "refusal": None} if tokens else None


def usage_of(usage: Usage | None) -> dict[str, Any] | None:
    """Token counts in OpenAI's names; None where the engine gave none."""
    if usage is None:
        return None
    counts: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
    if usage.cached_tokens is not None:
        counts["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    return counts


def _call_deltas(first: int, calls: tuple[ToolCall, ...]) -> list[dict[str, Any]]:
    return [{"index": first + offset, **call.model_dump()} for offset, call in enumerate(calls)]


async def _chunks(answer: AsyncGenerator[list[ChatEvent]], model: str, *, usage: bool) -> AsyncGenerator[bytes]:
    """The events of an answer as chunks, those together that came together; the role goes with the first."""
    chunks = _Chunks(model, usage=usage)
    opening = chunks.delta({"role": "assistant", "content": ""})
    async with aclosing(answer) as batches:
        async for events in batches:
            if data := b"".join(map(chunks.of, events)):
                yield opening + data
                opening = b""


class _Chunks:
    """Writes the events of one answer."""

    def __init__(self, model: str, *, usage: bool) -> None:
        self._usage = usage
        self._shared = {
            "id": new_id("chatcmpl-"),
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
        }
        # What is the same in each chunk is encoded once.
        self._head = b"data: " + dumps(self._shared)[:-1] + b',"choices":['
        self._tail = b'],"usage":null}\n\n' if usage else b"]}\n\n"
        self._text_head = self._head + b'{"index":0,"delta":{"content":'
        self._text_tail = b'},"logprobs":null,"finish_reason":null}' + self._tail
        self._calls = 0

    def of(self, event: ChatEvent) -> bytes:
        """The chunk of an event; b"" if it has nothing to say."""
        if not isinstance(event, Delta):
            return self._end(event)
        if not (event.reasoning or event.tool_calls or event.logprobs):
            return self._text_head + dumps(event.content) + self._text_tail if event.content else b""
        delta: dict[str, Any] = {}
        if event.content:
            delta["content"] = event.content
        if event.reasoning:
            delta |= _reasoning(event.reasoning)
        if event.tool_calls:
            delta["tool_calls"] = _call_deltas(self._calls, event.tool_calls)
            self._calls += len(event.tool_calls)
        return self.delta(delta, event.logprobs)

    def delta(self, delta: dict[str, Any], tokens: Any = ()) -> bytes:
        """A chunk with a piece of the answer."""
        choice = {"index": 0, "delta": delta, "logprobs": _logprobs(tokens), "finish_reason": None}
        return self._head + dumps(choice) + self._tail

    def _end(self, event: Done) -> bytes:
        choice = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": event.finish_reason}
        last = {**self._shared, "choices": [choice]}
        if self._usage:
            last["usage"] = None
        if event.warnings:
            last["warnings"] = event.warnings
        data = b"data: " + dumps(last) + b"\n\n"
        if self._usage:
            counts = {**self._shared, "choices": [], "usage": usage_of(event.usage)}
            data += b"data: " + dumps(counts) + b"\n\n"
        return data + DONE
