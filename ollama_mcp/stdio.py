"""The process's standard streams as a transport for MCP: nothing else may write there, and a signal ends it.

The SDK reads stdin in a thread that nothing can interrupt, so a signal would wait for the next line. Here
the reading thread is a daemon over a file descriptor of its own, which does not hold up the end.
"""

import asyncio
import os
import queue
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Self

import anyio
import orjson

from ollama_mcp import strict_json
from ollama_mcp.errors import InvalidRequest

READ_SIZE = 64 * 1024
MAX_LINE = 16 * 2**20
"""Bytes of the longest message; a longer one is refused without being kept."""
MAX_WAITING = 16
"""Messages that are read ahead of those being handled."""
DRAIN_SECONDS = 0.5
PARSE_ERROR = -32700
INVALID_REQUEST = -32600


@dataclass(frozen=True)
class StandardStreams:
    """The wire, saved before anything else could write to it."""

    stdin: int
    stdout: int

    @classmethod
    def claim(cls) -> Self:
        """Take both streams: from now on the rest of the process reads nothing, and prints to stderr."""
        # A descriptor that the client left closed would be given to the next file that is opened.
        while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(opened)
        wire = cls(os.dup(0), os.dup(1))
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)
        return wire


class Unanswered:
    """How many requests have come in and not been answered.

    The SDK drops what is under way when stdin ends, so `printf ... | ollama-mcp` would lose its last answers.
    A look at the text is enough, since nothing worse than half a second's wait comes of a mistake.
    """

    def __init__(self) -> None:
        self._count = 0
        self._none = anyio.Event()

    def came_in(self, line: bytes) -> None:
        """Count a request."""
        if b'"id"' in line and b'"method"' in line:
            self._count += 1

    def went_out(self, text: str) -> None:
        """Count an answer."""
        if '"method"' not in text[:64]:
            self._count -= 1
            self._none.set()

    async def drain(self) -> None:
        """Wait until all are answered, but not for long."""
        with anyio.move_on_after(DRAIN_SECONDS):
            while self._count > 0:
                self._none = anyio.Event()
                await self._none.wait()


class LineReader:
    """The lines of a file descriptor, read in a daemon thread; stands in for an `anyio.AsyncFile`.

    What is no JSON-RPC message is answered here, since the SDK passes over it and its sender would wait.
    """

    def __init__(self, fd: int, unanswered: Unanswered, writer: "LineWriter") -> None:
        self._fd = fd
        self._unanswered = unanswered
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[bytes | Refusal | None] = asyncio.Queue()
        self._room = threading.Semaphore(MAX_WAITING)
        threading.Thread(target=self._read, name="stdin", daemon=True).start()

    def _read(self) -> None:
        pending = bytearray()
        too_long = False
        while chunk := self._next():
            *ends, rest = chunk.split(b"\n")
            for end in ends:
                if too_long or len(pending) + len(end) > MAX_LINE:
                    self._put(TOO_LONG)
                else:
                    self._put(bytes(pending + end))
                pending.clear()
                too_long = False
            too_long = too_long or len(pending) + len(rest) > MAX_LINE
            if too_long:
                pending.clear()
            else:
                pending += rest
        if pending or too_long:
            self._put(TOO_LONG if too_long else bytes(pending))
        self._put(None)

    def _next(self) -> bytes:
        try:
            return os.read(self._fd, READ_SIZE)
        except OSError:
            return b""  # the other end is gone, which is the end of the stream

    def _put(self, line: "bytes | Refusal | None") -> None:
        self._room.acquire()
        try:
            self._loop.call_soon_threadsafe(self._lines.put_nowait, line)
        except RuntimeError:
            return  # the loop has ended, and nobody reads any more

    async def __aiter__(self) -> AsyncIterator[str]:
        """Each message as text; blank lines say nothing."""
        while (line := await self._lines.get()) is not None:
            self._room.release()
            refusal = line if isinstance(line, Refusal) else _refusal(line)
            if refusal is not None:
                await self._writer.send(refusal.answer())
            elif isinstance(line, bytes) and line.strip():
                self._unanswered.came_in(line)
                yield line.decode()
        await self._unanswered.drain()


@dataclass(frozen=True)
class Refusal:
    """The answer to what is no JSON-RPC message."""

    code: int
    message: str
    id: str | int | None = None

    def answer(self) -> str:
        """The line to send."""
        error = {"code": self.code, "message": self.message}
        return orjson.dumps({"jsonrpc": "2.0", "id": self.id, "error": error}).decode() + "\n"


TOO_LONG = Refusal(PARSE_ERROR, f"Parse error: a message may have {MAX_LINE // 2**20} MiB at most")


def _refusal(line: bytes) -> Refusal | None:
    if not line.strip():
        return None
    try:
        message = strict_json.loads(line)
    except InvalidRequest as error:
        return Refusal(PARSE_ERROR, f"Parse error: {error.message}")
    if not isinstance(message, dict):
        return Refusal(INVALID_REQUEST, "Invalid request: the line is not one JSON-RPC 2.0 message")
    asked = message.get("id")
    sound = (
        message.get("jsonrpc") == "2.0"
        and isinstance(asked, str | int | None)
        and (isinstance(message.get("method"), str) or "result" in message or "error" in message)
        and isinstance(message.get("params"), dict | None)
    )
    if sound:
        return None
    return Refusal(
        INVALID_REQUEST,
        "Invalid request: a JSON-RPC 2.0 message has jsonrpc, a method as text, params as an object, and an id",
        asked if isinstance(asked, str | int) and not isinstance(asked, bool) else None,
    )


class LineWriter:
    """Writes to a file descriptor in a daemon thread, which does not hold up the end if nobody reads.

    Stands in for an `anyio.AsyncFile`.
    """

    def __init__(self, fd: int, unanswered: Unanswered, on_gone: Callable[[], None]) -> None:
        self._fd = fd
        self._unanswered = unanswered
        self._on_gone = on_gone
        self._pending = ""
        self._loop = asyncio.get_running_loop()
        self._waiting: queue.SimpleQueue[tuple[bytes, asyncio.Future[None]]] = queue.SimpleQueue()
        threading.Thread(target=self._write, name="stdout", daemon=True).start()

    async def write(self, text: str) -> int:
        """Keep the text until `flush`."""
        self._pending += text
        return len(text)

    async def flush(self) -> None:
        """Write all that is kept."""
        text, self._pending = self._pending, ""
        await self.send(text)
        self._unanswered.went_out(text)

    async def send(self, text: str) -> None:
        """Write a text after those that are waiting; without a reader, `on_gone` is called and nothing raised."""
        written: asyncio.Future[None] = self._loop.create_future()
        self._waiting.put((text.encode("utf-8", errors="replace"), written))
        try:
            await written
        except OSError:
            self._on_gone()

    def _write(self) -> None:
        while True:
            data, written = self._waiting.get()
            error: OSError | None = None
            try:
                self._write_all(data)
            except OSError as caught:
                error = caught
            try:
                self._loop.call_soon_threadsafe(_settle, written, error)
            except RuntimeError:
                return  # the loop has ended, and nobody waits any more

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]


def _settle(future: asyncio.Future[None], error: OSError | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
