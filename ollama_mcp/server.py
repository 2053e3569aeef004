"""The MCP server over a service: tools, resources, prompts, and what the protocol has beside them."""

from mcp.server import MCPServer

from ollama_mcp import __version__
from ollama_mcp.calls import Calls
from ollama_mcp.client_logs import ClientLogs
from ollama_mcp.completions import Completions
from ollama_mcp.endpoints import Endpoints
from ollama_mcp.prompts import add_prompts
from ollama_mcp.protocol import ProtocolErrors, add_deadlines
from ollama_mcp.resource_list import ResourceList
from ollama_mcp.resources import add_resources
from ollama_mcp.service import Service
from ollama_mcp.subscriptions import Subscriptions
from ollama_mcp.tools import create_tools

INSTRUCTIONS = (
    "Models on the user's own machine. Hand them work with chat_completion: summaries, drafts, extraction, code that "
    "must stay private, a second opinion. list_models shows what is installed; if a call fails, health_check says "
    "what to do."
)
FILES = " Give files in {} by their paths in the argument files instead of reading them: the model reads them itself."


def create_server(service: Service, endpoints: Endpoints) -> MCPServer:
    """The MCP server, ready for any transport; the service outlives it."""
    subscriptions = Subscriptions(service)
    opened = service.settings.allow_dirs
    mcp = MCPServer(
        "ollama-mcp",
        title="Ollama",
        description="Local models for any MCP client",
        instructions=INSTRUCTIONS + (FILES.format(", ".join(map(str, opened))) if opened else ""),
        version=__version__,
        tools=list(create_tools(service)),
        log_level="WARNING",
        subscriptions=subscriptions,
    )
    add_resources(mcp, service, endpoints)
    add_prompts(mcp)
    ResourceList(mcp, service).attach()
    Completions(mcp, service).attach()
    subscriptions.attach(mcp)
    ClientLogs().attach(mcp)
    add_deadlines(mcp, service.settings)
    mcp.middleware.extend([ProtocolErrors(mcp), Calls()])
    return mcp
