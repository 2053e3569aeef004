"""What the failures of an OpenAI-compatible server mean: from a status and a body to our errors."""

import re
from typing import Any

import orjson

from ollama_mcp.errors import (
    ContextLengthExceeded,
    EngineBusy,
    EngineFailed,
    EngineRejected,
    EngineTimeout,
    InvalidRequest,
    ModelNotFound,
    ServiceError,
    Unsupported,
)

MAX_WORDS = 500
MAX_WAIT = 3600.0
"""Seconds after which a caller is told to try again at the latest."""

_TOO_LONG = re.compile(
    r"exceeds? the (available |model'?s? )?context|maximum (context|model) length|longer than the (maximum|context)"
    r"|context[ _](length|window|size)[ _\w]*exceed|exceed_context_size|too large to process|context the overflows",
    re.IGNORECASE,
)
_MAX_TOKENS = re.compile(r"max_(completion_)?tokens\W[^.]*too large", re.IGNORECASE)
# How llama.cpp, vLLM and OpenAI put the two numbers.
_PROMPT = (
    re.compile(r"(?:request|input|prompt) \((?:length )?(\d+)"),
    re.compile(r"\((\d+) in the messages"),
    re.compile(r"resulted in (\d+) tokens"),
    re.compile(r"(?:requested|has|contains at least) (\d+) (?:input |prompt )?tokens"),
)
_LENGTH = (
    re.compile(r"maximum (?:context|model) length (?:is |of )(\d+)"),
    re.compile(r"context size \((\d+) tokens\)"),
    re.compile(r"current batch size: (\d+)"),
    re.compile(r"context length of only (\d+)"),
)
_MISSING = re.compile(r"(image|audio|video)s? input is not supported|does not support|not_supported", re.IGNORECASE)


def failure(
    status: int,
    body: bytes,
    *,
    model: str | None = None,
    location: str | None = None,
    retry_after: str | None = None,
) -> ServiceError:
    """The error that an answer other than 200 stands for; `location` and `retry_after` are its headers."""
    fields = _fields(body)
    words = said_in(fields)
    name = model or "the model"
    if fields.get("type") == "exceed_context_size_error" or (
        status in (400, 413, 422, 500) and _TOO_LONG.search(words) and not _MAX_TOKENS.search(words)
    ):
        return _too_long(words, fields, name)
    if status in (400, 500, 501) and _MISSING.search(words):
        param = "messages" if "input" in words else "model"
        return Unsupported(f"{name} as it is served cannot do this: {words}.", param=param)
    match status:
        case 400 | 409 | 413 | 422:
            return InvalidRequest(f"The model server did not accept the request: {words}.")
        case 401 | 403 | 407:
            return EngineRejected(f"The model server refused our key or our address: {words}.")
        case 404 if model and "model" in words.lower():
            return ModelNotFound(f"The model server has no model {model!r}: {words}.", model=model)
        case 404 | 405:
            return EngineFailed(
                "The model server does not know the path of the request; check that its address ends in /v1.",
                status=status,
            )
        case 408 | 504:
            return EngineTimeout(f"The model server was waiting for too long: {words}.")
        case 429 | 503:
            return EngineBusy(
                f"The model server is busy, try again in a moment: {words}.", retry_after=_seconds(retry_after)
            )
        case _ if 300 <= status < 400:
            return EngineFailed(
                f"The model server's address leads on to {location or 'another one'}; set the address to that.",
                status=status,
            )
        case _:
            return EngineFailed(f"The model server failed with status {status}: {words}.", status=status)


def said_in(fields: dict[str, Any]) -> str:
    """The server's own words in a body, as one line without its full stop."""
    error = fields.get("error", fields)
    said = error if isinstance(error, str) else None
    if isinstance(error, dict):
        said = next((text for key in ("message", "detail") if isinstance(text := error.get(key), str)), None)
    words = " ".join((said or "it gave no reason").split()).rstrip(".")
    return words if len(words) <= MAX_WORDS else f"{words[:MAX_WORDS]}…"


def _fields(body: bytes) -> dict[str, Any]:
    """The fields of an error, from wherever in the body the server puts them."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(found, dict):
        return {}
    error = found.get("error")
    return error if isinstance(error, dict) else found


def _too_long(words: str, fields: dict[str, Any], model: str) -> ContextLengthExceeded:
    prompt = _number(fields.get("n_prompt_tokens"), words, _PROMPT)
    length = _number(fields.get("n_ctx"), words, _LENGTH)
    if prompt is None or length is None or prompt <= length:
        sentence = f"The prompt does not fit into the context of {model}: {words}."
    elif "batch size" in words:  # llama.cpp turns a text into a vector in one batch or not at all
        sentence = (
            f"A text has {prompt} tokens and {model} takes {length} at a time: shorten it by {prompt - length} "
            "tokens or more, or split it."
        )
    else:
        sentence = (
            f"The prompt has {prompt} tokens and the context of {model} holds {length}: shorten it by "
            f"{prompt - length} tokens or more, split it, or run the model with a larger context."
        )
    return ContextLengthExceeded(sentence, prompt_tokens=prompt, context_length=length)


def _number(field: object, words: str, patterns: tuple[re.Pattern[str], ...]) -> int | None:
    if isinstance(field, int):
        return field
    found = next((match for pattern in patterns if (match := pattern.search(words))), None)
    return int(found[1]) if found else None


def _seconds(retry_after: str | None) -> float:
    """`Retry-After` in seconds; its other form, a date, is not worth reading for a local server."""
    return min(float(retry_after), MAX_WAIT) if retry_after is not None and retry_after.isdecimal() else 1.0
