"""What the specification asks of every request and the SDK leaves open: error codes, and a deadline."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from mcp.server import MCPServer
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.types import INTERNAL_ERROR, INVALID_PARAMS, CallToolRequestParams, ReadResourceRequestParams

from ollama_mcp.catalog import close_names
from ollama_mcp.errors import EngineTimeout
from ollama_mcp.settings import Settings
from ollama_mcp.tools.base import failure

QUERIES = frozenset({"list_models", "show_model", "health_check"})
"""Tools that only ask the engine something, which takes it no time when all is well."""
MARGIN = 5.0
"""Seconds by which the deadline here is later than the service's own, which save the text that there is."""

_ONE_PAGE = frozenset({"tools/list", "prompts/list", "resources/templates/list"})


class ProtocolErrors:
    """Middleware that answers what cannot be meant with -32602, as the specification asks.

    The SDK gives other codes, and they differ by era.
    """

    def __init__(self, mcp: MCPServer) -> None:
        self._mcp = mcp
        self._tools: list[str] = []

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Check names, arguments and cursors before the SDK does; what has the wrong type it refuses itself."""
        params = ctx.params or {}
        if ctx.method == "tools/call":
            if not self._tools:  # they stay the same, and to list them costs more than a small call
                self._tools = [tool.name for tool in await self._mcp.list_tools()]
            _check_known("tool", params.get("name"), self._tools)
        elif ctx.method == "prompts/get":
            await self._check_prompt(params.get("name"), params.get("arguments"))
        elif ctx.method in _ONE_PAGE and params.get("cursor") is not None:
            raise MCPError(INVALID_PARAMS, f"The answer to {ctx.method} has one page; ask for it without a cursor")
        return await call_next(ctx)

    async def _check_prompt(self, name: object, given: object) -> None:
        prompts = {prompt.name: prompt for prompt in await self._mcp.list_prompts()}
        _check_known("prompt", name, list(prompts))
        if not isinstance(name, str) or not isinstance(given, dict | None):
            return
        given = given or {}
        wanted = prompts[name].arguments or []
        if missing := [argument.name for argument in wanted if argument.required and argument.name not in given]:
            raise MCPError(INVALID_PARAMS, f"Prompt {name} needs the arguments: {', '.join(missing)}")
        for argument in given:
            _check_known(f"argument of the prompt {name}", argument, [known.name for known in wanted])


def _check_known(kind: str, name: object, known: list[str]) -> None:
    if not isinstance(name, str) or name in known:
        return
    close = close_names(name[:64], known)
    hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(sorted(known))}"
    raise MCPError(INVALID_PARAMS, f"Unknown {kind}: {name[:64]}{hint}")


def add_deadlines(mcp: MCPServer, settings: Settings) -> None:
    """Bound every tool call and every reading of a resource.

    This is below the middleware, so that the answer gets its envelope like any other.
    """
    low = mcp._lowlevel_server
    query = min(settings.query_timeout, settings.total_timeout)
    longest = settings.queue_timeout + settings.first_token_timeout + settings.total_timeout + MARGIN

    def bounded(
        method: str, limit: Callable[[Any], float], late: Callable[[Any, float], HandlerResult]
    ) -> Callable[[ServerRequestContext[Any, Any], Any], Awaitable[HandlerResult]]:
        entry = low.get_request_handler(method)
        if entry is None:
            raise ValueError(f"{method} has no handler yet")

        async def handler(ctx: ServerRequestContext[Any, Any], params: Any) -> HandlerResult:
            seconds = limit(params)
            with anyio.move_on_after(seconds) as scope:
                result = await entry.handler(ctx, params)
            return late(params, seconds) if scope.cancelled_caught else result

        return handler

    def late_call(params: CallToolRequestParams, seconds: float) -> HandlerResult:
        return failure(
            EngineTimeout(
                f"{params.name} was not done within {seconds:g} s and was stopped. The engine may be overloaded: see "
                "health_check, ask for less at a time, or have the user raise the time limits of ollama-mcp."
            )
        )

    def late_read(params: ReadResourceRequestParams, seconds: float) -> HandlerResult:
        raise MCPError(
            INTERNAL_ERROR,
            f"{params.uri} was not read within {seconds:g} s; the engine may be busy: try again, or restart it.",
            data={"uri": params.uri},
        )

    low.add_request_handler(
        "tools/call",
        CallToolRequestParams,
        bounded("tools/call", lambda params: query if params.name in QUERIES else longest, late_call),
    )
    low.add_request_handler(
        "resources/read", ReadResourceRequestParams, bounded("resources/read", lambda params: query, late_read)
    )
