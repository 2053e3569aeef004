"""The console command as processes of their own that need not import anything: forked from one that has.

Starting it anew takes most of a second of processor time, which a table of faults has not got. What a start
does with its imports, `tests/processes.py` is there for.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from .processes import WITHIN, clean_environment

PARENT = """
import gc, json, os, socket, sys
from ollama_mcp import cli, client, http_protocol, serve, server, sessions
from ollama_mcp.engines import ollama, ollama_client
from ollama_mcp.openai_api import app
import mcp.server.runner, mcp.server.stdio, uvicorn.lifespan.on, starlette.middleware.errors

gc.freeze()
orders = socket.socket(fileno=int(sys.argv[1]))
orders.send(b"ready")
while True:
    data, fds, *_ = socket.recv_fds(orders, 2**20, 4)
    if not data:
        os._exit(0)
    if (middle := os.fork()) == 0:
        if os.fork() == 0:
            break  # an orphan, so that this process need not wait for its end
        os._exit(0)
    os.waitpid(middle, 0)
    for fd in fds:
        os.close(fd)
orders.close()
order = json.loads(data)
os.environ.clear()
os.environ.update(order["environment"])
os.chdir(order["directory"])
told = fds.pop()
if (pid := os.fork()) != 0:
    for fd in (0, 1, 2, *fds):
        os.close(fd)
    os.write(told, b"%15d\\n" % pid)
    _, status = os.waitpid(pid, 0)
    os.write(told, b"%15d\\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)
os.close(told)
for target, fd in enumerate(fds):
    os.dup2(fd, target)
    os.close(fd)
sys.argv = ["ollama-mcp", *order["arguments"]]
exec(order["before"])
sys.exit(cli.main(order["arguments"]))
"""


NUMBER = 16
"""Bytes in which a process id and an exit code are told."""


class Forked:
    """A running command; its streams are bytes, unbuffered."""

    def __init__(self, pid: int, told: int, streams: tuple[IO[bytes], IO[bytes], IO[bytes]]) -> None:
        self.pid = pid
        self.stdin, self.stdout, self.stderr = streams
        self._told = told
        self._code: int | None = None

    def wait(self, within: float = WITHIN) -> int:
        """The exit code, negative for a signal."""
        if self._code is None:
            ready, _, _ = select.select([self._told], [], [], within)
            if not ready:
                raise subprocess.TimeoutExpired("ollama-mcp", within)
            self._code = int(os.read(self._told, NUMBER))
        return self._code

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self._code is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def end(self) -> None:
        """Kill it if it still runs, and let go of everything."""
        self.send_signal(signal.SIGKILL)
        self.wait()
        for stream in (self.stdin, self.stdout, self.stderr):
            if not stream.closed:
                stream.close()
        os.close(self._told)


class Parent:
    """Forks commands on demand."""

    def __init__(self, orders: socket.socket) -> None:
        self._orders = orders
        self._lock = threading.Lock()

    @contextmanager
    def running(
        self, *arguments: str, directory: str = "/", before: str = "", **environment: str
    ) -> Iterator[Forked]:
        """A command while it runs; `before` is Python that its process runs first."""
        ends = [os.pipe() for _ in range(4)]  # stdin, stdout, stderr, and what is told of the process
        ours = [ends[0][1], ends[1][0], ends[2][0]]
        theirs = [ends[0][0], ends[1][1], ends[2][1], ends[3][1]]
        order = {
            "arguments": arguments,
            "environment": clean_environment(**environment),
            "directory": directory,
            "before": before,
        }
        with self._lock:
            socket.send_fds(self._orders, [json.dumps(order).encode()], theirs)
        for fd in theirs:
            os.close(fd)
        stdin, stdout, stderr = ours
        pid = int(os.read(ends[3][0], NUMBER))
        streams = (open(stdin, "wb", 0), open(stdout, "rb", 0), open(stderr, "rb", 0))  # noqa: SIM115, PTH123
        process = Forked(pid, ends[3][0], streams)
        try:
            yield process
        finally:
            process.end()

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
        """A command without input, to its end."""
        with self.running(*arguments, **environment) as process:
            process.stdin.close()
            out, err = bytearray(), bytearray()
            reader = threading.Thread(target=lambda: err.extend(process.stderr.read()))
            reader.start()
            out += process.stdout.read()
            reader.join()
            return subprocess.CompletedProcess(arguments, process.wait(), bytes(out), bytes(err))

    @contextmanager
    def http_server(self, *arguments: str, before: str = "", **environment: str) -> Iterator["Served"]:
        """`ollama-mcp http` on a free port."""
        with self.running("http", "--port", "0", *arguments, before=before, **environment) as process:
            yield Served(process)


class Served:
    """A server over HTTP; `said` is what it wrote to stderr, whole once it has ended."""

    def __init__(self, process: Forked) -> None:
        self.process = process
        self.said = bytearray()
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._listening.wait(WITHIN), self.said.decode()
        assert b"/docs" in self.said, self.said.decode()
        self.url = self.said.decode().split()[1].removesuffix("/mcp")

    def _read(self) -> None:
        while data := self.process.stderr.read(65536):
            self.said += data
            if b"/docs" in self.said:
                self._listening.set()
        self._listening.set()

    def end(self, number: int = signal.SIGTERM) -> str:
        """Have it end; what it said in all."""
        self.process.send_signal(number)
        self.process.wait()
        self._reader.join(WITHIN)
        return self.said.decode()


@contextmanager
def parent() -> Iterator[Parent]:
    """A process to fork commands from."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with (
        ours,
        subprocess.Popen(
            [sys.executable, "-c", PARENT, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
        ) as process,
    ):
        theirs.close()
        try:
            assert ours.recv(100) == b"ready"
            yield Parent(ours)
        finally:
            ours.close()
            process.wait(WITHIN)
