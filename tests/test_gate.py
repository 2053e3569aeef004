"""The engine gets so many requests at once, so many more wait their turn, and every place is given back."""

import asyncio
import contextlib
import signal
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest

from ollama_mcp.chat import ChatRequest, Message, fold
from ollama_mcp.errors import (
    EngineBusy,
    EngineFailed,
    EngineTimeout,
    GenerationBroken,
    MalformedAnswer,
    QueueFull,
    ServiceError,
)
from ollama_mcp.service import Service

from .fake_ollama import CLOSE, FakeOllama, Gate, failure, hang, last, line, says, stream
from .harness import WARM, client_over, service_over, text_of
from .processes import http_server

pytestmark = pytest.mark.anyio


def request(text: str = "Hi") -> ChatRequest:
    return ChatRequest(model="llama3.2", messages=[Message(role="user", content=text)])


async def ask(service: Service, text: str = "Hi") -> str:
    async with aclosing(service.chat(request(text))) as events:
        return (await fold(events)).content


@asynccontextmanager
async def busy(**settings: Any) -> AsyncIterator[tuple[FakeOllama, Service, Gate]]:
    """A service whose one place is taken by an answer that waits for the gate."""
    gate = Gate()
    async with (
        FakeOllama(loaded=dict(WARM)) as fake,
        service_over(fake, **{"max_concurrency": 1, **settings}) as service,
    ):
        fake.chat_script = [stream(line("first"), gate, last())]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, service)
            await fake.wait_request("/api/chat", 1)
            yield fake, service, gate
            gate.open()


async def until(condition: Any) -> None:
    with anyio.fail_after(5):
        while not condition():
            await anyio.lowlevel.checkpoint()


async def test_who_came_first_is_served_first() -> None:
    served: list[str] = []

    async with busy() as (fake, service, gate), anyio.create_task_group() as tasks:
        fake.chat_script = [says(str(number)) for number in range(5)]

        async def wait_for(name: str) -> None:
            await ask(service, name)
            served.append(name)

        for number in range(5):
            tasks.start_soon(wait_for, f"question {number}")
            await until(lambda number=number: service.gate.waiting == number + 1)
        assert len(fake.sent("/api/chat")) == 1
        gate.open()
    assert served == [f"question {number}" for number in range(5)]
    assert [sent["messages"][0]["content"] for sent in fake.sent("/api/chat")] == ["Hi", *served]
    assert (service.gate.running, service.gate.waiting) == (0, 0)


async def test_with_the_queue_full_the_next_is_refused_at_once() -> None:
    async with busy(max_queue=1) as (_, service, _gate), anyio.create_task_group() as tasks:
        tasks.start_soon(ask, service)
        await until(lambda: service.gate.waiting == 1)
        with pytest.raises(QueueFull, match="1 requests are under way and 1 wait") as caught:
            await ask(service)
        with pytest.raises(QueueFull):
            await service.embed(["text"], model="nomic-embed-text")
        assert caught.value.retryable
        assert caught.value.retry_after > 0
        tasks.cancel_scope.cancel()


async def test_who_waited_long_enough_is_told_so_and_waits_no_more() -> None:
    async with busy(queue_timeout=0.05) as (_, service, _gate):
        with pytest.raises(EngineBusy, match=r"for 0\.05 s none of them ended") as caught:
            await ask(service)
        assert not isinstance(caught.value, QueueFull)
        assert service.gate.waiting == 0


async def test_who_leaves_the_queue_frees_its_place_there() -> None:
    async with busy(max_queue=1) as (fake, service, gate):
        for _ in range(3):
            with anyio.move_on_after(0.02) as left:
                await ask(service)
            assert left.cancelled_caught
            assert service.gate.waiting == 0
        fake.chat_script = [says("after")]
        gate.open()
        assert await ask(service) == "after"


async def test_a_place_given_to_one_that_leaves_at_that_moment_is_not_lost() -> None:
    async with busy() as (fake, service, gate):
        waiter = asyncio.create_task(ask(service))
        await until(lambda: service.gate.waiting == 1)
        gate.open()
        await until(lambda: service.gate.waiting == 0)
        waiter.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiter
        fake.chat_script = [says("after")]
        assert await ask(service) == "after"
        assert service.gate.running == 0


