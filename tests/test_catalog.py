"""Which model a name means, which one is meant without a name, and what is said of one that is not there."""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from ollama_mcp.catalog import Catalog, check_name, close_names, same_model, with_tag
from ollama_mcp.engines.base import ModelInfo
from ollama_mcp.engines.ollama import OllamaEngine
from ollama_mcp.engines.openai import OpenAIEngine
from ollama_mcp.errors import InvalidRequest, ModelNotFound

from .fake_ollama import FakeModel, FakeOllama, answer
from .fake_openai import MODELS, base_url, lists

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "name",
    [
        "llama3.2",
        "qwen3:8b",
        "user/model",
        "user/model:q4_K-M.2",
        "a.b/model",
        "hf.co/user/model:Q4_K_M",
        "HuggingFace.co/user/model",
        "_local",
        "9b",
        "publisher/family/model",
        "x" * 256,
    ],
)
async def test_what_can_be_a_name_is_taken_as_it_is(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " llama3.2",
        "llama3.2\n",
        "a b",
        "-rf",
        ".hidden",
        "../../etc/passwd",
        "/etc/passwd",
        "a//b",
        "a/../b",
        "a:",
        "a:b:c",
        "a/b/c/d/e",
        "http://evil.example/a/b",
        "modèle",
        "a\\b",
        "a?b",
        "x" * 257,
    ],
)
async def test_what_cannot_be_a_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_name(name)
    assert caught.value.param == "model"
    assert caught.value.message.startswith(f"{name[:80]!r} is not a model name; names look like llama3.2")


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("evil.example/library/llama3.2", "evil.example"),
        ("evil.example/a/b/c:tag", "evil.example"),
        ("localhost:5000/a/b", "localhost:5000"),
        ("127.0.0.1/a/b", "127.0.0.1"),
        ("hf.co.evil.example/a/b", "hf.co.evil.example"),
        ("registry.ollama.ai/library/llama3.2", "registry.ollama.ai"),
    ],
)
async def test_a_name_never_leads_to_a_registry(name: str, host: str) -> None:
    with pytest.raises(InvalidRequest, match=f"names the registry {host}, .*: leave it out") as caught:
        check_name(name)
    assert caught.value.param == "model"


async def test_without_a_tag_the_latest_is_meant_and_case_does_not_matter() -> None:
    assert [with_tag(name) for name in ("a", "a:b", "hf.co/a/b", "h:1/a/b")] == [
        "a:latest",
        "a:b",
        "hf.co/a/b:latest",
        "h:1/a/b:latest",
    ]
    assert same_model("Llama3.2", "llama3.2:LATEST")
    assert not same_model("llama3.2", "llama3.2:3b")


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("lama3.2", ["llama3.1:8b", "llama3.2:latest"]),
        ("LLAMA3.1:70b", ["llama3.1:8b", "llama3.2:latest"]),
        ("qwen3", ["Qwen3:8b", "Qwen3:14b", "Qwen3:32b"]),
        ("m:70b-instruct-q8_0", ["m:1b"]),
        ("n:70b-instruct-q8_0", ["n"]),
        ("zzz", []),
    ],
)
async def test_close_names_share_their_beginning_or_most_of_their_letters(name: str, close: list[str]) -> None:
    names = ["llama3.2:latest", "llama3.1:8b", "Qwen3:8b", "Qwen3:14b", "Qwen3:32b", "Qwen3:latest", "m:1b", "n"]
    assert close_names(name, names) == close


ALIASES = {"gpt-4o": "qwen3:8b", "bad": "../x"}


@asynccontextmanager
async def of_ollama(default: str | None = None, **settings: Any) -> AsyncIterator[tuple[Catalog, FakeOllama]]:
    async with FakeOllama(**settings) as fake, aclosing(OllamaEngine(fake.url)) as engine:
        yield Catalog(engine, default=default, aliases=ALIASES), fake


@asynccontextmanager
async def of_openai(*entries: dict[str, Any]) -> AsyncIterator[tuple[Catalog, FakeOllama]]:
    async with FakeOllama() as fake:
        fake.on(MODELS, lists(*entries))
        async with aclosing(OpenAIEngine(base_url(fake), api_key=None)) as engine:
            yield Catalog(engine, default=None, aliases={}), fake


@pytest.mark.parametrize(
    ("default", "asked", "meant"),
    [
        (None, "gpt-4o", "qwen3:8b"),
        (None, "not-there", "not-there"),
        ("phi4", None, "phi4"),
        ("gpt-4o", None, "qwen3:8b"),
        ("phi4", "llama3.2", "llama3.2"),
        (None, None, "llama3.2:latest"),
    ],
)
async def test_a_name_may_be_an_alias_and_none_is_the_default_or_else_the_newest(
    default: str | None, asked: str | None, meant: str
) -> None:
    async with of_ollama(default) as (catalog, _):
        assert catalog.aliases == ALIASES
        assert await catalog.resolve(asked) == meant


