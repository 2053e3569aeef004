"""How processes end, and what holds them up: signals, streams under way, parents and pipes that are gone."""

import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest

from ollama_mcp.serve import DRAIN_SECONDS
from tests.fake_ollama import FakeOllama, Gate, last, line, stream
from tests.forked import Parent, Served
from tests.harness import WARM
from tests.processes import COMMAND, clean_environment
from tests.test_sessions import events, session

CHAT: dict[str, Any] = {"model": "llama3.2", "messages": [{"role": "user", "content": "Hi"}]}
PATH = "/v1/chat/completions"


@pytest.fixture
def fake() -> Iterator[FakeOllama]:
    with FakeOllama.in_thread(loaded=dict(WARM)) as fake:
        yield fake


@contextmanager
def streaming(served: Served, fake: FakeOllama, *rest: Any) -> Iterator[Iterator[str]]:
    """A stream of which the first word has come; its lines."""
    fake.on("/api/chat", stream(line("Hel"), *rest))
    with httpx.stream("POST", f"{served.url}{PATH}", json={**CHAT, "stream": True}, timeout=20) as answer:
        lines = answer.iter_lines()
        while "Hel" not in next(lines):
            pass
        yield lines


def asked(url: str, body: dict[str, Any], path: str = PATH, **headers: str) -> socket.socket:
    """A connection on which a question has been sent."""
    host, _, port = url.removeprefix("http://").partition(":")
    data = json.dumps(body).encode()
    fields = {"Host": host, "Content-Type": "application/json", "Content-Length": len(data), **headers}
    head = "\r\n".join([f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())])
    connection = socket.create_connection((host, int(port)), timeout=20)
    connection.sendall(f"{head}\r\n\r\n".encode() + data)
    return connection


def listens_no_more(url: str) -> None:
    """Wait until no new connection is taken."""
    while True:
        try:
            httpx.get(f"{url}/health/live", headers={"Connection": "close"})
        except httpx.HTTPError:
            return


def test_what_goes_on_too_long_ends_with_an_error_when_the_server_does(forks: Parent, fake: FakeOllama) -> None:
    with (
        forks.http_server("--ollama-host", fake.url) as served,
        streaming(served, fake, Gate()) as lines,
        session(served.url) as client,
        asked(served.url, CHAT) as once,
    ):
        fake.wait_request_sync("/api/chat", 2)
        with client.call("chat_completion", {"prompt": "Hi"}, 2) as answer:
            fake.wait_request_sync("/api/chat", 3)
            began = time.monotonic()
            served.process.send_signal(signal.SIGTERM)
            rest = [text for text in lines if text]
            heard = [data for _, data in events(answer)]
        whole = b"".join(iter(lambda: once.recv(65536), b""))
        assert served.process.wait() == -signal.SIGTERM
        assert time.monotonic() - began < DRAIN_SECONDS + 1 + 1  # one more for a busy machine
        said = served.end()
    assert json.loads(rest[-1].removeprefix("data: "))["error"]["code"] == "server_ending"
    assert "[DONE]" not in "".join(rest)
    assert not any("result" in (data or {}) for data in heard)
    assert whole.startswith(b"HTTP/1.1 503 ")
    assert b'"server_ending"' in whole
    assert "Traceback" not in said
    fake.wait_disconnected_sync(3)


def test_what_ends_in_time_ends_well_and_the_server_right_after_it(forks: Parent, fake: FakeOllama) -> None:
    gate = Gate()
    with (
        forks.http_server("--ollama-host", fake.url) as served,
        streaming(served, fake, gate, line("lo"), last()) as lines,
    ):
        began = time.monotonic()
        served.process.send_signal(signal.SIGTERM)
        listens_no_more(served.url)
        gate.open()
        rest = [text for text in lines if text]
        assert served.process.wait() == -signal.SIGTERM
        assert time.monotonic() - began < DRAIN_SECONDS
    assert '"lo"' in rest[0]
    assert rest[-1] == "data: [DONE]"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_it_at_once(forks: Parent, fake: FakeOllama, number: signal.Signals) -> None:
    with (
        forks.http_server("--ollama-host", fake.url) as served,
        streaming(served, fake, Gate()),
    ):
        served.process.send_signal(number)
        listens_no_more(served.url)
        began = time.monotonic()
        served.process.send_signal(number)
        served.process.wait()
        assert time.monotonic() - began < 1.5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_idle_server_over_http_ends_at_once(forks: Parent, number: signal.Signals) -> None:
    with forks.http_server() as served:
        assert httpx.get(f"{served.url}/health/live").status_code == 200
        began = time.monotonic()
        served.process.send_signal(number)
        served.process.wait()
        assert time.monotonic() - began < 2
        assert "Traceback" not in served.end()


def test_a_server_over_stdio_outlives_no_parent(fake: FakeOllama) -> None:
    # The parent holds the only other ends of the pipes and is killed without a chance to close them.
    program = (
        "import subprocess, sys\n"
        "child = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        'child.stdin.write(b\'{"jsonrpc": "2.0", "id": 1, "method": "ping"}\\n\')\n'
        "child.stdin.flush()\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, COMMAND, "stdio", "--ollama-host", fake.url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=clean_environment()) as between:
        child = os.pidfd_open(int(between.stdout.readline()))
        try:
            between.kill()
            began = time.monotonic()
            assert select.select([child], [], [], 5)[0], "the server goes on without its parent"
            assert time.monotonic() - began < 2
        finally:
            os.close(child)


def test_a_server_over_http_goes_on_when_nobody_reads_its_log(forks: Parent, fake: FakeOllama) -> None:
    with forks.running("http", "--port", "0", "--log-level", "debug", "--ollama-host", fake.url) as process:
        said = b""
        while b"/docs" not in said:
            said += process.stderr.read(65536)
        url = said.split()[1].decode().removesuffix("/mcp")
        assert httpx.get(f"{url}/health/live", timeout=20).status_code == 200
        process.stderr.close()
        process.stdout.close()
        for _ in range(3):
            assert httpx.post(f"{url}{PATH}", json=CHAT, timeout=20).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait() == -signal.SIGTERM


def test_with_few_file_descriptors_others_are_turned_away_and_the_server_goes_on(
    forks: Parent, fake: FakeOllama
) -> None:
    with forks.http_server("--ollama-host", fake.url) as served, ExitStack() as idle:
        resource.prlimit(served.process.pid, resource.RLIMIT_NOFILE, (80, 80))
        host, port = served.url.removeprefix("http://").split(":")
        for _ in range(150):
            idle.enter_context(socket.create_connection((host, int(port)), timeout=5))
        idle.close()
        deadline = time.monotonic() + 10
        while True:
            try:
                answer = httpx.post(f"{served.url}{PATH}", json=CHAT, timeout=5)
                break
            except httpx.HTTPError:
                assert time.monotonic() < deadline
        assert answer.status_code == 200
        assert "Traceback" not in served.end()


def test_the_command_line_ends_when_nobody_reads_its_answer(forks: Parent, fake: FakeOllama) -> None:
    gate = Gate()
    fake.chat_script = [stream(line("Hel"), gate, *[line("lo " * 1000)] * 200, last())]
    with forks.running("chat", "Hi", "--ollama-host", fake.url) as process:
        process.stdin.close()
        assert process.stdout.read(3) == b"Hel"
        process.stdout.close()
        gate.open()
        assert process.wait() == 0
        assert b"Traceback" not in process.stderr.read()
