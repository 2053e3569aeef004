"""`chat_completion` through a real MCP client, over a fake Ollama."""

import base64
import json

import anyio
import pytest
from jsonschema import validate

from .fake_ollama import CLOSE, Gate, failure, last, line, says, stream
from .harness import ERAS, client_over, text_of, warm_ollama

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("mode", ERAS)]

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n not much of a picture").decode()


async def test_a_prompt_is_answered_with_the_text_itself_and_its_structure(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        fake.chat_script = [says("The sky scatters blue light.", prompt=12)]
        result = await client.call_tool("chat_completion", {"prompt": "Why is the sky blue?", "model": "llama3.2"})
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert result.content[0].text == "The sky scatters blue light."
    assert not result.is_error
    answer = result.structured_content
    validate(answer, tools["chat_completion"].output_schema)
    assert answer["model"] == "llama3.2:latest"
    assert answer["finish_reason"] == "stop"
    assert answer["usage"]["prompt_tokens"] == 12
    assert answer["usage"]["completion_tokens"] == 5
    assert answer["timings"]["load"] == pytest.approx(0.1)
    assert fake.sent("/api/chat")[-1]["messages"] == [{"role": "user", "content": "Why is the sky blue?"}]


async def test_the_arguments_reach_ollama(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        await client.call_tool(
            "chat_completion",
            {
                "model": "llama3.2",
                "system": "Be brief.",
                "messages": [{"role": "user", "content": "Hi"}],
                "temperature": 0,
                "max_tokens": 9,
                "top_p": 0.5,
                "stop": "END",
                "seed": 7,
                "response_format": {"type": "json_object"},
                "keep_alive": "10m",
            },
        )
    sent = fake.sent("/api/chat")[-1]
    assert [message["role"] for message in sent["messages"]] == ["system", "user"]
    options = sent["options"]
    assert options["temperature"] == 0
    assert options["num_predict"] == 9
    assert options["top_p"] == 0.5
    assert options["stop"] == ["END"]
    assert options["seed"] == 7
    assert sent["format"] == "json"
    assert sent["keep_alive"] == "10m"
    assert sent["truncate"] is False
    assert sent["shift"] is False


async def test_tool_calls_keep_their_ids_both_ways(mode: str) -> None:
    tools = [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "parameters": {
                    "type": "object",
                    "properties": {"at": {"anyOf": [{"type": "string"}, {"$ref": "#/x"}]}},
                },
            },
        }
    ]
    call = {"id": "call_7", "function": {"index": 0, "name": "weather", "arguments": {"at": "Köln"}}}
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        fake.chat_script = [stream(line(tool_calls=[call]), last())]
        asked = await client.call_tool(
            "chat_completion", {"model": "llama3.2", "prompt": "Weather in Köln?", "tools": json.dumps(tools)}
        )
        made = asked.structured_content["tool_calls"]
        await client.call_tool(
            "chat_completion",
            {
                "model": "llama3.2",
                "messages": [
                    {"role": "user", "content": "Weather in Köln?"},
                    {"role": "assistant", "content": None, "tool_calls": made},
                    {"role": "tool", "tool_call_id": "call_7", "content": "rain"},
                ],
            },
        )
    assert made == [
        {"id": "call_7", "type": "function", "function": {"name": "weather", "arguments": '{"at":"Köln"}'}}
    ]
    assert asked.structured_content["finish_reason"] == "tool_calls"
    first, second = fake.sent("/api/chat")[-2:]
    assert first["tools"] == tools
    assert second["messages"][1]["tool_calls"][0]["id"] == "call_7"
    assert second["messages"][2]["tool_call_id"] == "call_7"
    assert second["messages"][2]["tool_name"] == "weather"