@pytest.mark.parametrize(("default", "asked"), [("bad", None), ("phi4", "bad"), ("a b", None), ("phi4", "a b")])
async def test_neither_an_alias_nor_a_default_gets_past_the_check_of_names(default: str, asked: str | None) -> None:
    async with of_ollama(default) as (catalog, _):
        with pytest.raises(InvalidRequest, match="not a model name"):
            await catalog.resolve(asked)


@pytest.mark.parametrize(
    ("loaded", "meant"),
    [
        ({"qwen3:8b": 4096}, "qwen3:8b"),
        ({"nomic-embed-text:latest": 2048, "llava:7b": 4096}, "llava:7b"),
        ({"nomic-embed-text:latest": 2048}, "llama3.2:latest"),
    ],
)
async def test_a_loaded_model_that_can_chat_comes_before_the_newest(loaded: dict[str, int], meant: str) -> None:
    async with of_ollama(loaded=loaded) as (catalog, fake):
        assert await catalog.resolve(None) == meant
        assert fake.sent("/api/show") == []


@pytest.mark.parametrize(
    ("models", "says"),
    [
        ({}, "No model is installed at {url}; get one with `ollama pull llama3.2`."),
        (
            {"embedder:latest": FakeModel(capabilities=("embedding",))},
            "No chat model is installed at {url}; get one with `ollama pull llama3.2`.",
        ),
    ],
)
async def test_without_a_model_to_chat_with_the_command_is_told(models: dict[str, FakeModel], says: str) -> None:
    async with of_ollama(models=models) as (catalog, fake):
        with pytest.raises(ModelNotFound) as caught:
            await catalog.resolve(None)
        assert caught.value.message == says.format(url=fake.url)


async def test_a_server_without_models_is_told_of_by_the_argument_that_names_one() -> None:
    async with of_openai() as (catalog, fake):
        for find in (catalog.resolve, catalog.resolve_embedder):
            with pytest.raises(ModelNotFound) as caught:
                await find(None)
            assert caught.value.message == (
                f"No model is installed at {base_url(fake)}; name one with the argument `model`."
            )


async def test_a_model_whose_abilities_are_not_known_may_chat() -> None:
    async with of_ollama(models={"odd:latest": FakeModel(capabilities=())}) as (catalog, fake):
        fake.on("/api/tags", answer(200, {"models": [{"name": "odd:latest"}]}))
        assert await catalog.resolve(None) == "odd:latest"


async def test_what_an_old_ollama_does_not_list_is_looked_up() -> None:
    models = {"e:latest": FakeModel(capabilities=("embedding",)), "c:latest": FakeModel(capabilities=("completion",))}
    async with of_ollama(models=models, loaded={"e:latest": 512, "unlisted:latest": 512}) as (catalog, fake):
        fake.on("/api/tags", answer(200, {"models": [{"name": "c:latest"}, {"name": "e:latest"}]}))
        assert await catalog.resolve_embedder(None) == "e:latest"
        fake.models["unlisted:latest"] = FakeModel()
        assert await catalog.resolve(None) == "unlisted:latest"
        del fake.loaded["unlisted:latest"]
        assert await catalog.resolve(None) == "c:latest"


async def test_an_embedder_is_the_newest_that_makes_vectors_unless_one_is_named() -> None:
    async with of_ollama() as (catalog, fake):
        assert await catalog.resolve_embedder(None) == "nomic-embed-text:latest"
        assert fake.sent("/api/show") == []
        assert await catalog.resolve_embedder("gpt-4o") == "qwen3:8b"
    async with of_openai({"id": "chat"}, {"id": "vectors", "type": "embeddings"}) as (catalog, _):
        assert await catalog.resolve_embedder(None) == "vectors"
    async with of_openai({"id": "all-in-one"}) as (catalog, _):
        assert await catalog.resolve_embedder(None) == "all-in-one"


async def test_without_an_embedder_at_ollama_the_command_is_told() -> None:
    async with of_ollama(models={"llama3.2:latest": FakeModel()}) as (catalog, fake):
        with pytest.raises(ModelNotFound) as caught:
            await catalog.resolve_embedder(None)
        assert caught.value.message == (
            f"No embedding model is installed at {fake.url}; get one with `ollama pull nomic-embed-text`."
        )


