"""The engine for OpenAI-compatible servers against a scripted one on a real socket."""

from collections.abc import AsyncIterator

import pytest

from ollama_mcp.chat import ChatEvent, ChatRequest, Delta, Done, fold
from ollama_mcp.engines.base import EmbedRequest, Engine
from ollama_mcp.engines.openai import OpenAIEngine
from ollama_mcp.engines.transport import MAX_LINE
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
from tests.fake_ollama import CLOSE, HANG, RESET, FakeOllama, Gate, Responder, answer, close, reset
from tests.fake_openai import CHAT, DONE, EMBEDDINGS, MODELS, base_url, chunk, event, events, lists, refuses, says
from tests.harness import each

pytestmark = pytest.mark.anyio

HELLO = ChatRequest.model_validate({"model": "served-7b", "messages": [{"role": "user", "content": "hello"}]})


@pytest.fixture
async def engine(fake: FakeOllama) -> AsyncIterator[OpenAIEngine]:
    engine = OpenAIEngine(base_url(fake), api_key="the-key")
    yield engine
    await engine.aclose()


async def all_of(engine: Engine, request: ChatRequest = HELLO) -> list[ChatEvent]:
    return [event async for event in each(engine.chat(request))]


async def test_an_answer_comes_piece_by_piece_and_ends_with_its_counts(fake: FakeOllama, engine: Engine) -> None:
    fake.on(CHAT, says("Hel", "lo"))
    found = await all_of(engine)
    assert found[:2] == [Delta(content="Hel"), Delta(content="lo")]
    done = found[2]
    assert isinstance(done, Done)
    assert (done.model, done.finish_reason, done.usage.total_tokens) == ("served-7b", "stop", 13)


async def test_a_piece_is_passed_on_before_the_next_one_is_sent(fake: FakeOllama, engine: Engine) -> None:
    gate = Gate()
    fake.on(CHAT, events(chunk(content="first"), gate, chunk("stop"), DONE))
    answer_ = each(engine.chat(HELLO))
    assert await anext(answer_) == Delta(content="first")
    gate.open()
    assert isinstance(await anext(answer_), Done)


async def test_the_key_goes_into_its_header_and_nowhere_else(fake: FakeOllama, engine: Engine) -> None:
    fake.on(CHAT, says("hi"))
    await all_of(engine)
    sent = fake.requests[0]
    assert sent.headers["authorization"] == "Bearer the-key"
    assert sent.headers["content-type"] == "application/json"
    assert b"the-key" not in sent.raw


async def test_closing_the_generator_closes_the_connection(fake: FakeOllama, engine: Engine) -> None:
    fake.on(CHAT, events(chunk(content="on and on"), HANG))
    answer_ = each(engine.chat(HELLO))
    await anext(answer_)
    await answer_.aclose()
    await fake.wait_disconnected(within=1)


@pytest.mark.parametrize(
    "lines",
    [
        [b": ping\r\n\r\n", event(chunk(content="a\u0085\u2028b")), event(chunk("stop")), DONE],
        [b'data:{"choices":[{"delta":{"content":"a\xc2\x85\xe2\x80\xa8b"}}]}\r\n\r\n', event(chunk("stop")), DONE],
        [event(chunk(content="a\u0085\u2028b")), event(chunk("stop"))],
        [event(chunk(content="a\u0085\u2028b")), DONE, b"data: ignored after the end\n\n"],
        [bytes([byte]) for byte in event(chunk("stop", content="a\u0085\u2028b")) + DONE],
    ],
    ids=["comments", "no space, CRLF", "no [DONE]", "no reason", "byte by byte"],
)
async def test_every_spelling_of_a_stream_is_read(fake: FakeOllama, engine: Engine, lines: list[bytes]) -> None:
    fake.on(CHAT, events(*lines))
    result = await fold(engine.chat(HELLO))
    assert (result.content, result.finish_reason) == ("a\u0085\u2028b", "stop")