@pytest.mark.parametrize(
    ("responder", "error"),
    [
        (failure(500, "llama runner process has terminated"), EngineFailed),
        (failure(503, "server busy, please try again"), EngineBusy),
        (stream(line("par"), CLOSE), GenerationBroken),
        (stream(b"nonsense\n"), MalformedAnswer),
        (hang, EngineTimeout),
    ],
)
async def test_a_failure_gives_the_place_back(responder: Any, error: type[ServiceError]) -> None:
    async with (
        FakeOllama(loaded=dict(WARM)) as fake,
        service_over(fake, max_concurrency=1, max_queue=0, first_token_timeout=0.2) as service,
    ):
        for _ in range(2):
            fake.chat_script = [responder] * 2
            with pytest.raises(ServiceError) as caught:
                await ask(service)
            assert isinstance(caught.value, error)
            assert service.gate.running == 0
        fake.chat_script = []
        assert await ask(service)


async def test_so_does_an_answer_that_is_not_read_to_its_end() -> None:
    async with FakeOllama(loaded=dict(WARM)) as fake, service_over(fake, max_concurrency=1, max_queue=0) as service:
        for _ in range(3):
            fake.chat_script = [stream(line("first"), Gate(), last())]
            async with aclosing(service.chat(request())) as events:
                await anext(events)
                assert service.gate.running == 1
            assert service.gate.running == 0


async def test_so_do_an_unknown_model_and_vectors() -> None:
    async with FakeOllama(loaded=dict(WARM)) as fake, service_over(fake, max_concurrency=1, max_queue=0) as service:
        with pytest.raises(ServiceError):
            await fold(service.chat(request().model_copy(update={"model": "no-such-model"})))
        assert len((await service.embed(["text"], model="nomic-embed-text")).embeddings) == 1
        assert service.gate.running == 0


async def test_over_mcp_a_full_queue_is_an_error_to_try_again() -> None:
    gate = Gate()
    async with FakeOllama(loaded=dict(WARM)) as fake, client_over(fake, max_concurrency=1, max_queue=0) as client:
        fake.chat_script = [stream(line("first"), gate, last())]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.call_tool, "chat_completion", {"prompt": "Hi"})
            await fake.wait_request("/api/chat", 1)
            refused = await client.call_tool("chat_completion", {"prompt": "Hi"})
            gate.open()
    assert refused.is_error
    assert refused.meta is not None
    assert refused.meta["ollama-mcp/error"] == {"type": "QueueFull", "retryable": True}
    assert "full" in text_of(refused)


def test_over_http_a_full_queue_is_429_and_a_wait_in_vain_503() -> None:
    settings = {
        "OLLAMA_MCP_MAX_CONCURRENCY": "1",
        "OLLAMA_MCP_MAX_QUEUE": "1",
        "OLLAMA_MCP_QUEUE_TIMEOUT": "0.5",
    }
    body = {"model": "llama3.2", "messages": [{"role": "user", "content": "?"}]}
    with (
        FakeOllama.in_thread(loaded=dict(WARM)) as fake,
        http_server("--ollama-host", fake.url, env=settings) as (url, _),
        ThreadPoolExecutor(4) as pool,
    ):
        fake.chat_script = [stream(line("first"), Gate(), last())]
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=body | {"stream": True}):
            fake.wait_request_sync("/api/chat", 1)
            answers = list(
                pool.map(
                    lambda streams: httpx.post(f"{url}/v1/chat/completions", json=body | {"stream": streams}),
                    [False, True, False, True],
                )
            )
    assert sorted(answer.status_code for answer in answers) == [429, 429, 429, 503]
    for answer in answers:
        assert int(answer.headers["retry-after"]) > 0
        full = answer.status_code == 429
        assert answer.json()["error"]["code"] == ("queue_full" if full else "engine_busy")
        assert answer.json()["error"]["type"] == ("rate_limit_error" if full else "server_error")


def test_a_burst_is_served_in_the_end_and_none_of_it_at_once() -> None:
    body = {"model": "llama3.2", "messages": [{"role": "user", "content": "?"}]}
    most, now, lock = 0, 0, threading.Lock()
    with (
        FakeOllama.in_thread(loaded=dict(WARM)) as fake,
        http_server("--ollama-host", fake.url, env={"OLLAMA_MCP_MAX_CONCURRENCY": "4"}) as (url, process),
        ThreadPoolExecutor(40) as pool,
    ):

        async def counted(exchange: Any) -> None:
            nonlocal most, now
            with lock:
                now += 1
                most = max(most, now)
            await asyncio.sleep(0.01)
            with lock:
                now -= 1
            await exchange.default()

        fake.on("/api/chat", counted)
        answers = list(pool.map(lambda _: httpx.post(f"{url}/v1/chat/completions", json=body, timeout=30), range(40)))
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) is not None
    assert {answer.status_code for answer in answers} == {200}
    assert most <= 4
