"""`batch` through a real MCP client, over a fake Ollama."""

from pathlib import Path

import anyio
import pytest
from jsonschema import validate

from tests.fake_ollama import Exchange, FakeOllama, Gate, Responder, failure, last, line, says, stream
from tests.harness import ERAS, client_over, text_of, warm_ollama

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("mode", ERAS)]


def asked(exchange: Exchange) -> str:
    return exchange.request.body["messages"][-1]["content"]


def answering(fake: FakeOllama, *, failing: str = "no input has this") -> list[str]:
    """Have every chat answer with the last word it was asked, or fail; what was asked, as it comes."""
    seen: list[str] = []

    async def respond(exchange: Exchange) -> None:
        if not exchange.request.body["messages"]:
            return await exchange.default()
        seen.append(asked(exchange))
        word = asked(exchange).split()[-1]
        responder: Responder = failure(500, "the runner broke") if word == failing else says(word.upper())
        return await responder(exchange)

    fake.on("/api/chat", respond)
    return seen


async def test_one_instruction_goes_over_many_inputs_and_keeps_their_order(mode: str) -> None:
    words = [f"word{number}" for number in range(12)]
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        seen = answering(fake)
        result = await client.call_tool(
            "batch", {"instruction": "Shout it.", "inputs": words, "model": "llama3.2", "concurrency": 4}
        )
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert not result.is_error
    answer = result.structured_content
    validate(answer, tools["batch"].output_schema)
    assert [(item["index"], item["content"]) for item in answer["items"]] == [
        (index, word.upper()) for index, word in enumerate(words)
    ]
    assert (answer["done"], answer["failed"], answer["total"]) == (12, 0, 12)
    assert answer["usage"]["prompt_tokens"] == 12 * 11
    assert sorted(seen) == sorted(f"Shout it.\n\n{word}" for word in words)