async def test_each_version_of_a_model_is_looked_at_once() -> None:
    async with of_ollama() as (catalog, fake):
        first, second = ModelInfo(name="llama3.2:latest", digest="a"), ModelInfo(name="llama3.2:latest", digest="b")
        assert (await catalog.details(first)).context_length == 131072
        assert await catalog.details(first) is await catalog.details(first)
        assert len(fake.sent("/api/show")) == 1
        await catalog.details(second)
        assert len(fake.sent("/api/show")) == 2


async def test_the_list_knows_what_is_loaded() -> None:
    async with of_ollama(loaded={"qwen3:8b": 4096}) as (catalog, fake):
        listed = await catalog.listing()
        assert fake.sent("/api/show") == []
    assert [(model.name, model.loaded, model.context_length) for model in listed] == [
        ("llama3.2:latest", False, 131072),
        ("qwen3:8b", True, 40960),
        ("llava:7b", False, 32768),
        ("nomic-embed-text:latest", False, 2048),
    ]
    assert listed[2].capabilities == ["completion", "vision"]


async def test_the_list_knows_what_only_the_details_tell() -> None:
    entries = [
        {"name": "llama3.2:latest", "modified_at": "2026-01-02T00:00:00Z", "capabilities": ["tools"]},
        {"name": "qwen3:8b", "modified_at": "2026-01-01T00:00:00Z", "details": {"context_length": 7}},
    ]
    async with of_ollama() as (catalog, fake):
        fake.on("/api/tags", answer(200, {"models": entries}))
        listed = await catalog.listing()
    assert [(model.name, model.context_length, model.capabilities) for model in listed] == [
        ("llama3.2:latest", 131072, ["tools"]),
        ("qwen3:8b", 7, ["completion", "tools", "thinking"]),
    ]


async def test_what_a_list_of_models_tells_itself_is_not_asked_for_again() -> None:
    async with of_openai({"id": "vllm", "owned_by": "vllm", "max_model_len": 32768}) as (catalog, _):
        [listed] = await catalog.listing()
        assert (listed.name, listed.context_length, listed.capabilities) == ("vllm", 32768, [])


async def test_a_model_that_is_deleted_while_it_is_listed_stays_as_the_list_had_it() -> None:
    async with of_ollama() as (catalog, fake):
        fake.on("/api/tags", answer(200, {"models": [{"name": "gone:latest"}, {"name": "qwen3:8b"}]}))
        listed = await catalog.listing()
    assert [(model.name, model.context_length) for model in listed] == [("gone:latest", None), ("qwen3:8b", 40960)]


NOT_THERE = ModelNotFound("The engine's own words.")


@pytest.mark.parametrize(
    ("catalog_of", "name", "says", "suggestions"),
    [
        (
            of_ollama,
            "lama3.2",
            "Model 'lama3.2' is not installed. Did you mean llama3.2:latest? Get it with `ollama pull lama3.2`.",
            ("llama3.2:latest",),
        ),
        (
            of_ollama,
            "gpt-4",
            "Model 'gpt-4' is not installed. Did you mean gpt-4o? Get it with `ollama pull gpt-4`.",
            ("gpt-4o",),
        ),
        (
            of_ollama,
            "llama:7b",
            (
                "Model 'llama:7b' is not installed. Did you mean llava:7b or llama3.2:latest? "
                "Get it with `ollama pull llama:7b`."
            ),
            ("llava:7b", "llama3.2:latest"),
        ),
        (of_ollama, "zzz", "Model 'zzz' is not installed. Get it with `ollama pull zzz`.", ()),
        (
            lambda: of_openai({"id": "one"}, {"id": "two"}),
            "zzz",
            "Model 'zzz' is not installed. There is: one, two.",
            (),
        ),
        (
            lambda: of_openai(*({"id": str(number)} for number in range(11))),
            "zzz",
            "Model 'zzz' is not installed. There is: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9.",
            (),
        ),
        (of_openai, "zzz", "Model 'zzz' is not installed.", ()),
    ],
)
async def test_of_a_model_that_is_not_there_it_is_said_what_is(
    catalog_of: Callable[[], Any], name: str, says: str, suggestions: tuple[str, ...]
) -> None:
    async with catalog_of() as (catalog, _):
        error = await catalog.explain_missing(NOT_THERE, name)
    assert (error.message, error.model, error.suggestions) == (says, name, suggestions)


async def test_where_even_the_list_cannot_be_had_the_engines_words_stand() -> None:
    async with of_ollama() as (catalog, fake):
        fake.on("/api/tags", answer(500, {"error": "out of memory"}))
        assert await catalog.explain_missing(NOT_THERE, "zzz") is NOT_THERE
