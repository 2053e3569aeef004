"""`load_model` and `unload_model` through a real MCP client, over a fake Ollama."""

import anyio
import pytest

from tests.fake_ollama import Exchange, FakeOllama, Gate, hang
from tests.harness import ERAS, client_over, text_of, warm_ollama

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("mode", ERAS)]


async def test_a_model_is_loaded_and_unloaded(mode: str) -> None:
    async with FakeOllama() as fake, client_over(fake, mode=mode) as client:
        loaded = await client.call_tool("load_model", {"model": "qwen3:8b", "keep_alive": "30m", "num_ctx": 8192})
        assert fake.loaded == {"qwen3:8b": 8192}
        again = await client.call_tool("load_model", {"model": "qwen3:8b"})
        assert fake.loaded == {"qwen3:8b": 8192}
        unloaded = await client.call_tool("unload_model", {"model": "qwen3:8b"})
        assert fake.loaded == {}
        twice = await client.call_tool("unload_model", {"model": "qwen3:8b"})
        assert fake.loaded == {}
    assert loaded.structured_content["name"] == "qwen3:8b"
    assert loaded.structured_content["context_length"] == 8192
    assert fake.sent("/api/chat")[0]["keep_alive"] == "30m"
    assert not any(result.is_error for result in (loaded, again, unloaded, twice))


async def test_an_embedding_model_is_loaded_and_unloaded_too(mode: str) -> None:
    async with FakeOllama() as fake, client_over(fake, mode=mode) as client:
        loaded = await client.call_tool("load_model", {"model": "nomic-embed-text", "keep_alive": "30m"})
        assert "nomic-embed-text:latest" in fake.loaded
        unloaded = await client.call_tool("unload_model", {"model": "nomic-embed-text"})
        assert fake.loaded == {}
    assert not loaded.is_error, text_of(loaded)
    assert not unloaded.is_error, text_of(unloaded)
    assert fake.sent("/api/embed") == [{"model": "nomic-embed-text", "input": [], "keep_alive": "30m"}]


async def test_a_chat_keeps_the_context_that_its_model_was_loaded_with(mode: str) -> None:
    async with FakeOllama() as fake, client_over(fake, mode=mode) as client:
        await client.call_tool("load_model", {"model": "llama3.2", "num_ctx": 2048})
        await client.call_tool("chat_completion", {"model": "llama3.2", "prompt": "Hi"})
    assert fake.sent("/api/chat")[-1]["options"]["num_ctx"] == 2048


async def test_a_chat_after_an_unload_loads_the_model_again_first(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        await client.call_tool("chat_completion", {"model": "llama3.2", "prompt": "Hi"})
        await client.call_tool("unload_model", {"model": "llama3.2"})
        await client.call_tool("chat_completion", {"model": "llama3.2", "prompt": "Hi"})
    kinds = ["chat" if body["messages"] else "empty" for body in fake.sent("/api/chat")]
    assert kinds == ["chat", "empty", "empty", "chat"]


async def test_a_load_longer_than_the_client_waits_goes_on(mode: str) -> None:
    gate = Gate()

    async def slowly(exchange: Exchange) -> None:
        await gate.wait()
        await exchange.default()

    async with FakeOllama() as fake, client_over(fake, mode=mode, soft_deadline=0.1) as client:
        fake.on("/api/chat", slowly)
        result = await client.call_tool("load_model", {"model": "llama3.2"})
        gate.open()
        with anyio.fail_after(5):
            again = await client.call_tool("load_model", {"model": "llama3.2"})
    assert result.is_error
    assert "it goes on loading" in text_of(result)
    assert not again.is_error
    assert fake.disconnects == 0


async def test_progress_is_told_while_a_model_loads(mode: str) -> None:
    enough = anyio.Event()
    told: list[str] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        told.append(message or "")
        if len(told) == 2:
            enough.set()

    async with FakeOllama() as fake, client_over(fake, mode=mode, heartbeat=0.02) as client:
        fake.on("/api/chat", hang)

        async def call() -> None:
            await client.call_tool("load_model", {"model": "llama3.2"}, progress_callback=on_progress)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await enough.wait()
            tasks.cancel_scope.cancel()
    assert told[0].startswith("llama3.2 is under way (")


async def test_observers_hear_of_both(mode: str) -> None:
    heard: list[str] = []
    async with FakeOllama() as fake, client_over(fake, mode=mode, observer=heard.append) as client:
        await client.call_tool("load_model", {"model": "llama3.2"})
        await client.call_tool("unload_model", {"model": "llama3.2"})
    assert heard == ["loaded", "loaded"]


async def test_a_missing_model_and_a_bad_duration_are_errors(mode: str) -> None:
    async with FakeOllama() as fake, client_over(fake, mode=mode) as client:
        for tool in ("load_model", "unload_model"):
            result = await client.call_tool(tool, {"model": "lama3.2"})
            assert "Did you mean llama3.2" in text_of(result)
        result = await client.call_tool("load_model", {"model": "llama3.2", "keep_alive": "a while"})
    assert "keep_alive must be seconds" in text_of(result)


async def test_they_say_that_they_change_something_but_destroy_nothing(mode: str) -> None:
    async with FakeOllama() as fake, client_over(fake, mode=mode) as client:
        tools = {tool.name: tool.annotations for tool in (await client.list_tools()).tools}
    for name in ("load_model", "unload_model"):
        assert (tools[name].read_only_hint, tools[name].destructive_hint, tools[name].idempotent_hint) == (
            False,
            False,
            True,
        )
