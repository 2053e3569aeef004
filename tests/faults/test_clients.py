"""What clients do to a server: they leave at any point, cancel, repeat an id, or send half of a request."""

import io
import json
import signal
import socket
from collections.abc import Iterator
from typing import Any

import anyio
import httpx
import pytest
from mcp import Client

from tests.corpus.rpc import META
from tests.fake_ollama import Exchange, FakeOllama, Gate, last, line, stream
from tests.forked import Parent, Served
from tests.harness import ERAS, WARM, text_of
from tests.test_sessions import events, session
from tests.test_stdio import HELLO, lines

from .test_ends import CHAT, PATH, asked

WITHIN = 2.0
"""Seconds in which Ollama must see that a client is gone: one, and one more for a busy machine."""


@pytest.fixture
def fake() -> Iterator[FakeOllama]:
    with FakeOllama.in_thread(loaded=dict(WARM)) as fake:
        yield fake


@pytest.fixture
def served(forks: Parent, fake: FakeOllama) -> Iterator[Served]:
    """A server that asks Ollama one thing at a time."""
    with forks.http_server("--ollama-host", fake.url, OLLAMA_MCP_MAX_CONCURRENCY="1") as served:
        yield served
        assert "Traceback" not in served.end()


def begins_and_waits(reached: list[Gate], *, head: bool) -> Any:
    """Take each request, tell by the next gate that it is there, and answer no more than its first word."""

    async def respond(exchange: Exchange) -> None:
        if head:
            await exchange.head()
            await exchange.chunk(json.dumps(line("Hel")).encode() + b"\n")
        reached.pop(0).open()
        await exchange.hang()

    return respond


def ask(served: Served) -> str:
    return httpx.post(f"{served.url}{PATH}", json=CHAT, timeout=10).json()["choices"][0]["message"]["content"]


@pytest.mark.parametrize("streams", [False, True], ids=["once", "stream"])
def test_a_client_that_leaves_the_queue_is_never_asked_for(served: Served, fake: FakeOllama, streams: bool) -> None:
    gates = [Gate()]
    first = gates[0]
    fake.on("/api/chat", begins_and_waits(gates, head=True))
    body = {**CHAT, "stream": streams}
    with asked(served.url, body):
        first.wait_sync()
        with asked(served.url, body), asked(served.url, body):
            pass
        fake.on("/api/chat", Exchange.default)
    fake.wait_disconnected_sync(within=WITHIN)
    assert ask(served) == "You said: Hi"
    assert len(fake.sent("/api/chat")) == 2


@pytest.mark.parametrize("head", [False, True], ids=["before a token", "in the middle"])
@pytest.mark.parametrize("streams", [False, True], ids=["once", "stream"])
def test_a_client_that_leaves_stops_its_answer(served: Served, fake: FakeOllama, streams: bool, head: bool) -> None:
    gates = [Gate()]
    first = gates[0]
    fake.on("/api/chat", begins_and_waits(gates, head=head))
    with asked(served.url, {**CHAT, "stream": streams}):
        first.wait_sync()
    fake.wait_disconnected_sync(within=WITHIN)
    fake.on("/api/chat", Exchange.default)
    assert ask(served) == "You said: Hi"


@pytest.mark.parametrize("streams", [False, True], ids=["once", "stream"])
def test_a_client_that_sends_no_more_has_left(served: Served, fake: FakeOllama, streams: bool) -> None:
    gates = [Gate()]
    first = gates[0]
    fake.on("/api/chat", begins_and_waits(gates, head=True))
    with asked(served.url, {**CHAT, "stream": streams}) as connection:
        first.wait_sync()
        connection.shutdown(socket.SHUT_WR)
        fake.wait_disconnected_sync(within=WITHIN)
        assert b"[DONE]" not in b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.anyio
@pytest.mark.parametrize("head", [False, True], ids=["before a token", "in the middle"])
@pytest.mark.parametrize("mode", ERAS)
async def test_a_call_that_is_cancelled_stops_its_answer(
    served: Served, fake: FakeOllama, mode: str, head: bool
) -> None:
    gates = [Gate()]
    first = gates[0]
    fake.on("/api/chat", begins_and_waits(gates, head=head))
    async with Client(f"{served.url}/mcp", mode=mode) as client:
        async with anyio.create_task_group() as running:
            running.start_soon(client.call_tool, "chat_completion", {"prompt": "Go on for ever"})
            await anyio.to_thread.run_sync(first.wait_sync)
            async with anyio.create_task_group() as queued:
                queued.start_soon(client.call_tool, "chat_completion", {"prompt": "This one waits in the queue"})
                await client.call_tool("job", {"action": "list"})
                queued.cancel_scope.cancel()
            # By the answer to this the one that waits has been given up: it cannot come to its turn.
            await client.call_tool("job", {"action": "list"})
            running.cancel_scope.cancel()
        await anyio.to_thread.run_sync(fake.wait_disconnected_sync, 1, WITHIN)
        fake.on("/api/chat", Exchange.default)
        assert text_of(await client.call_tool("chat_completion", {"prompt": "Hi"})) == "You said: Hi"
    assert len(fake.sent("/api/chat")) == 2


def asked_over_mcp(served: Served, number: int) -> socket.socket:
    """A connection on which a tool has been called in the way of 2026, without a session."""
    body = call(number, "Go on for ever")
    body["params"]["_meta"] = META
    headers = {
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": "chat_completion",
    }
    return asked(served.url, body, "/mcp", **headers)