@pytest.mark.parametrize(
    "ending",
    [
        [],
        [CLOSE],
        [RESET],
        [b'data: {"choices": [{"del'],
        [event({"error": {"message": "CUDA out of memory", "code": 500}}), DONE],
        [b"event: error\n" + event({"error": "CUDA out of memory"})],
        [b"<html>\n"],
        [b"x" * 2**20] * (MAX_LINE // 2**20 + 1),
    ],
    ids=[
        "silent end",
        "closed",
        "reset",
        "half a line",
        "error and [DONE]",
        "error event",
        "no event",
        "endless line",
    ],
)
async def test_a_stream_without_its_end_is_an_error(fake: FakeOllama, engine: Engine, ending: list[bytes]) -> None:
    fake.on(CHAT, events(chunk(content="some"), *ending))
    answer_ = each(engine.chat(HELLO))
    assert await anext(answer_) == Delta(content="some")
    with pytest.raises(GenerationBroken):
        await anext(answer_)


@pytest.mark.parametrize(
    ("responder", "kind"),
    [
        (refuses(400, "bad"), InvalidRequest),
        (
            refuses(400, "too long", type="exceed_context_size_error", n_prompt_tokens=9, n_ctx=4),
            ContextLengthExceeded,
        ),
        (refuses(401, "Invalid API Key"), EngineRejected),
        (refuses(404, "The model `served-7b` does not exist."), ModelNotFound),
        (refuses(503, "Loading model", headers={"Retry-After": "5"}), EngineBusy),
        (answer(302, "", {"Location": "http://127.0.0.1:1/"}), EngineFailed),
        (answer(502, "<html>Bad Gateway</html>"), EngineFailed),
        (answer(200, "<html>Welcome</html>"), MalformedAnswer),
        (answer(200, {"choices": [{"message": {"content": "not streamed"}}]}), MalformedAnswer),
        (reset, EngineUnavailable),
        (close, EngineUnavailable),
    ],
)
async def test_what_the_server_refuses_is_told_before_any_piece(
    fake: FakeOllama, engine: Engine, responder: Responder, kind: type[ServiceError]
) -> None:
    fake.on(CHAT, responder)
    with pytest.raises(kind) as raised:
        await all_of(engine)
    assert type(raised.value) is kind
    if isinstance(raised.value, EngineBusy):
        assert raised.value.retry_after == 5


async def test_a_server_that_is_not_there_is_unavailable(unused_port: int) -> None:
    engine = OpenAIEngine(f"http://127.0.0.1:{unused_port}/v1")
    for call in (engine.version(), engine.models(), all_of(engine)):
        with pytest.raises(EngineUnavailable, match=str(unused_port)):
            await call
    await engine.aclose()


async def test_a_text_that_json_cannot_carry_is_the_callers_mistake(engine: Engine) -> None:
    with pytest.raises(InvalidRequest):
        await engine.embed(EmbedRequest(model="m", input=["\ud800"]))


async def test_models_are_listed_and_shown(fake: FakeOllama, engine: Engine) -> None:
    fake.on(MODELS, lists({"id": "a", "max_model_len": 4096}, {"id": "b", "aliases": ["b", "bee"]}))
    assert [model.name for model in await engine.models()] == ["a", "b"]
    assert (await engine.show("a")).context_length == 4096
    assert (await engine.show("bee")).name == "b"
    with pytest.raises(ModelNotFound):
        await engine.show("c")


async def test_details_of_many_models_cost_one_request(fake: FakeOllama, engine: Engine) -> None:
    fake.on(MODELS, lists(*({"id": f"m{number}"} for number in range(50))))
    for model in await engine.models():
        await engine.show(model.name)
    assert len(fake.requests) == 1


async def test_a_list_of_models_without_an_envelope_is_read(fake: FakeOllama, engine: Engine) -> None:
    fake.on(MODELS, answer(200, [{"id": "a"}]))
    assert [model.name for model in await engine.models()] == ["a"]


@pytest.mark.parametrize("body", [{}, {"data": [{}]}, {"data": ["a"]}, "<html>", [1]])
async def test_a_list_that_is_none_is_a_failure(fake: FakeOllama, engine: Engine, body: object) -> None:
    fake.on(MODELS, answer(200, body))
    with pytest.raises(MalformedAnswer):
        await engine.models()


async def test_loading_only_checks_that_the_model_is_there(fake: FakeOllama, engine: Engine) -> None:
    fake.on(MODELS, lists({"id": "a"}))
    await engine.load("a", keep_alive="5m")
    with pytest.raises(ModelNotFound):
        await engine.load("b")
    with pytest.raises(Unsupported):
        await engine.load("a", num_ctx=4096)


async def test_what_serves_one_model_has_it_loaded(fake: FakeOllama, engine: Engine) -> None:
    fake.on(MODELS, lists({"id": "a", "owned_by": "llamacpp", "meta": {"n_ctx": 4096}}))
    assert [(model.name, model.context_length) for model in await engine.running()] == [("a", 4096)]
    fake.on(MODELS, lists({"id": "a", "owned_by": "organization_owner"}))
    assert await engine.running() == []


@pytest.mark.parametrize(
    ("path", "body", "version"),
    [("/version", {"version": "0.26.0"}, "vLLM 0.26.0"), ("/props", {"build_info": "b1-a"}, "llama.cpp b1-a")],
)
async def test_the_version_is_asked_where_each_server_has_it(
    fake: FakeOllama, engine: Engine, path: str, body: object, version: str
) -> None:
    fake.on(path, answer(200, body))
    assert await engine.version() == version


async def test_a_server_without_a_version_is_asked_for_it_only_once(fake: FakeOllama, engine: Engine) -> None:
    fake.on("/version", answer(200, {"error": "Unexpected endpoint or method. (GET /version)"}))
    fake.on(MODELS, lists({"id": "a"}))
    assert await engine.version() is None
    assert await engine.version() is None
    assert [request.path for request in fake.requests] == ["/version", "/props", MODELS, MODELS]


async def test_a_server_that_is_loading_is_there(fake: FakeOllama, engine: Engine) -> None:
    for path in ("/version", "/props", MODELS):
        fake.on(path, refuses(503, "Loading model"))
    assert await engine.version() is None
    with pytest.raises(EngineBusy):
        await engine.models()


async def test_vectors_keep_the_order_and_the_counts(fake: FakeOllama, engine: Engine) -> None:
    vectors = [{"index": 1, "embedding": [0.5, 1.0]}, {"index": 0, "embedding": [0.0, 0.25]}]
    fake.on(EMBEDDINGS, answer(200, {"data": vectors, "usage": {"prompt_tokens": 4, "total_tokens": 4}}))
    result = await engine.embed(EmbedRequest(model="m", input=["a", "b"], dimensions=2))
    assert result.embeddings == [[0.0, 0.25], [0.5, 1.0]]
    assert result.usage.prompt_tokens == 4
    assert fake.sent(EMBEDDINGS) == [{"model": "m", "input": ["a", "b"], "dimensions": 2}]


async def test_dimensions_that_are_not_heeded_are_an_error(fake: FakeOllama, engine: Engine) -> None:
    fake.on(EMBEDDINGS, answer(200, {"data": [{"index": 0, "embedding": [0.5, 1.0, 0.0]}]}))
    with pytest.raises(Unsupported) as raised:
        await engine.embed(EmbedRequest(model="m", input=["a"], dimensions=2))
    assert raised.value.param == "dimensions"


async def test_missing_vectors_are_a_failure(fake: FakeOllama, engine: Engine) -> None:
    fake.on(EMBEDDINGS, answer(200, {"data": [{"index": 0, "embedding": [0.5]}]}))
    with pytest.raises(MalformedAnswer):
        await engine.embed(EmbedRequest(model="m", input=["a", "b"]))


async def test_a_text_too_long_to_embed_names_the_input(fake: FakeOllama, engine: Engine) -> None:
    fake.on(EMBEDDINGS, refuses(400, "too long", type="exceed_context_size_error", n_prompt_tokens=9, n_ctx=4))
    with pytest.raises(ContextLengthExceeded) as raised:
        await engine.embed(EmbedRequest(model="m", input=["a"]))
    assert raised.value.param == "input"


async def test_what_only_the_servers_owner_can_do_is_unsupported(engine: Engine) -> None:
    with pytest.raises(Unsupported):
        await engine.unload("m")
    with pytest.raises(Unsupported):
        await engine.delete("m")
    with pytest.raises(Unsupported):
        await anext(engine.pull("m"))
