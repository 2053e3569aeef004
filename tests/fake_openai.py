"""Scripted answers of an OpenAI-compatible server, for shapes that no real model gives at will.

The server is the one of `fake_ollama`; `fake.on("/v1/chat/completions", events(...))` makes it speak OpenAI's.
"""

import json
from typing import Any

from tests.fake_ollama import FakeOllama, Gate, Responder, answer, stream

CHAT = "/v1/chat/completions"
MODELS = "/v1/models"
EMBEDDINGS = "/v1/embeddings"
DONE = b"data: [DONE]\n\n"


def base_url(fake: FakeOllama) -> str:
    return f"{fake.url}/v1"


def event(fields: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(fields, ensure_ascii=False).encode() + b"\n\n"


def chunk(finish: str | None = None, logprobs: Any = None, **delta: Any) -> dict[str, Any]:
    """A chunk of an answer; what is named goes into its delta."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": logprobs}
    return {"id": "c1", "object": "chat.completion.chunk", "model": "served-7b", "choices": [choice], "usage": None}


def events(*steps: dict[str, Any] | bytes | Gate | str) -> Responder:
    """A stream of events: dicts become events, the rest is as in `fake_ollama.stream`."""
    sent = [event(step) if isinstance(step, dict) else step for step in steps]
    return stream(*sent, headers={"Content-Type": "text/event-stream"})


def says(*words: str) -> Responder:
    """An ordinary answer."""
    usage = {"prompt_tokens": 11, "completion_tokens": len(words), "total_tokens": 11 + len(words)}
    pieces = [chunk(content=word) for word in words]
    return events(chunk(role="assistant", content=""), *pieces, chunk("stop"), {"choices": [], "usage": usage}, DONE)


def refuses(status: int, message: str, *, headers: dict[str, str] | None = None, **fields: Any) -> Responder:
    """A failure in OpenAI's form."""
    return answer(status, {"error": {"message": message, "code": status, **fields}}, headers)


def lists(*entries: dict[str, Any]) -> Responder:
    """A list of models."""
    return answer(200, {"object": "list", "data": list(entries)})
