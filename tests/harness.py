"""An MCP client of this project's server over a fake Ollama, all in one process."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

from mcp import Client

from ollama_mcp.endpoints import http_endpoints
from ollama_mcp.engines.ollama import OllamaEngine
from ollama_mcp.server import create_server
from ollama_mcp.service import ChangeKind, Service
from ollama_mcp.settings import Settings

from .fake_ollama import FakeOllama

WARM = dict.fromkeys(("llama3.2:latest", "qwen3:8b", "llava:7b"), 4096)
"""Models that are loaded, each with its context, so that a chat is the first thing to reach /api/chat."""

ERAS = ("legacy", "2026-07-28")


def warm_ollama(**settings: Any) -> FakeOllama:
    return FakeOllama(**{"loaded": dict(WARM), **settings})


@asynccontextmanager
async def service_over(fake: FakeOllama, **settings: Any) -> AsyncIterator[Service]:
    async with Service(OllamaEngine(fake.url), Settings(ollama_host=fake.url, **settings)) as service:
        yield service


@asynccontextmanager
async def client_over(
    fake: FakeOllama,
    *,
    mode: str = "auto",
    elicitation_callback: Any = None,
    observer: Callable[[ChangeKind], None] | None = None,
    **settings: Any,
) -> AsyncIterator[Client]:
    async with service_over(fake, **settings) as service:
        if observer is not None:
            service.subscribe(observer)
        server = create_server(service, http_endpoints("127.0.0.1", 4891, serving=False))
        async with Client(server, mode=mode, elicitation_callback=elicitation_callback) as client:
            yield client


def text_of(result: Any) -> str:
    return "\n".join(block.text for block in result.content)


Item = TypeVar("Item")


async def each(batches: AsyncGenerator[list[Item]]) -> AsyncGenerator[Item]:
    """What comes in lists, one by one; no list is empty."""
    async with aclosing(batches):
        async for batch in batches:
            assert batch
            for item in batch:
                yield item
