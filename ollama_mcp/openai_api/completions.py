"""POST /v1/completions, the older form: one text in, one text out."""

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ollama_mcp.chat import ChatEvent, Delta
from ollama_mcp.openai_api.body import read_body
from ollama_mcp.openai_api.chat import usage_of
from ollama_mcp.openai_api.disconnect import unless_gone
from ollama_mcp.openai_api.schemas import CompletionBody
from ollama_mcp.openai_api.sse import DONE, EventStream
from ollama_mcp.openai_api.wire import JSON, dumps, new_id
from ollama_mcp.service import Service


class Completions:
    """The route over a service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def create(self, request: Request) -> Response:
        """Answer a prompt, whole or as it comes."""
        body = await read_body(request, CompletionBody)
        shared = {
            "id": new_id("cmpl-"),
            "object": "text_completion",
            "created": int(time.time()),
            "model": body.model,
        }
        echo = body.prompt if body.echo else ""
        if body.stream:
            usage = body.stream_options is not None and body.stream_options.include_usage is True
            events = _chunks(self._service.chat(body.to_request()), shared, echo, usage=usage)
            return EventStream(events, heartbeat=self._service.settings.heartbeat)
        result = await unless_gone(request, self._service.answer(body.to_request()))
        choice = _choice(echo + result.content, _Offsets(len(echo)).logprobs(result.logprobs or ()), _finish(result))
        answer = {**shared, "choices": [choice], "usage": usage_of(result.usage)}
        if result.warnings:
            answer["warnings"] = result.warnings
        return JSON(answer)


def _choice(text: str, logprobs: dict[str, Any] | None, finish: str | None) -> dict[str, Any]:
    return {"index": 0, "text": text, "logprobs": logprobs, "finish_reason": finish}


def _finish(end: Any) -> str:
    return "length" if end.finish_reason == "length" else "stop"


class _Offsets:
    """Turns token log probabilities into the older form, which tells where in the text each token begins."""

    def __init__(self, start: int) -> None:
        self._at = start

    def logprobs(self, tokens: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
        if not tokens:
            return None
        offsets = []
        for token in tokens:
            offsets.append(self._at)
            self._at += len(token["token"])
        return {
            "tokens": [token["token"] for token in tokens],
            "token_logprobs": [token["logprob"] for token in tokens],
            "top_logprobs": [
                {other["token"]: other["logprob"] for other in token.get("top_logprobs") or ()} for token in tokens
            ],
            "text_offset": offsets,
        }


async def _chunks(
    answer: AsyncGenerator[list[ChatEvent]], shared: dict[str, Any], echo: str, *, usage: bool
) -> AsyncGenerator[bytes]:
    offsets = _Offsets(len(echo))
    extra = {"usage": None} if usage else {}

    def chunk(**values: Any) -> bytes:
        return b"data: " + dumps({**shared, **values}) + b"\n\n"

    opening = chunk(choices=[_choice(echo, None, None)], **extra) if echo else b""

    def written(event: ChatEvent) -> bytes:
        if isinstance(event, Delta):
            if not event.content and not event.logprobs:
                return b""
            return chunk(choices=[_choice(event.content, offsets.logprobs(event.logprobs), None)], **extra)
        warned = {"warnings": event.warnings} if event.warnings else {}
        end = chunk(choices=[_choice("", None, _finish(event))], **extra, **warned)
        if usage:
            end += chunk(choices=[], usage=usage_of(event.usage))
        return end + DONE

    async with aclosing(answer) as batches:
        async for events in batches:
            if data := b"".join(map(written, events)):
                yield opening + data
                opening = b""
