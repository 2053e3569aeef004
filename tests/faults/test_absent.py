"""An address at which no Ollama answers: each surface names it and says what to do."""

import contextlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.forked import Parent

from .surfaces import HTTP, MCP, TERMINAL, Seen, surfaces_over


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


WHERE = {"refused": refused, "unknown name": unknown_name, "black hole": black_hole}


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory, forks: Parent) -> dict[str, tuple[str, dict[str, Seen]]]:
    """Each address and what every surface said of it; all at once, since most of the time is waited."""

    logs = tmp_path_factory.mktemp("absent")

    def ask(name: str) -> tuple[str, dict[str, Seen]]:
        directory = logs / name
        directory.mkdir()
        with WHERE[name]() as address, surfaces_over(directory, forks, address) as (surfaces, portal):
            seen = portal.call(surfaces.play, None)
            portal.call(surfaces.alive)
            return address, seen

    with ThreadPoolExecutor() as threads:
        return dict(zip(WHERE, threads.map(ask, WHERE), strict=True))


@pytest.mark.parametrize("where", WHERE)
def test_an_ollama_that_is_not_there_is_named_with_what_to_do(
    asked: dict[str, tuple[str, dict[str, Seen]]], where: str
) -> None:
    address, seen = asked[where]
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
