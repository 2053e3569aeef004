"""Local models in any MCP client, and as an OpenAI-compatible API."""

__version__ = "0.1.0"
