"""Sessions of the handshake era over HTTP: how many, how long, how a broken stream is taken up, how they end."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import httpx
import pytest
from mcp import Client
from mcp.server.streamable_http import EventMessage
from mcp.types import JSONRPCNotification

from ollama_mcp.sessions import MAX_STREAM_EVENTS, EventBudget, SessionEvents

from .fake_ollama import FakeOllama, Gate, last, line, stream
from .harness import WARM
from .processes import http_server

ACCEPT = {"Accept": "application/json, text/event-stream"}
HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}


class Session:
    """A client of the handshake era that sees each event."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, headers=ACCEPT, timeout=10)

    def open(self) -> httpx.Response:
        answer = self.http.post("/mcp", json=message("initialize", HELLO, 1))
        if answer.status_code == 200:
            self.http.headers["Mcp-Session-Id"] = answer.headers["Mcp-Session-Id"]
            self.http.headers["MCP-Protocol-Version"] = "2025-11-25"
            self.http.post("/mcp", json=message("notifications/initialized"))
        return answer

    def call(self, tool: str, arguments: dict[str, Any], number: int) -> Any:
        params = {"name": tool, "arguments": arguments, "_meta": {"progressToken": number}}
        return self.http.stream("POST", "/mcp", json=message("tools/call", params, number))

    def resume(self, last_event: str) -> Any:
        return self.http.stream("GET", "/mcp", headers={"Last-Event-ID": last_event})


def message(method: str, params: Any = None, number: int | None = None) -> dict[str, Any]:
    parts = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    return {name: part for name, part in parts.items() if part is not None}


def events(answer: httpx.Response) -> Iterator[tuple[str, Any]]:
    """Each event's id and its JSON, None where it has none."""
    name = ""
    for text in answer.iter_lines():
        if text.startswith("id:"):
            name = text[3:].strip()
        elif text.startswith("data:"):
            data = text[5:].strip()
            yield name, json.loads(data) if data else None


@contextmanager
def session(url: str) -> Iterator[Session]:
    client = Session(url)
    with client.http:
        assert client.open().status_code == 200
        yield client


def test_a_broken_stream_is_taken_up_where_it_broke() -> None:
    gate = Gate()
    with FakeOllama.in_thread(loaded=dict(WARM)) as fake, http_server("--ollama-host", fake.url) as (url, _):
        fake.chat_script = [stream(line("Hello "), gate, line("world."), last())]
        with session(url) as client:
            with client.call("chat_completion", {"prompt": "Hi"}, 2) as answer:
                heard = [
                    next(
                        event
                        for event in events(answer)
                        if event[1] and event[1]["method"] == "notifications/progress"
                    )
                ]
            gate.open()
            while not heard[-1][1].get("result"):
                # Until the server has seen that the first stream is gone, it gives what there is and ends.
                with client.resume(heard[-1][0]) as answer:
                    for event in events(answer):
                        heard.append(event)
                        if event[1].get("id") == 2:
                            break
    data = heard[-1][1]
    said = "".join(data["params"]["message"] for _, data in heard if "params" in data)
    assert said == "Hello world."
    assert data["result"]["structuredContent"]["content"] == "Hello world."


def test_what_one_client_missed_is_not_given_to_another() -> None:
    with FakeOllama.in_thread(loaded=dict(WARM)) as fake, http_server("--ollama-host", fake.url) as (url, _):
        fake.chat_script = [stream(line("A secret."), last()), stream(line("Nothing much."), last())]
        with session(url) as one, session(url) as other:
            with one.call("chat_completion", {"prompt": "Hi"}, 2) as answer:
                heard = list(events(answer))
            with other.call("chat_completion", {"prompt": "Hi"}, 2) as answer:
                heard_by_other = list(events(answer))
            first, final = heard_by_other[0][0], heard_by_other[-1][1]
            with other.resume(first) as answer:
                for _, data in events(answer):
                    assert "secret" not in json.dumps(data)
                    if data == final:
                        break
            with one.resume("999999") as answer:
                assert list(events(answer)) == []
    assert "secret" in json.dumps(heard)


def test_beyond_the_limit_no_session_is_opened_until_one_ends() -> None:
    environment = {"OLLAMA_MCP_MAX_SESSIONS": "1"}
    with http_server(env=environment) as (url, _), session(url) as first:
        second = Session(url)
        with second.http:
            assert second.open().status_code == 503
            assert first.http.delete("/mcp").status_code == 200
            assert second.open().status_code == 200
            assert first.http.post("/mcp", json=message("ping", number=5)).status_code == 404


