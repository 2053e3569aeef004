"""Whether a server is after many requests, disconnects and faults what it was before: tasks, threads, files, memory.

`uv run python -m benchmarks.endurance` takes a few minutes, on this machine alone, and ends with 1 if something grew.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from tests.fake_ollama import (
    CLOSE,
    HANG,
    RESET,
    Exchange,
    FakeOllama,
    Responder,
    answer,
    close,
    failure,
    line,
    stream,
)
from tests.harness import WARM
from tests.processes import clean_environment

AT_ONCE = 16
WARM_UP = 64
QUIET_SECONDS = 20.0
LEVEL_MEBIBYTES = 8.0
"""How much the second half may add to the memory; less than a byte a request would be seen in an hour."""
LIMIT_SECONDS = 1800.0

SERVER = """
import asyncio, os, signal, sys
from ollama_mcp import cli

def count(*_):
    os.write(2, b"tasks %d\\n" % len(asyncio.all_tasks()))

signal.signal(signal.SIGUSR1, count)
sys.exit(cli.main(["http", "--port", "0", "--ollama-host", sys.argv[1]]))
"""
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "endurance", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
MCP_HEADERS = {
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": "2026-07-28",
    "Mcp-Method": "tools/call",
    "Mcp-Name": "chat_completion",
}
FAULTS: list[Responder] = [
    close,
    failure(500, "CUDA error: out of memory"),
    failure(503, "server busy, please try again"),
    answer(502, "<html>Bad Gateway</html>"),
    stream(line("Hel"), CLOSE),
    stream(line("Hel"), RESET),
    stream(line("Hel"), b"not JSON\n"),
    stream(line("Hel"), {"error": "llama runner process has terminated"}),
    stream(line("Hel")),
]


class Counts(NamedTuple):
    """What a server holds; memory in MiB."""

    tasks: int
    threads: int
    files: int
    memory: float


@dataclass
class Report:
    """Before and after, and the memory from the middle on."""

    before: Counts
    after: Counts
    middle: float
    seconds: float
    sent: int
    wrong: list[str] = field(default_factory=list)
    """Answers that were not as they should be, the first few."""

    def grown(self) -> list[str]:
        """What is more than it was."""
        found = [
            f"{name}: {getattr(self.before, name)} -> {getattr(self.after, name)}"
            for name in ("tasks", "threads", "files")
            if getattr(self.after, name) > getattr(self.before, name)
        ]
        if self.after.memory - self.middle > LEVEL_MEBIBYTES:
            found.append(f"memory in the second half: {self.middle:.1f} -> {self.after.memory:.1f} MiB")
        return found


class Server:
    """The server as a process that tells how many tasks it has when it is asked to."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.url = ""
        self._tasks: asyncio.Queue[int] = asyncio.Queue()

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, upstream: str) -> AsyncIterator["Server"]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SERVER, upstream, stderr=asyncio.subprocess.PIPE, env=clean_environment()
        )
        server = cls(process)
        assert process.stderr is not None
        while " docs " not in (text := (await process.stderr.readline()).decode()):
            assert text, "the server ended"
            server.url = server.url or text.split()[1].removesuffix("/mcp")
        reading = asyncio.create_task(server._read(process.stderr))
        try:
            yield server
        finally:
            reading.cancel()
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _read(self, stderr: asyncio.StreamReader) -> None:
        while text := (await stderr.readline()).decode():
            if text.startswith("tasks "):
                self._tasks.put_nowait(int(text.split()[1]))

    def memory(self) -> float:
        """What is resident, in MiB."""
        return float(self._status("VmRSS")) / 1024

    def _status(self, name: str) -> str:
        text = Path(f"/proc/{self._process.pid}/status").read_text()
        return text.partition(f"{name}:")[2].split()[0]

    async def counts(self) -> Counts:
        self._process.send_signal(signal.SIGUSR1)
        tasks = await asyncio.wait_for(self._tasks.get(), 10)
        files = len(os.listdir(f"/proc/{self._process.pid}/fd"))  # noqa: PTH208
        return Counts(tasks, int(self._status("Threads")), files, self.memory())


async def respond(exchange: Exchange) -> None:
    """Answer well, or as the question asks for it."""
    exchange.fake.requests.clear()  # they are kept for tests that look at them
    kind, _, number = exchange.request.body["messages"][0]["content"].partition(" ")
    if kind == "hang":
        await stream(line("Hel"), HANG)(exchange)
    elif kind == "fault":
        await FAULTS[int(number) % len(FAULTS)](exchange)
    else:
        await exchange.default()


