"""The tools of the MCP face."""

from ollama_mcp.service import Service
from ollama_mcp.tools.base import ServiceTool
from ollama_mcp.tools.batch import batch_tool
from ollama_mcp.tools.chat import chat_tool
from ollama_mcp.tools.classify import classify_tool
from ollama_mcp.tools.compare import compare_tool
from ollama_mcp.tools.embed import embed_tool
from ollama_mcp.tools.jobs import job_tool
from ollama_mcp.tools.manage import manage_tools
from ollama_mcp.tools.memory import memory_tools
from ollama_mcp.tools.models import model_tools
from ollama_mcp.tools.show import show_tool


def create_tools(service: Service) -> list[ServiceTool]:
    """All tools, in the order in which they are listed."""
    return [
        chat_tool(service),
        *model_tools(service),
        show_tool(service),
        batch_tool(service),
        compare_tool(service),
        job_tool(service),
        classify_tool(service),
        embed_tool(service),
        *memory_tools(service),
        *manage_tools(service),
    ]
