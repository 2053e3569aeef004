"""The same trivial tool with fastmcp."""

import sys

from fastmcp import FastMCP

mcp = FastMCP("fast")


@mcp.tool
async def hello(name: str) -> str:
    """Greet somebody."""
    return f"hello {name}"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        mcp.run("http", port=int(sys.argv[1]), show_banner=False, log_level="WARNING")
    else:
        mcp.run("stdio", show_banner=False, log_level="WARNING")