@pytest.mark.parametrize("half", [False, True], ids=["closed", "half closed"])
def test_a_client_of_2026_that_is_gone_needs_no_cancel(served: Served, fake: FakeOllama, half: bool) -> None:
    gates = [Gate()]
    first = gates[0]
    fake.on("/api/chat", begins_and_waits(gates, head=True))
    with asked_over_mcp(served, 1) as running:
        first.wait_sync()
        with asked_over_mcp(served, 2) as queued:
            queued.shutdown(socket.SHUT_WR if half else socket.SHUT_RDWR)
        running.shutdown(socket.SHUT_WR if half else socket.SHUT_RDWR)
        fake.wait_disconnected_sync(within=WITHIN)
    fake.on("/api/chat", Exchange.default)
    assert ask(served) == "You said: Hi"
    assert len(fake.sent("/api/chat")) == 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
@pytest.mark.parametrize("head", [False, True], ids=["before a token", "in the middle"])
def test_a_signal_ends_the_command_line_and_its_answer(
    forks: Parent, fake: FakeOllama, head: bool, number: signal.Signals, code: int
) -> None:
    gates = [Gate()]
    first = gates[0]
    fake.on("/api/chat", begins_and_waits(gates, head=head))
    with forks.running("chat", "Hi", "--ollama-host", fake.url) as process:
        process.stdin.close()
        first.wait_sync()
        process.send_signal(number)
        assert process.wait(WITHIN) == code
        assert b"Traceback" not in process.stderr.read()
    fake.wait_disconnected_sync(within=WITHIN)


def call(number: int, prompt: str) -> dict[str, Any]:
    params = {"name": "chat_completion", "arguments": {"prompt": prompt}}
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}


def cancel(number: int) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": number}}


def test_over_stdio_a_cancelled_call_is_not_answered_and_an_unknown_cancel_is_passed_over(
    forks: Parent, fake: FakeOllama
) -> None:
    gates = [Gate()]
    first = gates[0]
    fake.on("/api/chat", begins_and_waits(gates, head=True))
    with forks.running("stdio", "--ollama-host", fake.url) as process:
        out = io.BufferedReader(process.stdout)
        process.stdin.write(lines(*HELLO, call(5, "Go on")).encode())
        first.wait_sync()
        ping = {"jsonrpc": "2.0", "id": 6, "method": "ping"}
        process.stdin.write(lines(cancel(5), cancel(5), cancel(99), ping).encode())
        fake.wait_disconnected_sync(within=WITHIN)
        process.stdin.close()
        answers = [json.loads(text) for text in out]
        assert process.wait() == 0
    assert [answer["id"] for answer in answers] == [1, 6]


def test_over_stdio_two_calls_with_one_id_are_both_answered(forks: Parent, fake: FakeOllama) -> None:
    gate = Gate()
    fake.chat_script = [stream(gate, line("one"), last()), stream(gate, line("two"), last())]
    with forks.running("stdio", "--ollama-host", fake.url) as process:
        out = io.BufferedReader(process.stdout)
        process.stdin.write(lines(*HELLO, call(5, "one"), call(5, "two")).encode())
        fake.wait_request_sync("/api/chat", 1)
        gate.open()
        answers = [json.loads(out.readline()) for _ in range(3)]
        process.stdin.close()
        assert process.wait() == 0
    assert [answer["id"] for answer in answers] == [1, 5, 5]


def test_over_http_a_second_call_with_an_id_that_is_under_way_is_refused_and_the_first_goes_on(
    forks: Parent, fake: FakeOllama
) -> None:
    gate = Gate()
    fake.on("/api/chat", stream(gate, line("Hello."), last()))
    with forks.http_server("--ollama-host", fake.url) as served, session(served.url) as client:
        with client.call("chat_completion", {"prompt": "one"}, 5) as one:
            fake.wait_request_sync("/api/chat")
            two = client.http.post("/mcp", json=call(5, "two"))
            gate.open()
            heard = [data for _, data in events(one)]
        assert two.status_code == 400
        assert "an id of its own" in two.json()["error"]["message"]
        assert "Hello." in json.dumps(heard[-1]["result"])
        with client.call("chat_completion", {"prompt": "three"}, 5) as three:
            assert list(events(three))[-1][1]["id"] == 5
        assert "Traceback" not in served.end()


def test_a_burst_is_answered_or_refused_and_nothing_else(forks: Parent, fake: FakeOllama) -> None:
    limits = {
        "OLLAMA_MCP_MAX_CONCURRENCY": "4",
        "OLLAMA_MCP_MAX_QUEUE": "8",
        "OLLAMA_MCP_QUEUE_TIMEOUT": "0.3",
    }
    gates = [Gate() for _ in range(200)]
    fourth = gates[3]
    fake.on("/api/chat", begins_and_waits(gates, head=True))
    with forks.http_server("--ollama-host", fake.url, **limits) as served:

        async def burst() -> list[httpx.Response]:
            found: list[httpx.Response] = []

            async def one() -> None:
                found.append(await http.post(PATH, json=CHAT))

            async with httpx.AsyncClient(base_url=served.url, timeout=10) as http, anyio.create_task_group() as tasks:
                for _ in range(100):
                    tasks.start_soon(one)
                with anyio.fail_after(10):
                    while len(found) < 96:
                        await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
            return found

        found = anyio.run(burst)
        fourth.wait_sync()
        fake.wait_disconnected_sync(4, within=WITHIN)
        fake.on("/api/chat", Exchange.default)
        assert ask(served) == "You said: Hi"
    statuses = [answer.status_code for answer in found]
    assert (statuses.count(429), statuses.count(503)) == (88, 8)
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in found)
