"""A load generator over raw sockets, cheap enough that what it measures is the bottleneck."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from fake_ollama import TOKEN

MARK = TOKEN.encode()
CONTENT = (b'"content":" token', b'"content": " token')

END = b"\r\n0\r\n\r\n"
"""Of an answer in chunks."""


@dataclass
class Result:
    """What a run took; times in seconds, one latency and one time to the first token per answer."""

    seconds: float
    latencies: list[float] = field(default_factory=list)
    firsts: list[float] = field(default_factory=list)
    chunks: int = 0

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.latencies) / self.seconds


def post(port: int, path: str, body: Any, headers: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a request."""
    content = json.dumps(body).encode()
    lines = {
        "Host": f"127.0.0.1:{port}",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "Content-Length": str(len(content)),
        **(headers or {}),
    }
    head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return head.encode() + b"\r\n" + content


class Connection(asyncio.Protocol):
    """Sends one request after another; gives the whole answer as it came, head included."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def ask(self, request: bytes) -> "asyncio.Future[bytes]":
        """The answer to a request."""
        self._parts: list[bytes] = []
        self._size = 0
        self._tail = b""
        self._wanted: int | None = None  # the size of the answer with its head; None: until the last chunk
        self.first: float | None = None
        self._answer = self._loop.create_future()
        self.transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        if not self._parts:
            head, _, _ = data.partition(b"\r\n\r\n")
            _, _, length = head.lower().partition(b"content-length:")
            if length:
                self._wanted = len(head) + 4 + int(length.partition(b"\r\n")[0])
        self._parts.append(data)
        self._size += len(data)
        if self.first is None and MARK in data:
            self.first = time.perf_counter()
        self._tail = (self._tail + data[-len(END) :])[-len(END) :]
        done = self._tail == END if self._wanted is None else self._size >= self._wanted
        if done and self._answer is not None:
            self._answer.set_result(b"".join(self._parts))
            self._answer = None

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the server closed the connection"))


async def connect(port: int) -> Connection:
    """A connection."""
    _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port)
    return connection


def check(answer: bytes) -> bytes:
    """The answer, which must be a success."""
    if not answer.startswith(b"HTTP/1.1 200") or b'"isError":true' in answer:
        raise RuntimeError(f"not answered: {answer[:2000]!r}")
    return answer


def _pieces(answer: bytes) -> int:
    return max(answer.count(form) for form in CONTENT)


def _body(answer: bytes) -> bytes:
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"chunked" not in head:
        return body
    pieces, place = [], 0
    while place < len(body):
        line = body.index(b"\r\n", place)
        start, size = line + 2, int(body[place:line], 16)
        pieces.append(body[start : start + size])
        place = start + size + 2
    return b"".join(pieces)


async def ask_once(port: int, request: bytes) -> bytes:
    """One answer."""
    connection = await connect(port)
    try:
        return check(await connection.ask(request))
    finally:
        connection.transport.close()


async def run(
    port: int, request: bytes | Sequence[bytes], *, connections: int, total: int, tokens: int = 0
) -> Result:
    """Ask `total` times over so many connections, each asking again as soon as it has its answer.

    All ask the same, or each its own request of the ones given.

    With `tokens`, each answer must be a stream with that many pieces of text.
    """
    ready = [await connect(port) for _ in range(connections)]
    requests = [request] * connections if isinstance(request, bytes) else request
    result = Result(0)
    left = total

    async def worker(connection: Connection, request: bytes) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            started = time.perf_counter()
            answer = check(await connection.ask(request))
            result.latencies.append(time.perf_counter() - started)
            if connection.first is not None:
                result.firsts.append(connection.first - started)
            if tokens:
                # A proxy bounds chunks anywhere, in the middle of a piece too; all others need not be taken apart.
                pieces = _pieces(answer)
                if pieces != tokens:
                    pieces = _pieces(_body(answer))
                if pieces != tokens:
                    raise RuntimeError(f"{pieces} pieces instead of {tokens}: {answer[:500]!r}")
                result.chunks += pieces

    started = time.perf_counter()
    try:
        await asyncio.gather(*(worker(*pair) for pair in zip(ready, requests, strict=True)))
    finally:
        for connection in ready:
            connection.transport.close()
    result.seconds = time.perf_counter() - started
    return result