class Load:
    """Requests of every kind to one server; what is wrong with their answers is kept."""

    def __init__(self, url: str, http: httpx.AsyncClient) -> None:
        self._url = url
        self._http = http
        self.wrong: list[str] = []

    async def request(self, number: int) -> None:
        ask = (self._once, self._stream, self._mcp, self._embed)[number % 4]
        await ask(f"good {number}", "good")

    async def fault(self, number: int) -> None:
        ask = (self._once, self._stream, self._mcp)[number % 3]
        await ask(f"fault {number}", "bad")

    async def disconnect(self, number: int) -> None:
        """Leave in the middle of a stream."""
        host, _, port = self._url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        body = json.dumps(self._chat(f"hang {number}") | {"stream": True}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        writer.write(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
        await reader.readuntil(b"Hel")
        writer.transport.abort()

    @staticmethod
    def _chat(text: str) -> dict[str, Any]:
        return {"model": "llama3.2", "messages": [{"role": "user", "content": text}]}

    async def _once(self, text: str, wanted: str) -> None:
        reply = await self._http.post("/v1/chat/completions", json=self._chat(text))
        self._check(text, wanted, reply.status_code == 200, reply.text)

    async def _stream(self, text: str, wanted: str) -> None:
        reply = await self._http.post("/v1/chat/completions", json=self._chat(text) | {"stream": True})
        self._check(text, wanted, reply.text.endswith("data: [DONE]\n\n"), reply.text)

    async def _mcp(self, text: str, wanted: str) -> None:
        params = {"name": "chat_completion", "arguments": {"prompt": text, "model": "llama3.2"}, "_meta": META}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        reply = await self._http.post("/mcp", json=body, headers=MCP_HEADERS)
        good = reply.status_code == 200 and '"isError":true' not in reply.text and '"result"' in reply.text
        self._check(text, wanted, good, reply.text)

    async def _embed(self, text: str, wanted: str) -> None:
        reply = await self._http.post("/v1/embeddings", json={"model": "nomic-embed-text", "input": text})
        self._check(text, wanted, reply.status_code == 200, reply.text)

    def _check(self, text: str, wanted: str, good: bool, said: str) -> None:
        if good != (wanted == "good") and len(self.wrong) < 10:
            self.wrong.append(f"{text}: {said[-300:]}")


async def _many(count: int, work: Callable[[int], Awaitable[None]], every: Callable[[], None]) -> None:
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            await work(number)
            every()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(worker())


async def endure(*, requests: int, disconnects: int, faults: int) -> Report:
    """Send all that, first to last of each kind in turns of a tenth, and compare."""
    started = time.monotonic()
    memory: list[float] = []
    sent = itertools.count(1)
    async with FakeOllama(loaded=dict(WARM)) as fake, Server.running(fake.url) as server:
        fake.on("/api/chat", respond)
        wrong: list[str] = []

        async def play(requests: int, disconnects: int, faults: int) -> None:
            async with httpx.AsyncClient(base_url=server.url, timeout=30, trust_env=False) as http:
                load = Load(server.url, http)
                for count, work in ((requests, load.request), (disconnects, load.disconnect), (faults, load.fault)):
                    await _many(count, work, lambda: next(sent))
            wrong.extend(load.wrong)

        async def quiet(wanted: Counts | None = None) -> Counts:
            """The counts once nothing is under way, and no connection kept to Ollama."""
            await fake.stop()
            await fake.__aenter__()
            last, deadline = await server.counts(), time.monotonic() + QUIET_SECONDS
            while time.monotonic() < deadline:
                await asyncio.sleep(0.3)
                now = await server.counts()
                settled = (
                    now[:3] == last[:3]
                    if wanted is None
                    else all(a <= b for a, b in zip(now[:3], wanted, strict=False))
                )
                if settled:
                    return now
                last = now
            return last

        await play(WARM_UP, WARM_UP, WARM_UP)
        before = await quiet()
        for _ in range(10):
            await play(requests // 10, disconnects // 10, faults // 10)
            memory.append(server.memory())
        after = await quiet(before)
    return Report(before, after, memory[len(memory) // 2 - 1], time.monotonic() - started, next(sent) - 1, wrong)


def main() -> int:
    """Run it and tell; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, count in (("requests", 10_000), ("disconnects", 1_000), ("faults", 1_000)):
        parser.add_argument(f"--{name}", type=int, default=count)
    chosen = parser.parse_args()
    report = asyncio.run(asyncio.wait_for(endure(**vars(chosen)), LIMIT_SECONDS))
    print(f"{report.sent} requests in {report.seconds:.0f} s")
    for name in Counts._fields:
        print(f"{name:>8}  before {getattr(report.before, name):8.1f}  after {getattr(report.after, name):8.1f}")
    print(f"  memory in the middle {report.middle:.1f} MiB")
    problems = [*report.wrong, *report.grown()]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
