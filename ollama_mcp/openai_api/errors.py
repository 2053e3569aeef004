"""How each error looks over HTTP: the one table, and the handlers that use it.

Every error body is OpenAI's envelope with the same message once more as `detail`, which is where other
clients look for it.
"""

import math
from typing import Any, NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ollama_mcp import errors
from ollama_mcp.openai_api.wire import JSON


class Shape(NamedTuple):
    """The status, type and code of an error."""

    status: int
    type: str
    code: str | None


TABLE: dict[type[errors.ServiceError], Shape] = {
    errors.ServiceError: Shape(500, "server_error", "internal_error"),
    errors.InvalidRequest: Shape(400, "invalid_request_error", "invalid_request"),
    errors.ContextLengthExceeded: Shape(400, "invalid_request_error", "context_length_exceeded"),
    errors.Unsupported: Shape(400, "invalid_request_error", "unsupported"),
    errors.ModelNotFound: Shape(404, "invalid_request_error", "model_not_found"),
    errors.EngineUnavailable: Shape(503, "server_error", "engine_unavailable"),
    errors.EngineBusy: Shape(503, "server_error", "engine_busy"),
    errors.QueueFull: Shape(429, "rate_limit_error", "queue_full"),
    errors.EngineTimeout: Shape(504, "server_error", "engine_timeout"),
    errors.EngineRejected: Shape(502, "server_error", "engine_rejected"),
    errors.EngineFailed: Shape(502, "server_error", "engine_failed"),
    errors.MalformedAnswer: Shape(502, "server_error", "malformed_answer"),
    errors.ServerEnding: Shape(503, "server_error", "server_ending"),
    errors.GenerationBroken: Shape(502, "server_error", "generation_broken"),
    errors.PromptTruncated: Shape(502, "server_error", "prompt_truncated"),
}

_STATUS_CODES = {404: "not_found", 405: "method_not_allowed", 413: "request_too_large"}
INTERNAL = "The server failed in a way it should not have; the log has more under this request's id."


def shape_of(error: errors.ServiceError) -> Shape:
    """The row of the nearest class in the table."""
    return next(TABLE[kind] for kind in type(error).__mro__ if kind in TABLE)


def envelope(message: str, shape: Shape, param: str | None = None) -> dict[str, Any]:
    """The body of an error."""
    inner = {"message": message, "type": shape.type, "param": param, "code": shape.code}
    return {"error": inner, "detail": message}


def body_of(error: Exception) -> dict[str, Any]:
    """The envelope of any error; of one that is not ours nothing is told."""
    if not isinstance(error, errors.ServiceError):
        return envelope(INTERNAL, TABLE[errors.ServiceError])
    param = "model" if isinstance(error, errors.ModelNotFound) else getattr(error, "param", None)
    return envelope(error.message, shape_of(error), param)


def headers_of(error: Exception) -> dict[str, str]:
    """What tells a client when to try again; the official ones retry every status from 500 up, unless told."""
    if isinstance(error, errors.EngineBusy):
        return {"Retry-After": str(math.ceil(error.retry_after)), "x-should-retry": "true"}
    if isinstance(error, errors.ServiceError) and error.retryable:
        return {"x-should-retry": "true"}
    return {"x-should-retry": "false"}


def response_to(error: Exception) -> Response:
    """The answer to a request that failed."""
    status = shape_of(error).status if isinstance(error, errors.ServiceError) else 500
    return JSON(body_of(error), status, headers_of(error))


async def on_service_error(request: Request, error: Exception) -> Response:
    """Handle a `ServiceError`, or any other, of which nothing is told."""
    return response_to(error)


async def on_http_error(request: Request, error: Exception) -> Response:
    """Handle what no `ServiceError` stands for: an unknown path, a wrong method, a body that is too large."""
    if not isinstance(error, HTTPException):
        raise TypeError(f"not an HTTPException: {type(error).__name__}")
    message = error.detail
    if error.status_code == 404:
        message = f"There is nothing at {request.url.path}; the API begins at /v1 and is described at /docs."
    elif error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        message = f"{request.method} is not possible at {request.url.path}; use {allowed}."
    shape = Shape(error.status_code, "invalid_request_error", _STATUS_CODES.get(error.status_code))
    return JSON(envelope(message, shape), shape.status, dict(error.headers or {}))
