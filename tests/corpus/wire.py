"""Bad input as the bytes of a whole request, and how it is sent."""

import asyncio
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

WITHIN = 10.0
"""Seconds in which the server must have dealt with a request, on a busy machine too."""
AT_ONCE = 8

CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "Hi"}]
GOOD: dict[str, Any] = {"model": "llama3.2", "messages": MESSAGES}
REFUSED = frozenset({400})
FINE = frozenset({200})
EITHER = frozenset(range(200, 500))
"""Whatever the server makes of it, as long as the fault is not its own."""
CLOSED = 0
"""In place of a status: the connection was closed without an answer."""


@dataclass(frozen=True)
class Case:
    """A request; a list of pieces is sent in as many writes."""

    name: str
    data: bytes | tuple[bytes, ...]
    allowed: frozenset[int] = REFUSED
    half_close: bool = False


def request(
    method: str = "POST",
    path: str = CHAT,
    body: bytes = b"",
    headers: Sequence[tuple[str, str | bytes]] = (),
    *,
    host: str | None = "localhost",
    json_type: bool = True,
) -> bytes:
    """A request that asks for the connection to be closed after it."""
    fields: list[tuple[str, str | bytes]] = [] if host is None else [("Host", host)]
    if json_type and method == "POST":
        fields.append(("Content-Type", "application/json"))
    fields += [*headers, ("Connection", "close")]
    if body or method == "POST":
        fields.append(("Content-Length", str(len(body))))
    lines = [f"{name}: ".encode() + (value if isinstance(value, bytes) else value.encode()) for name, value in fields]
    return b"\r\n".join([f"{method} {path} HTTP/1.1".encode(), *lines, b"", body])


def posted(name: str, body: object, allowed: frozenset[int] = REFUSED, path: str = CHAT) -> Case:
    """A body; what is no bytes is written as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Case(name, request(path=path, body=data), allowed)


async def send(port: int, case: Case) -> bytes:
    """All that the server answers until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**24)
    received = b""
    try:
        # What the server refuses without reading it may not be sent to its end.
        sending = asyncio.create_task(_send(writer, case))
        try:
            while piece := await reader.read(2**20):
                received += piece
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
    except ConnectionError:
        pass
    finally:
        writer.close()
    return received


async def _send(writer: asyncio.StreamWriter, case: Case) -> None:
    for piece in (case.data,) if isinstance(case.data, bytes) else case.data:
        writer.write(piece)
        await writer.drain()
    if case.half_close:
        writer.write_eof()


def wrong(case: Case, received: bytes) -> str | None:
    """What is wrong with an answer."""
    head, _, body = received.partition(b"\r\n\r\n")
    if size := re.search(rb"\r\ncontent-length: (\d+)", head):
        body = body[: int(size[1])]  # what follows answers a second request
    status = int(head.split(b" ")[1]) if head.startswith(b"HTTP/1.1 ") else CLOSED
    if status not in case.allowed:
        return f"{status} {body[:200]!r}"
    if b"Traceback" in received or b'File \\"' in received or b"pydantic" in received:
        return f"tells of the server's inside: {body[:300]!r}"
    if status >= 400 and body and not ({"error", "jsonrpc"} & set(json.loads(body))):
        return f"no error of ours: {body[:200]!r}"
    return None


PING = Case("a ping", request("GET", "/health/live"), FINE)


async def play(port: int, cases: Iterable[Case]) -> dict[str, str]:
    """Send all the cases, a few at a time, and a ping after each; what is wrong, by their names."""
    room = asyncio.Semaphore(AT_ONCE)
    found: dict[str, str] = {}

    async def one(case: Case) -> None:
        async with room:
            try:
                async with asyncio.timeout(WITHIN):
                    problem = wrong(case, await send(port, case)) or wrong(PING, await send(port, PING))
            except TimeoutError:
                problem = "no end"
        if problem is not None:
            found[case.name] = problem

    async with asyncio.TaskGroup() as tasks:
        for case in cases:
            tasks.create_task(one(case))
    return found