async def test_images_come_as_data_urls_and_are_never_read_from_paths(mode: str, tmp_path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")

    def asking(url: str) -> dict:
        part = {"type": "image_url", "image_url": {"url": url}}
        return {"model": "llava:7b", "messages": [{"role": "user", "content": [{"type": "text", "text": "?"}, part]}]}

    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        seen = await client.call_tool("chat_completion", asking(f"data:image/png;base64,{PNG}"))
        refused = [
            await client.call_tool("chat_completion", asking(url))
            for url in (str(secret), f"file://{secret}", "https://example.com/cat.png", "data:image/png;base64,%%%")
        ]
    assert not seen.is_error
    assert fake.sent("/api/chat")[-1]["messages"][0]["images"] == [PNG]
    assert all(result.is_error for result in refused)
    assert "data URL" in text_of(refused[0])
    assert len(fake.sent("/api/chat")) == 1


async def test_thinking_and_logprobs_come_apart_from_the_answer(mode: str) -> None:
    token = {"token": "4", "logprob": -0.1, "bytes": [52], "top_logprobs": []}
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        fake.chat_script = [stream(line(thinking="2 and 2 …"), line("4", logprobs=[token]), last(model="qwen3:8b"))]
        result = await client.call_tool(
            "chat_completion",
            {"model": "qwen3:8b", "prompt": "2+2?", "reasoning_effort": "low", "logprobs": True},
        )
    assert text_of(result) == "4"
    assert result.structured_content["reasoning"] == "2 and 2 …"
    assert result.structured_content["logprobs"][0]["token"] == "4"
    assert fake.sent("/api/chat")[-1]["think"] == "low"


async def test_line_separators_in_the_text_survive(mode: str) -> None:
    text = "a\u0085b\u2028c\u2029d"
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        fake.chat_script = [stream(line(text), last())]
        result = await client.call_tool("chat_completion", {"model": "llama3.2", "prompt": "?"})
    assert text_of(result) == text


@pytest.mark.parametrize(
    ("responder", "words"),
    [
        (stream(line("Once upon"), {"error": "llama runner crashed"}), "llama runner crashed"),
        (stream(line("Once upon")), "Once upon"),
        (stream(line("Once upon"), CLOSE), "Once upon"),
    ],
    ids=["error line", "no done", "hung up"],
)
async def test_an_answer_that_breaks_off_is_an_error_that_keeps_the_text(mode: str, responder, words: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        fake.chat_script = [responder]
        result = await client.call_tool("chat_completion", {"model": "llama3.2", "prompt": "?"})
    assert result.is_error
    assert words in text_of(result)
    assert "Once upon" in text_of(result)
    assert result.meta["ollama-mcp/error"]["type"] == "GenerationBroken"


async def test_progress_carries_the_new_text_before_the_result(mode: str) -> None:
    gate = Gate()
    seen: list[tuple[float, str | None]] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, message))
        gate.open()

    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        fake.chat_script = [stream(line("Hello "), gate, line("world"), last())]
        result = await client.call_tool(
            "chat_completion", {"model": "llama3.2", "prompt": "?"}, progress_callback=on_progress
        )
    assert "".join(message or "" for _, message in seen) == "Hello world" == text_of(result)
    numbers = [number for number, _ in seen]
    assert numbers == sorted(set(numbers))


async def test_a_heartbeat_comes_while_the_model_says_nothing(mode: str) -> None:
    gate = Gate()
    seen: list[str | None] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append(message)
        if len(seen) > 2:
            gate.open()

    async with warm_ollama() as fake, client_over(fake, mode=mode, heartbeat=0.1) as client:
        fake.chat_script = [stream(gate, line("ok"), last())]
        result = await client.call_tool(
            "chat_completion", {"model": "llama3.2", "prompt": "?"}, progress_callback=on_progress
        )
    assert text_of(result) == "ok"
    assert "loading or reading" in (seen[0] or "")


async def test_cancel_stops_the_generation_at_ollama(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        fake.chat_script = [stream(line("never ending"), Gate(), last())]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.call_tool, "chat_completion", {"model": "llama3.2", "prompt": "?"})
            await fake.wait_request("/api/chat")
            tasks.cancel_scope.cancel()
        await fake.wait_disconnected(within=1)
        fake.chat_script = [says("next")]
        assert text_of(await client.call_tool("chat_completion", {"model": "llama3.2", "prompt": "?"})) == "next"


async def test_past_the_soft_deadline_the_text_so_far_comes_marked_and_the_answer_goes_on(mode: str) -> None:
    gate = Gate()
    async with warm_ollama() as fake, client_over(fake, mode=mode, soft_deadline=1) as client:
        fake.chat_script = [stream(line("The first half"), gate, line(" and the second"), last())]
        result = await client.call_tool("chat_completion", {"model": "llama3.2", "prompt": "?"})
        assert fake.disconnects == 0
        gate.open()
        whole = await client.call_tool("job", {"action": "wait", "id": result.structured_content["job_id"]})
    assert not result.is_error
    assert result.content[0].text == "The first half"
    assert "incomplete" in result.content[1].text
    assert result.structured_content["job_id"] in result.content[1].text
    assert result.structured_content["finish_reason"] == "deadline"
    assert "usage" not in result.structured_content
    assert text_of(whole) == "The first half and the second"
    assert whole.structured_content["answer"]["usage"]["completion_tokens"] == 7


