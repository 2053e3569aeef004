"""An address at which no Ollama answers: each surface names it and says what to do."""

import contextlib
import socket
from collections.abc import Iterator

import pytest

from .surfaces import HTTP, MCP, TERMINAL, surfaces_over


@contextlib.contextmanager
def refused() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def unknown_name() -> Iterator[str]:
    yield "http://nobody.invalid:11434"


@contextlib.contextmanager
def black_hole() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, contextlib.ExitStack() as waiting:
        for _ in range(2):
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("where", [refused, unknown_name, black_hole])
def test_an_ollama_that_is_not_there_is_named_with_what_to_do(where, tmp_path) -> None:
    with where() as address, surfaces_over(tmp_path, address) as (surfaces, portal):
        seen = portal.call(surfaces.play, None)
        portal.call(surfaces.alive)
    for surface, got in seen.items():
        assert address in got.told, surface
        assert "ollama serve" in got.told, surface
        assert not got.said
    assert {seen[surface].kind for surface in MCP} == {"EngineUnavailable"}
    for surface in HTTP:
        got = seen[surface]
        # A ping may have gone out before the black hole was given up.
        assert got.status == 503 or (got.status == 200 and got.signs)
        assert got.kind == "engine_unavailable"
        assert not got.done
    assert seen["OpenAI once"].headers["x-should-retry"] == "true"
    assert seen[TERMINAL].status == 3
    assert len(seen[TERMINAL].told.splitlines()) == 1
