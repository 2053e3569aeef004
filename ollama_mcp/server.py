"""The MCP server over a service: tools, resources, prompts, and the protocol's own error codes."""

from typing import Any

from mcp.server import MCPServer
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS

from ollama_mcp import __version__
from ollama_mcp.catalog import close_names
from ollama_mcp.endpoints import Endpoints
from ollama_mcp.prompts import add_prompts
from ollama_mcp.resources import add_resources
from ollama_mcp.service import Service
from ollama_mcp.tools import create_tools

INSTRUCTIONS = (
    "Models on the user's own machine. Hand them work with chat_completion: summaries, drafts, extraction, code that "
    "must stay private, a second opinion. list_models shows what is installed; if a call fails, health_check says "
    "what to do."
)


class ProtocolErrors:
    """Answers a call of an unknown tool or prompt with the code that the specification asks for.

    The SDK gives other codes, and they differ by era.
    """

    def __init__(self, mcp: MCPServer) -> None:
        self._mcp = mcp

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Check the names and the required arguments before the SDK does."""
        params = ctx.params or {}
        if ctx.method == "tools/call":
            _check_known("tool", params.get("name"), [tool.name for tool in await self._mcp.list_tools()])
        elif ctx.method == "prompts/get":
            prompts = {prompt.name: prompt for prompt in await self._mcp.list_prompts()}
            _check_known("prompt", name := params.get("name"), list(prompts))
            wanted = (prompts[name].arguments or []) if isinstance(name, str) else []
            given = params.get("arguments") or {}
            if missing := [argument.name for argument in wanted if argument.required and argument.name not in given]:
                raise MCPError(INVALID_PARAMS, f"Prompt {name} needs the arguments: {', '.join(missing)}")
        return await call_next(ctx)


def _check_known(kind: str, name: object, known: list[str]) -> None:
    if not isinstance(name, str) or name in known:
        return
    close = close_names(name[:64], known)
    hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(sorted(known))}"
    raise MCPError(INVALID_PARAMS, f"Unknown {kind}: {name[:64]}{hint}")


def create_server(service: Service, endpoints: Endpoints) -> MCPServer:
    """The MCP server, ready for any transport; the service outlives it."""
    mcp = MCPServer(
        "ollama-mcp",
        title="Ollama",
        description="Local models for any MCP client",
        instructions=INSTRUCTIONS,
        version=__version__,
        tools=list(create_tools(service)),
        log_level="WARNING",
    )
    add_resources(mcp, service, endpoints)
    add_prompts(mcp)
    mcp.middleware.append(ProtocolErrors(mcp))
    return mcp
