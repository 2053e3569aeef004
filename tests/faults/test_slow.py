"""Clients that take their time, against the server that `ollama-mcp http` builds, with its limits made short."""

import json
import socket
from collections.abc import Iterator

import httpx
import pytest

from tests.fake_ollama import FakeOllama, last, line, stream
from tests.forked import Parent, Served
from tests.harness import WARM

from .test_ends import CHAT, PATH

SHORT = """
import functools
from ollama_mcp import guard, http_protocol
http_protocol.Connection.head_seconds = http_protocol.Connection.rest_seconds = 0.3
http_protocol.Connection.stalled_seconds = 0.3
guard.Guard = functools.partial(guard.Guard, body_seconds=0.3)
"""
WITHIN = 10.0
"""Seconds in which the server must have had enough, on a busy machine too."""


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeOllama]:
    with FakeOllama.in_thread(loaded=dict(WARM)) as fake:
        yield fake


@pytest.fixture(scope="module")
def served(forks: Parent, fake: FakeOllama) -> Iterator[Served]:
    with forks.http_server("--ollama-host", fake.url, before=SHORT) as served:
        yield served
        assert "Traceback" not in served.end()


@pytest.fixture
def connection(served: Served) -> Iterator[socket.socket]:
    """A connection that takes little in at a time; the server must serve others after it."""
    host, _, port = served.url.removeprefix("http://").partition(":")
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(WITHIN)
        connection.connect((host, int(port)))
        yield connection
    answer = httpx.post(f"{served.url}{PATH}", json=CHAT, timeout=WITHIN)
    assert answer.json()["choices"][0]["message"]["content"] == "You said: Hi"


def dripped(connection: socket.socket, data: bytes) -> bytes:
    """All that the server answers to what is sent byte by byte, until it has had enough."""
    heard = b""
    connection.settimeout(0.02)
    for byte in data:
        try:
            connection.sendall(bytes([byte]))
            if not (part := connection.recv(65536)):
                return heard
            heard += part
        except TimeoutError:
            continue
        except ConnectionError:
            return heard
    raise AssertionError("the server still waits")


def head(path: str) -> bytes:
    fields = "Host: localhost\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n"
    return f"POST {path} HTTP/1.1\r\n{fields}Accept: application/json, text/event-stream\r\n\r\n".encode()


def test_a_head_that_comes_too_slowly_is_not_waited_for(connection: socket.socket) -> None:
    assert dripped(connection, b"GET /health/live HTTP/1.1\r\nX: " + b"a" * 500) == b""


@pytest.mark.parametrize("path", [PATH, "/mcp"])
def test_a_body_that_comes_too_slowly_is_refused(connection: socket.socket, path: str) -> None:
    connection.sendall(head(path))
    answer = dripped(connection, b'{"model": ' + b" " * 500)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert "too long" in json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["message"]


def test_an_answer_that_is_not_read_is_cut_off_and_no_more_of_it_is_made(
    connection: socket.socket, fake: FakeOllama
) -> None:
    fake.chat_script = [stream(*[line("x" * 2**16)] * 400, last())]
    body = json.dumps({**CHAT, "stream": True}).encode()
    connection.sendall(head(PATH).replace(b"100000", b"%d" % len(body)) + body)
    fake.wait_disconnected_sync(within=WITHIN)