async def test_nothing_by_the_soft_deadline_says_how_to_go_on(mode: str) -> None:
    gate = Gate()
    async with warm_ollama() as fake, client_over(fake, mode=mode, soft_deadline=0.2) as client:
        fake.chat_script = [stream(gate, line("late"), last())]
        result = await client.call_tool("chat_completion", {"model": "llama3.2", "prompt": "?"})
        gate.open()
        whole = await client.call_tool("job", {"action": "wait", "id": result.structured_content["job_id"]})
    assert "call the tool job" in text_of(result)
    assert len(result.content) == 1
    assert text_of(whole) == "late"


async def test_a_client_that_takes_progress_has_no_soft_deadline(mode: str) -> None:
    if mode != "legacy":
        pytest.skip("in one process this era does not say whether progress is wanted; over stdio it does")
    gate = Gate()

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        if "loading" in (message or ""):
            gate.open()

    async with warm_ollama() as fake, client_over(fake, mode=mode, soft_deadline=0.1, heartbeat=0.3) as client:
        fake.chat_script = [stream(gate, line("late"), last())]
        result = await client.call_tool(
            "chat_completion", {"model": "llama3.2", "prompt": "?"}, progress_callback=on_progress
        )
    assert text_of(result) == "late"


async def test_silence_in_the_middle_ends_at_the_idle_timeout(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode, idle_timeout=0.2) as client:
        fake.chat_script = [stream(line("half"), Gate(), last())]
        result = await client.call_tool("chat_completion", {"model": "llama3.2", "prompt": "?"})
        await fake.wait_disconnected(within=1)
    assert result.is_error
    assert "stopped in the middle" in text_of(result)
    assert "half" in text_of(result)


async def test_chats_run_side_by_side_and_other_tools_answer_at_once(mode: str) -> None:
    gate = Gate()
    answers: list[str] = []

    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        fake.chat_script = [stream(gate, line("one"), last()), stream(gate, line("two"), last())]

        async def ask() -> None:
            answers.append(text_of(await client.call_tool("chat_completion", {"model": "llama3.2", "prompt": "?"})))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            tasks.start_soon(ask)
            await fake.wait_request("/api/chat", 2)
            with anyio.fail_after(1):
                listed = await client.call_tool("list_models", {})
            assert not listed.is_error
            gate.open()
    assert sorted(answers) == ["one", "two"]


async def test_a_prompt_too_long_for_any_context_is_an_error_with_numbers(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode, max_num_ctx=4096) as client:
        result = await client.call_tool("chat_completion", {"model": "llama3.2", "prompt": "word " * 20_000})
    assert result.is_error
    assert "10000 tokens" in text_of(result)
    assert "4096" in text_of(result)
    assert fake.sent("/api/chat") == []


