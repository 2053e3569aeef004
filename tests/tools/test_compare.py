"""`compare_models` through a real MCP client, over a fake Ollama."""

from pathlib import Path

import anyio
import pytest
from jsonschema import validate

from tests.fake_ollama import Exchange, Gate, last, line, says, stream
from tests.harness import ERAS, client_over, text_of, warm_ollama

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("mode", ERAS)]

MODELS = ["llama3.2", "qwen3:8b", "llava:7b"]


async def test_each_answer_comes_with_its_times_in_the_order_of_the_models(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        fake.chat_script = [says("one"), says("two words"), says("three")]
        result = await client.call_tool(
            "compare_models",
            {"prompt": "How many?", "models": MODELS, "system": "Count.", "max_tokens": 5, "seed": 1},
        )
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert not result.is_error
    validate(result.structured_content, tools["compare_models"].output_schema)
    results = result.structured_content["results"]
    assert [answer["content"] for answer in results] == ["one", "two words", "three"]
    assert results[0]["model"] == "llama3.2:latest"
    assert results[1]["usage"]["completion_tokens"] == 2
    assert results[1]["timings"]["tokens_per_second"] == pytest.approx(8)
    assert all(answer["seconds"] >= 0 for answer in results)
    sent = fake.sent("/api/chat")
    assert [body["model"] for body in sent] == ["llama3.2", "qwen3:8b", "llava:7b"]
    for body in sent:
        assert [message["content"] for message in body["messages"]] == ["Count.", "How many?"]
        assert (body["options"]["num_predict"], body["options"]["seed"]) == (5, 1)


async def test_a_model_that_fails_loses_no_other(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        result = await client.call_tool(
            "compare_models", {"prompt": "Hi", "models": ["lama3.2", "nomic-embed-text", "llama3.2"]}
        )
    missing, unable, good = result.structured_content["results"]
    assert not result.is_error
    assert "Did you mean llama3.2" in missing["error"]
    assert "does not support chat" in unable["error"]
    assert good["content"] == "You said: Hi"


async def test_when_no_model_answers_the_call_fails(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        result = await client.call_tool("compare_models", {"prompt": "Hi", "models": ["a", "b"]})
    assert result.is_error
    assert "'a' is not installed" in text_of(result)
    assert "'b' is not installed" in text_of(result)


async def test_models_are_asked_one_after_the_other_and_progress_tells_of_each(mode: str) -> None:
    told: list[tuple[float, float | None, str]] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message or ""))

    running = most = 0

    async def respond(exchange: Exchange) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await exchange.default()
        running -= 1

    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        fake.on("/api/chat", respond)
        await client.call_tool(
            "compare_models", {"prompt": "Hi", "models": ["llama3.2", "no-such"]}, progress_callback=on_progress
        )
    assert most == 1
    assert [(progress, total) for progress, total, _ in told] == [(1, 2), (2, 2)]
    assert told[0][2].startswith("llama3.2 answered after ")
    assert told[1][2].startswith("no-such failed after ")


async def test_models_are_asked_side_by_side_when_asked_for(mode: str) -> None:
    gate = Gate()
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        fake.chat_script = [stream(line("a"), gate, last()) for _ in MODELS]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.call_tool, "compare_models", {"prompt": "Hi", "models": MODELS, "concurrency": 3})
            await fake.wait_request("/api/chat", 3)
            gate.open()


async def test_past_the_soft_deadline_the_answers_there_are_come_back(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode, soft_deadline=0.5) as client:
        fake.chat_script = [says("one"), stream(line("never"), Gate(), last())]
        result = await client.call_tool("compare_models", {"prompt": "Hi", "models": MODELS})
        await fake.wait_disconnected()
    first, second, third = result.structured_content["results"]
    assert first["content"] == "one"
    assert second["error"].startswith("Not done: ")
    assert third["error"].startswith("Not done: ")


async def test_every_model_reads_the_files(mode: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the text")
    async with warm_ollama() as fake, client_over(fake, mode=mode, allow_dirs=(tmp_path,)) as client:
        await client.call_tool("compare_models", {"prompt": "Sum up.", "models": MODELS[:2], "files": ["a.txt"]})
        refused = await client.call_tool("compare_models", {"prompt": "x", "models": MODELS, "files": ["../b"]})
    contents = [body["messages"][0]["content"] for body in fake.sent("/api/chat")]
    assert contents == ["Sum up.\n\nFile a.txt:\n```txt\nthe text\n```"] * 2
    assert refused.is_error


async def test_one_model_is_nothing_to_compare(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        result = await client.call_tool("compare_models", {"prompt": "Hi", "models": ["llama3.2"]})
    assert "models" in text_of(result)
    assert result.is_error
