"""The HTTP face over a fake Ollama, behind a real server on a loopback port."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import openai
import pytest
import uvicorn

from ollama_mcp.engines.base import Engine
from ollama_mcp.engines.ollama import OllamaEngine
from ollama_mcp.http_protocol import server_config
from ollama_mcp.openai_api.app import create_app
from ollama_mcp.serve import _listen, guarded
from ollama_mcp.service import Service
from ollama_mcp.settings import Settings
from tests.fake_ollama import FakeOllama
from tests.harness import WARM

ALIASES = {"gpt-4o-mini": "llama3.2", "missing": "not-there"}


@contextmanager
def serving(make_engine: Callable[[], Engine], **settings: Any) -> Iterator[str]:
    """A server in a thread of its own; its address."""
    listener = _listen("127.0.0.1", 0)
    started = threading.Event()
    server: uvicorn.Server

    async def run() -> None:
        nonlocal server
        async with Service(make_engine(), Settings(**settings)) as service:
            app = guarded(create_app(service), service.settings)
            server = uvicorn.Server(server_config(app, drain_seconds=1))
            started.set()
            await server.serve(sockets=[listener])

    thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def ollama_and_url() -> Iterator[tuple[FakeOllama, str]]:
    with (
        FakeOllama.in_thread(loaded=dict(WARM)) as fake,
        serving(
            lambda: OllamaEngine(fake.url), aliases=ALIASES, heartbeat=0.2, cors_origins=("http://app.test",)
        ) as url,
    ):
        yield fake, url


@pytest.fixture
def ollama(ollama_and_url: tuple[FakeOllama, str]) -> FakeOllama:
    fake, _ = ollama_and_url
    fake.requests.clear()
    fake.chat_script.clear()
    return fake


@pytest.fixture
def url(ollama_and_url: tuple[FakeOllama, str], ollama: FakeOllama) -> str:
    return ollama_and_url[1]


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=10, trust_env=False) as client:
        yield client


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0, timeout=10) as client:
        yield client
