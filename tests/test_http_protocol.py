"""What a client can do to a connection: bad HTTP, slowness, silence. Nothing of it is waited for."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn

from ollama_mcp import http_protocol
from ollama_mcp.http_protocol import Connection, server_config

ENDED = threading.Event()


class Impatient(Connection):
    head_seconds = 0.3
    rest_seconds = 0.3
    stalled_seconds = 0.3


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers at once, but for /big, which streams without end, and /read, which reads its body first.

    /headers answers with the headers as they came, after the body.
    """
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["path"] in ("/read", "/headers"):
        while (message := await receive()).get("more_body"):
            pass
        if message["type"] == "http.disconnect":
            ENDED.set()
            return
    if scope["path"] == "/headers":
        seen = repr(scope["headers"]).encode()
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(seen))]}
        )
        await send({"type": "http.response.body", "body": seen})
        return
    headers = [] if scope["path"] == "/big" else [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if scope["path"] == "/big":
        left = asyncio.create_task(receive())
        while not left.done():
            await send({"type": "http.response.body", "body": b"x" * 2**16, "more_body": True})
            await asyncio.sleep(0)  # what is sent to a client that has left does not give way
        ENDED.set()
    await send({"type": "http.response.body", "body": b"ok"})


@contextmanager
def serving(protocol: type[Connection] = Connection) -> Iterator[int]:
    """A server in a thread; its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = server_config(app, drain_seconds=1)
    config.http = protocol
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving() as port:
        yield port


@pytest.fixture(scope="module")
def impatient() -> Iterator[int]:
    with serving(Impatient) as port:
        yield port


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def read_all(sock: socket.socket) -> bytes:
    """What comes until the server closes; a reset is a close."""
    got = b""
    try:
        while part := sock.recv(65536):
            got += part
    except ConnectionResetError:
        pass
    return got


def exchange(port: int, sent: bytes) -> bytes:
    with connect(port) as sock:
        sock.sendall(sent)
        return read_all(sock)


GOOD = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64,
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\nHost: localhost\n\n",
        b"GET / HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\n",
        b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\rb\r\n\r\n",
        b" GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"G\xc3\x89T / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0x2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2, 3\r\n\r\n{}",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 40_000,
        b"GET /" + b"a" * 40_000,
    ],
)
def test_what_is_no_http_is_refused_and_the_connection_closed(port: int, sent: bytes) -> None:
    answer = exchange(port, sent)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n"), answer
    assert b'"type": "invalid_request_error"' in answer
    assert exchange(port, GOOD).startswith(b"HTTP/1.1 200 ")


def test_what_stands_around_a_value_is_no_part_of_it(port: int) -> None:
    sent = b"GET /headers HTTP/1.1\r\nHost:\t localhost \r\nX:y\r\nConnection: close \t\r\n\r\n"
    seen = [(b"host", b"localhost"), (b"x", b"y"), (b"connection", b"close")]
    assert exchange(port, sent).endswith(b"\r\n\r\n" + repr(seen).encode())


def test_a_trailer_is_no_header(port: int) -> None:
    head = b"POST /headers HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert b"x-api-key" not in exchange(port, head + b"2\r\n{}\r\n0\r\nX-API-Key: late\r\n\r\n").lower()


@pytest.mark.parametrize("size", [1, 2**14])
def test_a_body_in_chunks_of_any_size_is_read_to_its_end(port: int, size: int) -> None:
    head = b"POST /read HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"%x\r\n%s\r\n" % (size, b"x" * size)
    assert exchange(port, head + chunk * (2**19 // len(chunk)) + b"0\r\n\r\n").endswith(b"ok")


def test_bytes_that_carry_nothing_are_not_read_for_ever(port: int) -> None:
    head = b"POST /read HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    assert exchange(port, head + b"X: y\r\n" * 2**15).startswith(b"HTTP/1.1 400 ")


def test_more_requests_in_one_write_than_may_wait_are_refused(port: int) -> None:
    with connect(port) as sock:
        half = b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
        sock.sendall(half * 2 * http_protocol.MAX_PIPELINED)
        assert read_all(sock).startswith(b"HTTP/1.1 400 ")


def test_a_client_that_leaves_ends_the_request_under_way_though_others_wait_behind_it(port: int) -> None:
    with connect(port) as sock:
        ENDED.clear()
        sock.sendall(b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n" + GOOD)
        assert sock.recv(12) == b"HTTP/1.1 200"
    assert ENDED.wait(5)


@pytest.mark.parametrize("protocol", [b"websocket", b"h2c"])
def test_another_protocol_is_not_taken_up(port: int, protocol: bytes) -> None:
    fields = b"Connection: Upgrade\r\nUpgrade: %s\r\n" % protocol
    answer = exchange(port, b"GET / HTTP/1.1\r\nHost: localhost\r\n" + fields + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in answer


@pytest.mark.parametrize(
    "body", [b"zz\r\n", b"2\r\n{}XX", b"-1\r\n", b"2;" + b"x" * 40_000, b"0\r\nX: y\n\r\n\r\n", b"1" * 30 + b"\r\n"]
)
def test_a_body_in_bad_chunks_is_refused(port: int, body: bytes) -> None:
    ENDED.clear()
    head = b"POST /read HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert exchange(port, head + body).startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert ENDED.wait(1)


def test_a_bad_chunk_after_the_answer_began_ends_the_connection(port: int) -> None:
    with connect(port) as sock:
        sock.sendall(b"POST /big HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert sock.recv(12) == b"HTTP/1.1 200"
        ENDED.clear()
        sock.sendall(b"zz\r\n")
        read_all(sock)
    assert ENDED.wait(1)


def drip(sock: socket.socket, data: bytes, within: float) -> float:
    """Send byte by byte until the server closes; after how many seconds it did."""
    started = time.monotonic()
    sock.settimeout(0.02)
    for byte in data:
        try:
            sock.sendall(bytes([byte]))
            if sock.recv(1) == b"":
                break
        except TimeoutError:
            if time.monotonic() - started > within:
                raise AssertionError("the server still waits") from None
        except ConnectionError:
            break
    return time.monotonic() - started


@pytest.mark.parametrize("first", [b"", GOOD.replace(b"close", b"keep-alive")])
def test_a_head_has_so_long_as_a_whole_however_steadily_it_comes(impatient: int, first: bytes) -> None:
    with connect(impatient) as sock:
        sock.sendall(first)
        if first:
            assert sock.recv(1000).startswith(b"HTTP/1.1 200")
        assert drip(sock, b"GET / HTTP/1.1\r\nX: " + b"a" * 1000, within=3) > 0.2


def test_a_connection_on_which_nothing_comes_is_closed(impatient: int) -> None:
    with connect(impatient) as sock:
        assert read_all(sock) == b""


def test_the_rest_of_a_body_that_has_been_answered_is_not_waited_for(impatient: int) -> None:
    with connect(impatient) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
        assert sock.recv(1000).startswith(b"HTTP/1.1 200")
        assert drip(sock, b"x" * 1000, within=3) > 0.2


def test_a_client_that_takes_its_time_within_the_limits_is_served(impatient: int) -> None:
    with connect(impatient) as sock:
        for piece in (GOOD[:10], GOOD[10:30], GOOD[30:]):
            sock.sendall(piece)
        assert read_all(sock).endswith(b"ok")


def test_a_client_that_does_not_read_is_cut_off(impatient: int) -> None:
    with connect(impatient) as sock:
        ENDED.clear()
        sock.sendall(b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert ENDED.wait(5)


def test_the_oldest_connection_without_a_request_makes_room(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "max_connections", lambda: 3)
    with connect(port) as first, connect(port) as second, connect(port) as third:
        for sock in (first, second, third):
            sock.sendall(GOOD[:-2])
        assert exchange(port, GOOD).endswith(b"ok")
        assert read_all(first) == b""
        for sock in (second, third):
            sock.sendall(b"\r\n")
            assert read_all(sock).endswith(b"ok")


def test_with_a_request_on_every_connection_the_next_is_closed(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "max_connections", lambda: 2)
    half = b"POST /read HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{"
    with connect(port) as first, connect(port) as second:
        for sock in (first, second):
            sock.sendall(half.replace(b"Content-Length", b"Expect: 100-continue\r\nContent-Length"))
            assert sock.recv(100).startswith(b"HTTP/1.1 100 ")
        assert exchange(port, GOOD) == b""
        for sock in (first, second):
            sock.sendall(b"}")
            assert read_all(sock).endswith(b"ok")
    assert exchange(port, GOOD).endswith(b"ok")


def test_pipelined_requests_are_answered_in_turn(port: int) -> None:
    assert exchange(port, GOOD.replace(b"close", b"keep-alive") * 3 + GOOD).count(b"HTTP/1.1 200") == 4