async def test_one_failure_loses_no_other_answer(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        answering(fake, failing="bad")
        result = await client.call_tool(
            "batch", {"instruction": "Shout it.", "inputs": ["a", "bad", "c"], "model": "llama3.2"}
        )
    assert not result.is_error
    first, second, third = result.structured_content["items"]
    assert (first["content"], third["content"]) == ("A", "C")
    assert "the runner broke" in second["error"]
    assert "content" not in second
    assert (result.structured_content["done"], result.structured_content["failed"]) == (2, 1)


async def test_when_every_input_fails_the_call_does(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        answering(fake, failing="bad")
        result = await client.call_tool(
            "batch", {"instruction": "Shout.", "inputs": ["bad"] * 3, "model": "llama3.2"}
        )
    assert result.is_error
    assert result.structured_content["failed"] == 3


async def test_files_are_inputs_each_by_itself(mode: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("first")
    (tmp_path / "c.txt").write_text("third")
    async with warm_ollama() as fake, client_over(fake, mode=mode, allow_dirs=(tmp_path,)) as client:
        result = await client.call_tool(
            "batch", {"instruction": "Sum up.", "files": ["a.txt", "b.txt", "c.txt"], "model": "llama3.2"}
        )
    sent = [body["messages"][0]["content"] for body in fake.sent("/api/chat")]
    assert sorted(sent) == [
        "Sum up.\n\nFile a.txt:\n```txt\nfirst\n```",
        "Sum up.\n\nFile c.txt:\n```txt\nthird\n```",
    ]
    first, missing, third = result.structured_content["items"]
    assert (first["file"], third["file"]) == ("a.txt", "c.txt")
    assert "first" in first["content"]
    assert "is not there" in missing["error"]


async def test_no_more_run_at_once_than_were_asked_for_and_progress_counts_them(mode: str) -> None:
    running = most = 0
    gates = [Gate() for _ in range(5)]
    told: list[tuple[float, float | None, str | None]] = []

    async def respond(exchange: Exchange) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await gates[int(asked(exchange)[-1])].wait()
        running -= 1
        await says("done")(exchange)

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        fake.on("/api/chat", respond)
        arguments = {"instruction": "Count.", "inputs": list("01234"), "model": "llama3.2", "concurrency": 2}

        async def call() -> None:
            await client.call_tool("batch", arguments, progress_callback=on_progress)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            for number, gate in enumerate(gates):
                await fake.wait_request("/api/chat", min(number + 2, 5))
                gate.open()
    assert most == 2
    assert [message for _, _, message in told] == [f"{number}/5 done" for number in range(1, 6)]
    assert [progress for progress, _, _ in told] == [1, 2, 3, 4, 5]
    assert {total for _, total, _ in told} == {5}


async def test_progress_goes_on_while_a_long_item_runs(mode: str) -> None:
    gate = Gate()
    told: list[float] = []
    enough = anyio.Event()

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        told.append(progress)
        if len(told) == 4:
            enough.set()

    async with warm_ollama() as fake, client_over(fake, mode=mode, heartbeat=0.02) as client:
        fake.chat_script = [says("one"), stream(line("two"), gate, last())]
        arguments = {"instruction": "Count.", "inputs": ["1", "2"], "model": "llama3.2", "concurrency": 1}

        async def call() -> None:
            await client.call_tool("batch", arguments, progress_callback=on_progress)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await enough.wait()
            gate.open()
    assert told == sorted(set(told))
    assert told[-1] == 2


async def test_past_the_soft_deadline_what_is_done_is_returned_with_how_to_go_on(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode, soft_deadline=0.5) as client:
        fake.chat_script = [says("one"), says("two"), stream(line("never"), Gate(), last())]
        result = await client.call_tool(
            "batch", {"instruction": "Count.", "inputs": list("1234"), "model": "llama3.2", "concurrency": 1}
        )
        await fake.wait_disconnected()
    answer = result.structured_content
    assert not result.is_error
    assert [item["content"] for item in answer["items"]] == ["one", "two"]
    assert answer["not_done"] == [2, 3]
    assert "call again with the inputs of not_done" in answer["advice"]


async def test_a_deadline_before_the_first_answer_is_an_error(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode, soft_deadline=0.1) as client:
        fake.chat_script = [stream(line("never"), Gate(), last())]
        result = await client.call_tool("batch", {"instruction": "x", "inputs": ["1"], "model": "llama3.2"})
        await fake.wait_disconnected()
    assert result.is_error
    assert "No input was done within 0.1 s" in text_of(result)


async def test_an_engine_that_is_gone_ends_the_batch_and_keeps_what_was_done(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        fake.chat_script = [says("one"), stream(line("half"), Gate(), last())]
        inputs = [str(number) for number in range(100)]
        results = []

        async def call() -> None:
            arguments = {"instruction": "x", "inputs": inputs, "model": "llama3.2", "concurrency": 1}
            results.append(await client.call_tool("batch", arguments))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await fake.wait_request("/api/chat", 2)
            await fake.stop()
    answer = results[0].structured_content
    assert not results[0].is_error
    assert [item.get("content") for item in answer["items"]] == ["one", None, None]
    assert answer["not_done"] == list(range(3, 100))
    assert fake.url in answer["advice"]


async def test_a_model_that_is_missing_is_one_error_for_all(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        result = await client.call_tool("batch", {"instruction": "x", "inputs": ["1", "2"], "model": "lama3.2"})
    assert result.is_error
    assert "Did you mean llama3.2" in text_of(result)


async def test_cancelling_the_call_stops_every_generation(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        fake.chat_script = [stream(line("never"), Gate(), last()) for _ in range(3)]
        arguments = {"instruction": "x", "inputs": ["1"] * 9, "model": "llama3.2", "concurrency": 3}
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.call_tool, "batch", arguments)
            await fake.wait_request("/api/chat", 3)
            tasks.cancel_scope.cancel()
        await fake.wait_disconnected(3)
        assert len(fake.sent("/api/chat")) == 3


async def test_options_go_with_every_input_and_a_cut_answer_says_so(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        result = await client.call_tool(
            "batch",
            {
                "instruction": "Extract.",
                "inputs": '["one two three"]',
                "model": "llama3.2",
                "max_tokens": 1,
                "temperature": 0,
                "response_format": {"type": "json_object"},
            },
        )
    [sent] = fake.sent("/api/chat")
    assert sent["format"] == "json"
    assert (sent["options"]["num_predict"], sent["options"]["temperature"]) == (1, 0)
    assert "The answer is incomplete" in str(result.structured_content["items"][0]["warnings"])


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"inputs": []},
        {"inputs": ["x"], "files": ["y"]},
        {"inputs": ["x"] * 1001},
        {"inputs": ["x"], "concurrency": 9},
    ],
)
async def test_wrong_arguments_are_told(mode: str, wrong: dict) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        result = await client.call_tool("batch", {"instruction": "x", **wrong})
    assert result.is_error
    assert text_of(result).startswith("Wrong arguments: ")
