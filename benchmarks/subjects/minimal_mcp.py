"""The least that the MCP SDK can serve: one trivial tool, over stdio or with a port over HTTP."""

import sys

from mcp.server import MCPServer

mcp = MCPServer("minimal", log_level="WARNING")


@mcp.tool()
async def hello(name: str) -> str:
    """Greet somebody."""
    return f"hello {name}"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        mcp.run("streamable-http", port=int(sys.argv[1]))
    else:
        mcp.run("stdio")
