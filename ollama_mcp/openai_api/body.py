"""The one place where a request's body is read; its type and its size have been looked at by the guard."""

from typing import TypeVar

from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request

from ollama_mcp.errors import InvalidRequest
from ollama_mcp.openai_api.validation import validate
from ollama_mcp.strict_json import loads

Model = TypeVar("Model", bound=BaseModel)

MAX_WITHOUT_IMAGES = 4 * 2**20


async def read_body(request: Request, model: type[Model]) -> Model:
    """The validated body; an `HTTPException` of 413, or `InvalidRequest`, if it is not to be had."""
    raw = await request.body()
    if len(raw) > MAX_WITHOUT_IMAGES and b"data:image/" not in raw:
        raise HTTPException(413, f"A body without images may have {MAX_WITHOUT_IMAGES // 2**20} MiB.")
    value = loads(raw)
    if not isinstance(value, dict):
        raise InvalidRequest("The body must be a JSON object.")
    return validate(model, value)
