"""A fake Ollama, and ports where nobody answers."""

import contextlib
import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.fake_ollama import FakeOllama


@pytest.fixture
async def fake() -> AsyncIterator[FakeOllama]:
    async with FakeOllama() as fake:
        yield fake


@pytest.fixture
def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port that lets nobody in any more, so that connecting takes for ever."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, contextlib.ExitStack() as waiting:
        address = server.getsockname()
        for _ in range(2):
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(address)
        yield address[1]
