"""What Ollama's failures mean: from a status and a body to our errors."""

import re
from contextlib import suppress
from typing import Any

import orjson

from ollama_mcp.errors import (
    ContextLengthExceeded,
    EngineBusy,
    EngineFailed,
    EngineRejected,
    InvalidRequest,
    MalformedAnswer,
    ModelNotFound,
    ServiceError,
    Unsupported,
)

MAX_WORDS = 500
MAX_WAIT = 3600.0
"""Seconds after which a caller is told to try again at the latest."""
NONSENSE = "What answers there does not speak as Ollama does; check that the address is Ollama's."

_TOO_LONG = re.compile(r"exceed[\s\w-]*context|longer than the context", re.IGNORECASE)
_LENGTHS = re.compile(r"\((\d+) tokens\) exceeds the available context size \((\d+) tokens\)")
_MISSING = re.compile(r"does not support (\w+)")
_PARAMS = {"tools": "tools", "thinking": "think"}


def failure(
    status: int,
    body: bytes,
    *,
    model: str | None = None,
    location: str | None = None,
    retry_after: str | None = None,
) -> ServiceError:
    """The error that an answer other than 200 stands for; `location` and `retry_after` are its headers."""
    said, numbers = _read(body)
    words = said or "it gave no reason"
    if _TOO_LONG.search(words):
        return _too_long(words, numbers, model)
    if status in (400, 501) and (missing := _MISSING.search(words)):
        param = _PARAMS.get(missing[1])
        advice = "use a model that does" + (f", or leave out {param}" if param else "")
        return Unsupported(f"{model or 'The model'} does not support {missing[1]}; {advice}.", param=param or "model")
    if status == 404 and said and model:
        return ModelNotFound(f"{model} is not installed; get it with `ollama pull {model}`.", model=model)
    if status in (401, 403):
        return EngineRejected(f"Ollama refused the request: {words}.")
    if status in (429, 503):
        seconds = min(float(retry_after), MAX_WAIT) if retry_after is not None and retry_after.isdecimal() else 1.0
        return EngineBusy(f"Ollama is busy, try again in a moment: {words}.", retry_after=seconds)
    if status == 400:
        return InvalidRequest(f"Ollama did not accept the request: {words}.")
    if 300 <= status < 400:
        return EngineFailed(
            f"Ollama's address leads on to {location or 'another one'}; set the address to where Ollama itself is.",
            status=status,
        )
    return EngineFailed(f"Ollama failed with status {status}: {words}.", status=status)


def words_of(error: object) -> str:
    """Ollama's own words in the value of an `error` field."""
    try:
        text = orjson.dumps({"error": error})
    except orjson.JSONEncodeError:  # nested deeper than anybody's words
        text = b""
    return _read(text)[0] or "it gave no reason"


def _too_long(words: str, numbers: dict[str, Any], model: str | None) -> ContextLengthExceeded:
    prompt, length = numbers.get("n_prompt_tokens"), numbers.get("n_ctx")
    if found := _LENGTHS.search(words):
        prompt, length = int(found[1]), int(found[2])
    known = isinstance(prompt, int) and isinstance(length, int)
    counted = f" ({prompt} tokens where {length} fit)" if known else ""
    return ContextLengthExceeded(
        f"The text is longer than the context of {model or 'the model'}{counted}: shorten it, split it, or raise "
        "num_ctx.",
        prompt_tokens=prompt if known else None,
        context_length=length if known else None,
    )


def _read(body: bytes) -> tuple[str, dict[str, Any]]:
    """The words of an error body, "" if it is not of Ollama's form, and the fields beside them."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return "", {}
    fields: dict[str, Any] = found if isinstance(found, dict) else {}
    error = fields.get("error")
    # What the runner behind Ollama says may be an object, or that object again as a text.
    if isinstance(error, str) and error.startswith("{"):
        with suppress(orjson.JSONDecodeError):  # a sentence may begin with a brace
            error = orjson.loads(error).get("error", error)
    if isinstance(error, dict):
        fields, error = error, error.get("message")
    if not isinstance(error, str):
        return "", fields
    words = " ".join(error.split()).rstrip(".")
    if isinstance(url := fields.get("signin_url"), str):
        words += f"; sign in at {url}"
    return (words if len(words) <= MAX_WORDS else f"{words[:MAX_WORDS]}…"), fields


def as_object(text: bytes) -> dict[str, Any]:
    """A JSON object as Ollama sends it."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise MalformedAnswer(NONSENSE) from error
    if not isinstance(found, dict):
        raise MalformedAnswer(NONSENSE)
    return found
