"""The Ollama engine against a scripted Ollama on a real socket."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import httpx
import pytest

from ollama_mcp.chat import ChatRequest, ChatResult, Delta, Done, fold
from ollama_mcp.engines import transport
from ollama_mcp.engines.base import EmbedRequest, Engine, PullProgress
from ollama_mcp.engines.ollama import OllamaEngine
from ollama_mcp.errors import (
    ContextLengthExceeded,
    EngineBusy,
    EngineFailed,
    EngineRejected,
    EngineUnavailable,
    GenerationBroken,
    InvalidRequest,
    MalformedAnswer,
    ModelNotFound,
    ServiceError,
    Unsupported,
)
from tests.fake_ollama import (
    CLOSE,
    HANG,
    RESET,
    Exchange,
    FakeOllama,
    Gate,
    Responder,
    answer,
    close,
    failure,
    hang,
    last,
    line,
    reset,
    says,
    stream,
)
from tests.harness import each

pytestmark = pytest.mark.anyio

CHAT = "/api/chat"


@pytest.fixture
async def engine(fake: FakeOllama) -> AsyncIterator[OllamaEngine]:
    engine = OllamaEngine(fake.url)
    yield engine
    await engine.aclose()


def request(text: str = "Hello there", **fields: Any) -> ChatRequest:
    return ChatRequest.model_validate({"model": "llama3.2", "messages": [{"role": "user", "content": text}]} | fields)


async def ask(engine: Engine, text: str = "Hello there", **fields: Any) -> ChatResult:
    async with aclosing(engine.chat(request(text, **fields))) as events:
        return await fold(events)


# Chat


async def test_an_answer_comes_as_it_is_made(fake: FakeOllama, engine: OllamaEngine):
    gate = Gate()
    fake.chat_script = [stream(line("One"), gate, line(" two"), last())]
    async with aclosing(each(engine.chat(request()))) as events:
        assert await anext(events) == Delta(content="One")
        gate.open()
        assert await anext(events) == Delta(content=" two")
        assert isinstance(await anext(events), Done)
        with pytest.raises(StopAsyncIteration):
            await anext(events)


async def test_an_unscripted_answer_has_text_counts_and_times(engine: OllamaEngine):
    result = await ask(engine, "Hello there")
    assert result.content == "You said: Hello there"
    assert (result.model, result.finish_reason) == ("llama3.2", "stop")
    assert result.usage is not None
    assert (result.usage.prompt_tokens, result.usage.completion_tokens) == (2, 4)
    assert result.timings is not None
    assert result.timings.tokens_per_second == 16.0


async def test_what_is_sent_forbids_truncation(fake: FakeOllama, engine: OllamaEngine):
    await ask(engine, temperature=0.5, num_ctx=8192, keep_alive="1m")
    assert fake.sent(CHAT) == [
        {
            "model": "llama3.2",
            "messages": [{"role": "user", "content": "Hello there"}],
            "stream": True,
            "truncate": False,
            "shift": False,
            "keep_alive": "1m",
            "options": {"temperature": 0.5, "num_ctx": 8192},
        }
    ]


async def test_a_prompt_longer_than_the_context_is_an_error_with_both_lengths(engine: OllamaEngine):
    with pytest.raises(ContextLengthExceeded, match=r"llama3\.2 \(300 tokens where 256 fit\)") as caught:
        await ask(engine, "word " * 300, num_ctx=256)
    assert (caught.value.prompt_tokens, caught.value.context_length) == (300, 256)


async def test_thinking_is_kept_apart(engine: OllamaEngine):
    result = await ask(engine, model="qwen3:8b", think=True)
    assert (result.reasoning, result.content) == ("Let me think.", "You said: Hello there")


async def test_an_effort_is_dropped_and_told_where_a_model_cannot_think(fake: FakeOllama, engine: OllamaEngine):
    result = await ask(engine, reasoning_effort="high")
    assert result.content == "You said: Hello there"
    assert result.warnings == ["llama3.2 does not support thinking; reasoning_effort was left out."]
    assert [body.get("think") for body in fake.sent(CHAT)] == ["high", None]


async def test_thinking_asked_for_by_name_is_not_dropped(fake: FakeOllama, engine: OllamaEngine):
    with pytest.raises(Unsupported, match="does not support thinking") as caught:
        await ask(engine, think="high", reasoning_effort="high")
    assert caught.value.param == "think"
    assert len(fake.requests) == 1


async def test_tool_calls_keep_their_ids_and_order(fake: FakeOllama, engine: OllamaEngine):
    first = {"id": "one", "function": {"index": 0, "name": "clock", "arguments": {"zone": "UTC"}}}
    second = {"function": {"index": 0, "name": "clock", "arguments": {}}}
    fake.chat_script = [stream(line(tool_calls=[first, second]), line(""), last())]
    tools = [{"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}]
    result = await ask(engine, tools=tools)
    assert result.finish_reason == "tool_calls"
    assert result.tool_calls is not None
    assert result.tool_calls[0].id == "one"
    assert result.tool_calls[0].function.arguments == '{"zone":"UTC"}'
    assert result.tool_calls[1].id.startswith("call_")
    assert fake.sent(CHAT)[0]["tools"] == tools


async def test_a_required_tool_call_works_on_a_model_without_tools(fake: FakeOllama, engine: OllamaEngine):
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tools = [{"type": "function", "function": {"name": "weather", "parameters": parameters}}]
    result = await ask(engine, model="llava:7b", tools=tools, tool_choice="required")
    assert (result.content, result.finish_reason) == ("", "tool_calls")
    assert result.tool_calls is not None
    assert result.tool_calls[0].function.arguments == '{"city":"text"}'


async def test_images_go_as_they_are_and_never_as_files(fake: FakeOllama, engine: OllamaEngine):
    # "L2V0Yy9ob3N0cw==" is the base64 of a path; the package would read a string that is a path.
    content = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,L2V0Yy9ob3N0cw=="}},
    ]
    await ask(engine, model="llava:7b", messages=[{"role": "user", "content": content}])
    assert fake.sent(CHAT)[0]["messages"][0]["images"] == ["L2V0Yy9ob3N0cw=="]


async def test_logprobs_come_with_their_tokens(engine: OllamaEngine):
    result = await ask(engine, "Hi", logprobs=True, top_logprobs=2)
    assert result.logprobs is not None
    assert [token["token"] for token in result.logprobs] == ["You", " said:", " Hi"]
    assert len(result.logprobs[0]["top_logprobs"]) == 2


async def test_line_separators_blank_lines_and_any_split_change_nothing(fake: FakeOllama, engine: OllamaEngine):
    text = "a\u0085b\u2028c\u2029d\x0ce\U0001f600"
    lines = [line(text[:5]), line(text[5:]), last()]
    data = b"\n\r\n".join(json.dumps(found, ensure_ascii=False).encode() for found in lines)
    fake.chat_script = [stream(*(data[place : place + 1] for place in range(len(data))))]
    assert (await ask(engine)).content == text


# What goes wrong


async def fails(engine: OllamaEngine, error: type[ServiceError], match: str = "") -> ServiceError:
    with pytest.raises(error, match=match) as caught:
        await ask(engine)
    assert type(caught.value) is error
    return caught.value


@pytest.mark.parametrize(
    ("responder", "error", "match"),
    [
        (failure(400, "model is required"), InvalidRequest, "model is required"),
        (failure(401, "unauthorized"), EngineRejected, "unauthorized"),
        (failure(403, "not allowed"), EngineRejected, "not allowed"),
        (failure(500, "CUDA error: out of memory"), EngineFailed, "CUDA error: out of memory"),
        (failure(503, "server busy, please try again."), EngineBusy, "server busy"),
        (answer(502, "<html>Bad Gateway</html>", {"Content-Type": "text/html"}), EngineFailed, "status 502"),
        (answer(302, "", {"Location": "http://127.0.0.1:1/login"}), EngineFailed, "http://127.0.0.1:1/login"),
        (answer(200, "<html>Welcome</html>", {"Content-Type": "text/html"}), MalformedAnswer, "not valid JSON"),
        (answer(200, "[1]"), MalformedAnswer, "not a JSON object"),
        (answer(200, b"\x1f\x8b", {"Content-Encoding": "gzip"}), MalformedAnswer, "gzip"),
        (reset, EngineUnavailable, "gave no answer: Connection reset by peer; start it"),
        (close, EngineUnavailable, "gave no answer: it closed the connection; start it"),
        (stream(), GenerationBroken, "stopped before its end"),
        (stream({"error": "model crashed"}), GenerationBroken, "before the answer: model crashed"),
        (stream(line("Hel")), GenerationBroken, "stopped before its end"),
        (stream(line("Hel"), {"error": "llama runner process has terminated"}), GenerationBroken, "has terminated"),
        (stream(line("Hel"), CLOSE), GenerationBroken, "in the middle"),
        (stream(line("Hel"), RESET), GenerationBroken, "in the middle"),
        (stream(line("Hel"), b'{"model": "llama3.2", "mess'), GenerationBroken, "not valid JSON"),
        (stream(line("Hel"), b'{"message": {"content": "\xff"}}\n'), GenerationBroken, "not valid JSON"),
        (stream(line("Hel"), b"[]\n"), GenerationBroken, "not a JSON object"),
    ],
)
async def test_a_fault_is_told_as_what_it_is(
    fake: FakeOllama, engine: OllamaEngine, responder: Responder, error: type[ServiceError], match: str
):
    fake.on(CHAT, responder)
    await fails(engine, error, match)
    fake.on(CHAT, Exchange.default)
    assert (await ask(engine)).finish_reason == "stop", "the engine goes on after it"


async def test_what_came_before_a_break_has_been_given(fake: FakeOllama, engine: OllamaEngine):
    fake.chat_script = [stream(line("Hel"), line("lo"), CLOSE)]
    async with aclosing(each(engine.chat(request()))) as events:
        assert [await anext(events), await anext(events)] == [Delta(content="Hel"), Delta(content="lo")]
        with pytest.raises(GenerationBroken):
            await anext(events)


async def test_a_line_too_long_breaks_the_answer(
    fake: FakeOllama, engine: OllamaEngine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(transport, "MAX_LINE", 1000)
    fake.chat_script = [stream(line("Hel"), b"b" * 2000)]
    await fails(engine, GenerationBroken, "a line of more than")


async def test_an_unknown_model_is_told_with_how_to_get_it(engine: OllamaEngine):
    with pytest.raises(ModelNotFound, match="`ollama pull gone`") as caught:
        await ask(engine, model="gone")
    assert caught.value.model == "gone"


async def test_a_model_without_tools_says_so(engine: OllamaEngine):
    tools = [{"type": "function", "function": {"name": "clock"}}]
    with pytest.raises(Unsupported, match=r"llava:7b does not support tools") as caught:
        await ask(engine, model="llava:7b", tools=tools)
    assert caught.value.param == "tools"


async def test_an_absent_ollama_is_told_for_every_call(unused_port: int):
    address = f"http://127.0.0.1:{unused_port}"
    engine = OllamaEngine(address)
    calls: list[Callable[[], Any]] = [
        lambda: ask(engine),
        engine.version,
        engine.models,
        engine.running,
        lambda: engine.show("m"),
        lambda: engine.load("m"),
        lambda: engine.unload("m"),
        lambda: engine.delete("m"),
        lambda: engine.embed(EmbedRequest(model="m", input=["a"])),
        lambda: _pulled(engine, "m"),
    ]
    for call in calls:
        with pytest.raises(EngineUnavailable, match=address):
            await call()
    await engine.aclose()


async def test_an_address_that_swallows_everything_is_given_up(full_port: int, monkeypatch: pytest.MonkeyPatch):

    monkeypatch.setattr("ollama_mcp.engines.ollama_client.TIMEOUT", httpx.Timeout(None, connect=0.2, pool=0.2))
    engine = OllamaEngine(f"http://127.0.0.1:{full_port}")
    with pytest.raises(EngineUnavailable):
        await ask(engine)
    await engine.aclose()


async def test_text_that_utf8_cannot_hold_is_refused(engine: OllamaEngine):
    with pytest.raises(InvalidRequest):
        await ask(engine, response_format={"type": "json_schema", "json_schema": {"schema": {"const": "\ud800"}}})


# Leaving, and connections


async def test_closing_an_answer_in_the_middle_stops_it_at_once(fake: FakeOllama, engine: OllamaEngine):
    fake.chat_script = [stream(line("Hel"), HANG)]
    events = each(engine.chat(request()))
    assert await anext(events) == Delta(content="Hel")
    await events.aclose()
    await fake.wait_disconnected(within=1)


async def test_a_caller_cancelled_before_the_first_token_stops_the_request(fake: FakeOllama, engine: OllamaEngine):
    fake.on(CHAT, hang)
    asking = asyncio.create_task(ask(engine))
    await fake.wait_request(CHAT)
    asking.cancel()
    await fake.wait_disconnected(within=1)
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_a_caller_cancelled_between_tokens_stops_the_request(fake: FakeOllama, engine: OllamaEngine):
    first = asyncio.Event()

    async def listen() -> None:
        async with aclosing(each(engine.chat(request()))) as events:
            async for _ in events:
                first.set()

    fake.chat_script = [stream(line("Hel"), HANG)]
    listening = asyncio.create_task(listen())
    await first.wait()
    listening.cancel()
    await fake.wait_disconnected(within=1)
    with pytest.raises(asyncio.CancelledError):
        await listening


async def test_a_whole_answer_leaves_its_connection_for_the_next(fake: FakeOllama, engine: OllamaEngine):
    for _ in range(3):
        await ask(engine)
        await engine.version()
    assert (fake.connections, fake.disconnects) == (1, 0)


async def test_the_end_of_an_answer_may_come_a_little_after_its_last_line(fake: FakeOllama, engine: OllamaEngine):
    gate = Gate()
    fake.chat_script = [stream(line("Hi"), last(), gate)]
    asyncio.get_running_loop().call_later(0.05, gate.open)
    await ask(engine)
    await ask(engine)
    assert (fake.connections, fake.disconnects) == (1, 0)


async def test_a_whole_answer_is_not_held_up_by_a_connection_that_does_not_end(
    fake: FakeOllama, engine: OllamaEngine
):
    fake.chat_script = [stream(line("Hi"), last(), HANG)]
    assert (await ask(engine)).content == "Hi"
    await fake.wait_disconnected(within=1)


async def test_a_connection_that_ends_badly_after_a_whole_answer_does_no_harm(fake: FakeOllama, engine: OllamaEngine):
    fake.chat_script = [stream(line("Hi"), last(), CLOSE)]
    assert (await ask(engine)).content == "Hi"


async def test_a_connection_closed_while_idle_is_replaced_once(fake: FakeOllama, engine: OllamaEngine):
    async def hang_up_on_reuse(exchange: Exchange) -> None:
        await (exchange.close() if exchange.reused else exchange.default())

    fake.on(CHAT, hang_up_on_reuse)
    await ask(engine)
    assert (await ask(engine)).content == "You said: Hello there"
    assert len(fake.sent(CHAT)) == 3


async def test_answers_do_not_wait_for_one_another(fake: FakeOllama, engine: OllamaEngine):
    gates = [Gate() for _ in range(20)]
    fake.chat_script = [stream(line("Hi"), gate, last()) for gate in gates]
    asking = [asyncio.create_task(ask(engine)) for _ in gates]
    await fake.wait_request(CHAT, len(gates))
    for gate in reversed(gates):
        gate.open()
    assert {result.content for result in await asyncio.gather(*asking)} == {"Hi"}


# Who asks


async def test_only_the_given_key_is_sent(fake: FakeOllama, engine: OllamaEngine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OLLAMA_API_KEY", "from-the-environment")
    await engine.version()
    keyed = OllamaEngine(fake.url, api_key="given")
    await keyed.version()
    await keyed.aclose()
    assert [sent.headers.get("authorization") for sent in fake.requests] == [None, "Bearer given"]


async def test_neither_proxies_nor_ollama_host_of_the_environment_count(
    fake: FakeOllama, engine: OllamaEngine, monkeypatch: pytest.MonkeyPatch
):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "OLLAMA_HOST"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert await engine.version() == "0.33.0"
    assert fake.requests[0].headers["accept-encoding"] == "identity"


async def test_an_address_may_have_a_path(fake: FakeOllama):
    fake.on("/ollama/api/version", answer(200, {"version": "1"}))
    engine = OllamaEngine(f"{fake.url}/ollama/")
    assert await engine.version() == "1"
    await engine.aclose()


# Everything but chat


async def test_models_are_listed_newest_first_with_what_they_can_do(engine: OllamaEngine):
    models = await engine.models()
    assert [model.name for model in models] == ["llama3.2:latest", "qwen3:8b", "llava:7b", "nomic-embed-text:latest"]
    assert models[1].capabilities == ["completion", "tools", "thinking"]
    assert (models[1].context_length, models[1].parameters, models[1].family) == (40960, "8.2B", "qwen3")


async def test_one_model_is_shown_in_detail(engine: OllamaEngine):
    details = await engine.show("nomic-embed-text")
    assert (details.name, details.context_length) == ("nomic-embed-text", 2048)
    assert details.default_parameters == {"num_ctx": ["8192"]}
    with pytest.raises(ModelNotFound):
        await engine.show("gone")


async def test_loading_and_unloading_show_among_the_running(fake: FakeOllama, engine: OllamaEngine):
    await engine.load("llama3.2", num_ctx=8192, keep_alive="1h")
    (running,) = await engine.running()
    assert (running.name, running.context_length) == ("llama3.2:latest", 8192)
    assert fake.sent(CHAT)[0] == {
        "model": "llama3.2",
        "messages": [],
        "stream": False,
        "shift": False,
        "options": {"num_ctx": 8192},
        "keep_alive": "1h",
    }
    await engine.unload("llama3.2")
    assert await engine.running() == []
    with pytest.raises(ModelNotFound):
        await engine.load("gone")


async def test_texts_become_vectors_in_order(engine: OllamaEngine):
    result = await engine.embed(EmbedRequest(model="nomic-embed-text", input=["a b", "c"], dimensions=4))
    again = await engine.embed(EmbedRequest(model="nomic-embed-text", input=["c"], dimensions=4))
    assert [len(vector) for vector in result.embeddings] == [4, 4]
    assert result.embeddings[1] == again.embeddings[0]
    assert (result.usage.prompt_tokens, result.usage.total_tokens) == (3, 3)


async def test_a_text_too_long_to_embed_is_refused_and_not_cut(fake: FakeOllama, engine: OllamaEngine):
    fake.loaded["nomic-embed-text:latest"] = 4
    with pytest.raises(ContextLengthExceeded):
        await engine.embed(EmbedRequest(model="nomic-embed-text", input=["a b c d e"]))


async def _pulled(engine: OllamaEngine, model: str) -> list[PullProgress]:
    async with aclosing(engine.pull(model)) as steps:
        return [step async for step in steps]


async def test_a_download_tells_how_far_it_is(fake: FakeOllama, engine: OllamaEngine):
    steps = await _pulled(engine, "gemma3")
    assert (steps[0].status, steps[-1].status) == ("pulling manifest", "success")
    assert [(step.completed, step.total) for step in steps if step.completed] == [
        (500_000, 2_000_000),
        (1_000_000, 2_000_000),
        (1_500_000, 2_000_000),
        (2_000_000, 2_000_000),
    ]
    assert fake.sent("/api/pull") == [{"model": "gemma3", "stream": True}]
    await engine.delete("gemma3")
    with pytest.raises(ModelNotFound):
        await engine.delete("gemma3")


MANIFEST = {"status": "pulling manifest"}


@pytest.mark.parametrize(
    ("responder", "error", "match"),
    [
        (stream(MANIFEST, {"error": "pull model manifest: file does not exist"}), ModelNotFound, "no gemma3"),
        (stream(MANIFEST, {"error": "write: no space left on device"}), EngineFailed, "no space left"),
        (stream(MANIFEST), GenerationBroken, "stopped downloading gemma3"),
        (stream(MANIFEST, CLOSE), MalformedAnswer, "broke off its answer"),
        (failure(400, "invalid model name"), InvalidRequest, "invalid model name"),
        (answer(200, "<html>"), MalformedAnswer, "does not speak as Ollama"),
    ],
)
async def test_a_download_that_fails_says_why(
    fake: FakeOllama, engine: OllamaEngine, responder: Responder, error: type[ServiceError], match: str
):
    fake.on("/api/pull", responder)
    with pytest.raises(error, match=match):
        await _pulled(engine, "gemma3")


async def test_leaving_a_download_stops_it(fake: FakeOllama, engine: OllamaEngine):
    fake.on("/api/pull", stream(MANIFEST, HANG))
    steps = engine.pull("gemma3")
    await anext(steps)
    await steps.aclose()
    await fake.wait_disconnected(within=1)


@pytest.mark.parametrize("body", ["<html>", "[]", '"a"', b"\xff", ""])
async def test_an_answer_that_is_not_ollamas_is_a_failure(fake: FakeOllama, engine: OllamaEngine, body: str):
    for path in ("/api/version", "/api/tags", "/api/ps"):
        fake.on(path, answer(200, body))
    for call in (engine.version, engine.models, engine.running):
        with pytest.raises(MalformedAnswer, match="check that the address"):
            await call()


async def test_an_engine_can_be_closed_before_and_after_its_use(fake: FakeOllama):
    engine = OllamaEngine(fake.url)
    await engine.aclose()
    assert await engine.version() == "0.33.0"
    await engine.aclose()
    await engine.aclose()


async def test_the_text_of_an_answer_may_be_scripted(fake: FakeOllama, engine: OllamaEngine):
    fake.chat_script = [says("First."), says("And second.")]
    assert [(await ask(engine)).content for _ in range(3)] == ["First.", "And second.", "You said: Hello there"]
