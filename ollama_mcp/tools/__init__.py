"""The tools of the MCP face."""

from ollama_mcp.service import Service
from ollama_mcp.tools.base import ServiceTool
from ollama_mcp.tools.chat import chat_tool
from ollama_mcp.tools.classify import classify_tool
from ollama_mcp.tools.jobs import job_tool
from ollama_mcp.tools.models import model_tools


def create_tools(service: Service) -> list[ServiceTool]:
    """All tools, in the order in which they are listed."""
    return [chat_tool(service), *model_tools(service), job_tool(service), classify_tool(service)]