async def test_the_context_grows_to_hold_a_prompt_and_is_kept(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        long = await client.call_tool("chat_completion", {"model": "llama3.2", "prompt": "word " * 6_000})
        await client.call_tool("chat_completion", {"model": "llama3.2", "prompt": "short"})
    assert not long.is_error, text_of(long)
    assert [sent["options"]["num_ctx"] for sent in fake.sent("/api/chat")] == [16384, 16384]


async def test_the_context_a_model_is_loaded_with_is_kept_rather_than_reloaded(mode: str) -> None:
    async with warm_ollama(loaded={"llama3.2:latest": 32768}) as fake, client_over(fake, mode=mode) as client:
        await client.call_tool("chat_completion", {"model": "llama3.2", "prompt": "short"})
    assert fake.sent("/api/chat")[0]["options"]["num_ctx"] == 32768


@pytest.mark.parametrize("arguments", [{"num_ctx": 8192}, {"options": {"num_ctx": 8192}}])
async def test_a_context_that_was_asked_for_is_sent_and_kept(mode: str, arguments: dict) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        await client.call_tool("chat_completion", {"model": "llama3.2", "prompt": "short", **arguments})
        await client.call_tool("chat_completion", {"model": "llama3.2", "prompt": "short"})
    assert [sent["options"]["num_ctx"] for sent in fake.sent("/api/chat")] == [8192, 8192]


async def test_a_prompt_cut_in_silence_by_an_old_server_is_an_error(mode: str) -> None:
    async with warm_ollama(cuts_silently=True) as fake, client_over(fake, mode=mode, max_num_ctx=4096) as client:
        result = await client.call_tool("chat_completion", {"model": "llama3.2", "prompt": "word " * 6_000})
    assert result.is_error
    assert result.meta["ollama-mcp/error"]["type"] in ("PromptTruncated", "ContextLengthExceeded")
    assert "tokens" in text_of(result)


async def test_an_unknown_model_is_an_error_with_close_names_and_the_command(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        result = await client.call_tool("chat_completion", {"model": "lama3.2", "prompt": "?"})
    assert result.is_error
    assert "llama3.2:latest" in text_of(result)
    assert "ollama pull lama3.2" in text_of(result)


async def test_without_a_model_the_loaded_one_answers_and_else_the_newest(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        newest = await client.call_tool("chat_completion", {"prompt": "?"})
        fake.loaded = {"nomic-embed-text:latest": 2048, "qwen3:8b": 4096}
        loaded = await client.call_tool("chat_completion", {"prompt": "?"})
    assert newest.structured_content["model"] == "llama3.2:latest"
    assert loaded.structured_content["model"] == "qwen3:8b"


async def test_without_any_model_the_error_gives_the_command(mode: str) -> None:
    async with warm_ollama(models={}, loaded={}) as fake, client_over(fake, mode=mode) as client:
        result = await client.call_tool("chat_completion", {"prompt": "?"})
    assert result.is_error
    assert "ollama pull" in text_of(result)


async def test_ollama_down_is_an_error_that_names_the_address(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        await fake.stop()
        result = await client.call_tool("chat_completion", {"model": "llama3.2", "prompt": "?"})
        health = await client.call_tool("health_check", {})
    assert result.is_error
    assert fake.url in text_of(result)
    assert "ollama serve" in text_of(result)
    assert result.meta["ollama-mcp/error"] == {"type": "EngineUnavailable", "retryable": True}
    assert health.structured_content["reachable"] is False
    assert "ollama serve" in health.structured_content["advice"]


async def test_a_busy_ollama_is_an_error_that_can_be_tried_again(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        fake.chat_script = [failure(503, "server busy, please try again.  maximum pending requests exceeded")]
        result = await client.call_tool("chat_completion", {"model": "llama3.2", "prompt": "?"})
    assert result.is_error
    assert result.meta["ollama-mcp/error"] == {"type": "EngineBusy", "retryable": True}


async def test_a_load_goes_on_when_its_caller_gives_up(mode: str) -> None:
    gate = Gate()

    async def slow_load(exchange) -> None:
        await gate.wait()
        await exchange.default()

    async with warm_ollama(loaded={}) as fake, client_over(fake, mode=mode) as client:
        fake.chat_script = [slow_load]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.call_tool, "chat_completion", {"model": "llama3.2", "prompt": "?"})
            await fake.wait_request("/api/chat")
            tasks.cancel_scope.cancel()
        await client.call_tool("health_check", {})
        assert fake.disconnects == 0
        gate.open()
        second = await client.call_tool("chat_completion", {"model": "llama3.2", "prompt": "?"})
    assert not second.is_error
    assert [bool(sent["messages"]) for sent in fake.sent("/api/chat")] == [False, True]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "either prompt or messages"),
        ({"prompt": "?", "messages": [{"role": "user", "content": "?"}]}, "either prompt or messages"),
        ({"messages": []}, "messages"),
        ({"prompt": "?", "temperature": 5}, "temperature must be less than or equal to 2"),
        ({"prompt": "?", "temperature": "0.5"}, "temperature must be a valid number"),
        ({"prompt": "?", "max_tokens": 0}, "max_tokens"),
        ({"prompt": "?", "max_tokns": 5}, "did you mean max_tokens?"),
        ({"prompt": "?", "model": "evil.example.com/a/b"}, "evil.example.com"),
        ({"prompt": "?", "model": "../../etc/passwd"}, "not a model name"),
        ({"messages": '[{"role": "user"'}, "not valid JSON"),
        ({"messages": [{"role": "pirate", "content": "?"}]}, "messages.0.role"),
        ({"prompt": "?", "response_format": {"type": "json_schema"}}, "json_schema is required"),
        ({"prompt": "?", "tool_choice": "required"}, "tools is empty"),
        ({"prompt": "?", "keep_alive": "soon"}, "keep_alive"),
        ({"prompt": "?", "retries": 6}, "retries must be less than or equal to 5"),
        ({"prompt": "?", "overflow": "map_reduce", "tools": [{"function": {"name": "f"}}]}, "does not go with tools"),
        ({"prompt": "?", "options": {"tempratur": 1}}, "temperature"),
    ],
)
async def test_bad_arguments_are_told_in_a_sentence_and_never_reach_ollama(
    mode: str, arguments: dict, words: str
) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        result = await client.call_tool("chat_completion", arguments | {"model": arguments.get("model", "llama3.2")})
    assert result.is_error
    assert words in text_of(result)
    assert "pydantic" not in text_of(result)
    assert fake.sent("/api/chat") == []


async def test_a_prompt_that_is_json_stays_text(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        await client.call_tool("chat_completion", {"model": "llama3.2", "prompt": '{"a": [1, 2]}', "stop": "[]"})
    sent = fake.sent("/api/chat")[-1]
    assert sent["messages"][0]["content"] == '{"a": [1, 2]}'
    assert sent["options"]["stop"] == ["[]"]
