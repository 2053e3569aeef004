"""The one place where a request's body is read: bounded, JSON only, and strict."""

from typing import Any, TypeVar

import orjson
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request

from ollama_mcp.errors import InvalidRequest
from ollama_mcp.openai_api.validation import validate

Model = TypeVar("Model", bound=BaseModel)

MAX_BODY = 4 * 2**20
MAX_BODY_WITH_IMAGES = 16 * 2**20
MAX_DEPTH = 64


async def read_body(request: Request, model: type[Model], *, images: bool = False) -> Model:
    """The validated body; an `HTTPException` of 413 or 415, or `InvalidRequest`, if it is not to be had."""
    _check_type(request)
    raw = await _read(request, MAX_BODY_WITH_IMAGES if images else MAX_BODY)
    if len(raw) > MAX_BODY and b"data:image/" not in raw:
        raise _too_large(MAX_BODY)
    return validate(model, parse(raw))


def _check_type(request: Request) -> None:
    # A browser sends any other type to another origin without asking first.
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise HTTPException(415, f"Send JSON with the header Content-Type: application/json, not {media_type!r}.")


async def _read(request: Request, limit: int) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
    return b"".join(parts)


def _too_large(limit: int) -> HTTPException:
    return HTTPException(413, f"The body is larger than {limit // 2**20} MiB.")


def parse(raw: bytes) -> Any:
    """The value of a JSON text; `InvalidRequest` for anything the standard does not allow."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.") from None
    if not isinstance(value, dict):
        raise InvalidRequest("The body must be a JSON object.")
    # Each level needs a bracket, so most bodies are known to be shallow without a look at their values.
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and _is_deep(value):
        raise InvalidRequest(f"The body is nested deeper than {MAX_DEPTH} levels.")
    return value


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True
