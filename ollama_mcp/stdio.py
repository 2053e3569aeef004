"""The process's standard streams as a transport for MCP: nothing else may write there, and a signal ends it.

The SDK reads stdin in a thread that nothing can interrupt, so a signal would wait for the next line. Here
the reading thread is a daemon over a file descriptor of its own, which does not hold up the end.
"""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Self

import anyio
import anyio.to_thread

READ_SIZE = 64 * 1024
DRAIN_SECONDS = 0.5


@dataclass(frozen=True)
class StandardStreams:
    """The wire, saved before anything else could write to it."""

    stdin: int
    stdout: int

    @classmethod
    def claim(cls) -> Self:
        """Take both streams: from now on the rest of the process reads nothing, and prints to stderr."""
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
    """The lines of a file descriptor, read in a daemon thread; stands in for an `anyio.AsyncFile`."""

    def __init__(self, fd: int, unanswered: Unanswered) -> None:
        self._fd = fd
        self._unanswered = unanswered
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue()
        threading.Thread(target=self._read, name="stdin", daemon=True).start()

    def _read(self) -> None:
        pending = b""
        while chunk := self._next():
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                self._put(line)
        if pending:
            self._put(pending)
        self._put(None)

    def _next(self) -> bytes:
        try:
            return os.read(self._fd, READ_SIZE)
        except OSError:
            return b""  # the other end is gone, which is the end of the stream

    def _put(self, line: bytes | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._lines.put_nowait, line)
        except RuntimeError:
            return  # the loop has ended, and nobody reads any more

    async def __aiter__(self) -> AsyncIterator[str]:
        """Each line as text; blank lines say nothing."""
        while (line := await self._lines.get()) is not None:
            if line.strip():
                self._unanswered.came_in(line)
                yield line.decode("utf-8", errors="replace")
        await self._unanswered.drain()


class LineWriter:
    """Writes to a file descriptor in a thread that is left behind if the reader does not read."""

    def __init__(self, fd: int, unanswered: Unanswered) -> None:
        self._fd = fd
        self._unanswered = unanswered
        self._pending = ""

    async def write(self, text: str) -> int:
        """Keep the text until `flush`."""
        self._pending += text
        return len(text)

    async def flush(self) -> None:
        """Write all that is kept."""
        text, self._pending = self._pending, ""
        data = text.encode("utf-8", errors="replace")
        await anyio.to_thread.run_sync(self._write_all, data, abandon_on_cancel=True)
        self._unanswered.went_out(text)

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