def test_an_idle_session_makes_room() -> None:
    environment = {"OLLAMA_MCP_MAX_SESSIONS": "1", "OLLAMA_MCP_SESSION_IDLE_TIMEOUT": "0.2"}
    with http_server(env=environment) as (url, _), session(url) as first:
        second = Session(url)
        deadline = time.monotonic() + 10
        with second.http:
            while (status := second.open().status_code) != 200 and time.monotonic() < deadline:
                assert status == 503
            assert status == 200
        assert first.http.post("/mcp", json=message("ping", number=5)).status_code == 404


@pytest.mark.anyio
async def test_an_open_listen_stream_is_ended_well_and_holds_up_nothing() -> None:
    with http_server() as (url, process):
        async with (
            Client(f"{url}/mcp", mode="2026-07-28") as client,
            client.listen(resources_list_changed=True) as sub,
        ):
            started = time.monotonic()
            process.send_signal(signal.SIGTERM)
            with anyio.fail_after(4):
                assert [event async for event in sub] == []
            await anyio.to_thread.run_sync(process.wait, 4)
            assert time.monotonic() - started < 2.5
        assert "rror" not in process.stderr.read()


def test_an_open_stream_of_a_session_holds_up_nothing() -> None:
    with http_server() as (url, process), session(url) as client, client.http.stream("GET", "/mcp") as answer:
        assert answer.status_code == 200
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert list(events(answer)) == []
        process.wait(4)
        assert time.monotonic() - started < 2.5
        assert "rror" not in process.stderr.read()


def test_a_call_under_way_is_given_three_seconds() -> None:
    with FakeOllama.in_thread(loaded=dict(WARM)) as fake, http_server("--ollama-host", fake.url) as (url, process):
        fake.chat_script = [stream(line("never"), Gate(), last())]
        with session(url) as client, client.call("chat_completion", {"prompt": "Hi"}, 2) as answer:
            heard = events(answer)
            next(heard)
            fake.wait_request_sync("/api/chat")
            started = time.monotonic()
            process.send_signal(signal.SIGTERM)
            process.wait(10)
            assert 2 < time.monotonic() - started < 4
        fake.wait_disconnected_sync(within=1)


def event(text: str) -> JSONRPCNotification:
    return JSONRPCNotification(jsonrpc="2.0", method="test", params={"text": text})


async def replayed(store: SessionEvents, after: str) -> tuple[str | None, list[str]]:
    texts: list[str] = []

    async def take(sent: EventMessage) -> None:
        texts.append(sent.message.params["text"])

    return await store.replay_events_after(after, take), texts


@pytest.mark.anyio
async def test_of_a_long_stream_the_newest_events_are_kept() -> None:
    budget = EventBudget()
    store = SessionEvents(budget)
    ids = [await store.store_event("1", event(str(number))) for number in range(MAX_STREAM_EVENTS + 10)]
    assert budget.events == MAX_STREAM_EVENTS
    assert await replayed(store, ids[0]) == (None, [])
    assert await replayed(store, ids[-3]) == ("1", [str(MAX_STREAM_EVENTS + 8), str(MAX_STREAM_EVENTS + 9)])


@pytest.mark.anyio
async def test_all_sessions_together_keep_so_many_bytes_and_forget_the_quietest_stream() -> None:
    budget = EventBudget(max_bytes=100_000)
    one, other = SessionEvents(budget), SessionEvents(budget)
    quiet = await one.store_event("1", event("x" * 40_000))
    busy = await other.store_event("1", event("y" * 40_000))
    assert (await replayed(one, quiet))[0] == "1"
    await other.store_event("1", event("y" * 40_000))
    assert await replayed(one, quiet) == (None, [])
    assert (await replayed(other, busy))[0] == "1"
    assert 0 < budget.bytes <= 100_000
    other.close()
    assert (budget.events, budget.bytes) == (0, 0)


@pytest.mark.anyio
async def test_an_event_larger_than_everything_is_not_kept() -> None:
    budget = EventBudget(max_bytes=1000)
    store = SessionEvents(budget)
    assert await replayed(store, await store.store_event("1", event("x" * 5000))) == (None, [])
    assert (budget.events, budget.bytes) == (0, 0)
