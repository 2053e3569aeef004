"""A line in the log for each MCP request, and the id that ties it to what it causes."""

import logging
import time
from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.types import CallToolResult

from ollama_mcp import request_id

logger = logging.getLogger(__name__)


class Calls:
    """Middleware within `ProtocolErrors`, so that every name here is one of ours."""

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Take the id of the HTTP request, or begin one, and log how it ended."""
        # A session's requests are handled in a task that was started for its first one.
        taken = getattr(ctx.request, "scope", {}).get(request_id.SCOPE_KEY)
        if taken is None:
            request_id.begin("mcp")
        else:
            request_id.resume(taken)
        if ctx.request_id is None:
            return await call_next(ctx)
        began = time.monotonic()
        outcome = "failed"
        try:
            result = await call_next(ctx)
            outcome = "error" if _is_error(result) else "ok"
        finally:
            logger.info("%s: %s, took %.3f s", _named(ctx), outcome, time.monotonic() - began)
        return result


def _named(ctx: ServerRequestContext[Any, Any]) -> str:
    if ctx.method not in ("tools/call", "prompts/get"):
        return ctx.method[:64]
    return f"{ctx.method} {(ctx.params or {}).get('name')}"


def _is_error(result: HandlerResult) -> bool:
    match result:
        case CallToolResult(is_error=True) | {"isError": True}:
            return True
        case _:
            return False
