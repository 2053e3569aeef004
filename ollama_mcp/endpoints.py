"""Where `ollama-mcp http` is reached."""

from pydantic import BaseModel


class Endpoint(BaseModel):
    """One way to reach this server."""

    name: str
    url: str
    description: str


class Endpoints(BaseModel):
    """The ways to reach this server over HTTP, and how to open them if they are not."""

    serving: bool
    endpoints: list[Endpoint]
    note: str


def http_endpoints(host: str, port: int, *, serving: bool) -> Endpoints:
    """The endpoints of `ollama-mcp http` at an address."""
    base = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    return Endpoints(
        serving=serving,
        endpoints=[
            Endpoint(name="mcp", url=f"{base}/mcp", description="MCP over streamable HTTP"),
            Endpoint(name="openai", url=f"{base}/v1", description="OpenAI-compatible API"),
            Endpoint(name="health", url=f"{base}/health", description="State of the server and the engine"),
            Endpoint(name="docs", url=f"{base}/docs", description="The HTTP API, to read and to try"),
        ],
        note="Served by this process."
        if serving
        else "Not served by this process; start them with `ollama-mcp http`.",
    )
