"""How long a context each prompt gets, and how a prompt that was cut in silence is found out."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from ollama_mcp.chat import ChatRequest, Usage
from ollama_mcp.context import BUCKETS, ContextPlan, ContextPolicy, Estimate, check_not_cut
from ollama_mcp.engines.ollama import OllamaEngine
from ollama_mcp.engines.openai import OpenAIEngine
from ollama_mcp.errors import ContextLengthExceeded, PromptTruncated

from .fake_ollama import FakeModel, FakeOllama, answer

pytestmark = pytest.mark.anyio

PIXEL = "data:image/png;base64,aGk="
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
TOOL = {"type": "function", "function": {"name": "f"}}


def request(text: str = "Hello", **fields: Any) -> ChatRequest:
    return ChatRequest.model_validate({"model": "m", "messages": [{"role": "user", "content": text}], **fields})


def needing(tokens: int) -> ChatRequest:
    """A request that needs so many tokens, with those kept for the answer."""
    return request("x" * 3 * (tokens - 1024 - 8))


@pytest.mark.parametrize(
    ("asked", "estimate"),
    [
        (request("x" * 90), (9, 20, 38)),
        (request("é" * 45), (9, 20, 38)),
        (request("\ud800" * 90), (9, 20, 38)),
        (request(messages=[{"role": "user", "content": "x" * 45}] * 2), (9, 20, 46)),
        (request(messages=[{"role": "assistant", "tool_calls": [CALL] * 10}]), (8, 17, 34)),
        (request("x" * 90, tools=[TOOL] * 2), (18, 41, 70)),
        (request("x" * 90, tools=[TOOL] * 2, tool_choice="none"), (9, 20, 38)),
        (
            request(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PIXEL}}] * 2}]),
            (0, 0, 2056),
        ),
    ],
)
async def test_a_prompt_is_as_long_as_all_that_is_sent_of_it(asked: ChatRequest, estimate: tuple[int, ...]) -> None:
    assert Estimate.of(asked) == Estimate(*estimate)


@asynccontextmanager
async def policy(
    *, fixed: int | None = None, cap: int = 2**20, loaded: int | None = None, **model: Any
) -> AsyncIterator[tuple[ContextPolicy, FakeOllama]]:
    models = {"m:latest": FakeModel(**{"context_length": 2**20, **model}), "other:latest": FakeModel()}
    context = {"other:latest": 512} | ({} if loaded is None else {"m:latest": loaded})
    async with FakeOllama(models=models, loaded=context) as fake, aclosing(OllamaEngine(fake.url)) as engine:
        yield ContextPolicy(engine, fixed=fixed, cap=cap), fake


async def planned(asked: ChatRequest, **settings: Any) -> int | None:
    """The context that is sent, which is what is known of it."""
    async with policy(**settings) as (contexts, _):
        plan = await contexts.plan("m", asked)
    assert plan == ContextPlan(plan.num_ctx, plan.num_ctx, Estimate.of(asked))
    return plan.num_ctx


@pytest.mark.parametrize(
    ("need", "settings", "length"),
    [
        (2000, {}, None),
        (4096, {}, None),
        *((length, {}, length) for length in BUCKETS[1:]),
        *((length + 1, {}, 2 * length) for length in BUCKETS[:-1]),
        (262145, {}, 2**20),
        (2000, {"loaded": 2048}, 2048),
        (2049, {"loaded": 2048}, 4096),
        (5000, {"loaded": 16384}, 16384),
        (5000, {"loaded": 4096}, 8192),
        (5000, {"context_length": 6000}, 6000),
        (5000, {"context_length": None}, 8192),
        (5000, {"cap": 4500}, 4500),
        (5000, {"cap": 4500, "context_length": 6000}, 4500),
        (5000, {"cap": 4500, "loaded": 4800}, 4800),
        (5000, {"parameters": "num_ctx 16384"}, 16384),
        (5000, {"parameters": "num_ctx lots"}, 8192),
        (5000, {"parameters": "num_ctx ²"}, 8192),
        (5000, {"parameters": "num_ctx 2048"}, 8192),
        (2000, {"fixed": 8192}, 8192),
        (9000, {"fixed": 8192, "loaded": 16384}, 8192),
    ],
)
async def test_the_context_is_the_least_that_holds_the_prompt_and_never_less_than_there_is(
    need: int, settings: dict[str, Any], length: int | None
) -> None:
    assert await planned(needing(need), **settings) == length


@pytest.mark.parametrize(
    ("fields", "length"),
    [
        ({"max_tokens": 4096 - 8 - 1}, None),
        ({"max_tokens": 4096 - 8}, 8192),
        ({"num_ctx": 512}, 512),
        ({"options": {"num_ctx": 512}}, 512),
        ({"options": {"num_ctx": "512"}}, None),
        ({"num_ctx": 512, "options": {"num_ctx": 1024}}, 512),
    ],
)
async def test_what_is_asked_for_decides(fields: dict[str, Any], length: int | None) -> None:
    assert await planned(request("x" * 3, **fields)) == length


async def test_what_is_asked_for_comes_before_what_is_fixed() -> None:
    assert await planned(request(num_ctx=512), fixed=8192) == 512


async def test_a_context_is_kept_for_its_model_under_every_spelling_of_its_name() -> None:
    async with policy() as (contexts, fake):
        for name, asked, length in (
            ("m", needing(5000), 8192),
            ("M:latest", request(), 8192),
            ("m:LATEST", needing(9000), 16384),
            ("m", needing(5000), 16384),
            ("m", request(num_ctx=2048), 2048),
            ("m", request(), 2048),
            ("other", request(), 4096),
        ):
            assert (await contexts.plan(name, asked)).num_ctx == length
        assert len(fake.sent("/api/show")) == 2
        assert len([sent for sent in fake.requests if sent.path == "/api/ps"]) == 2


@pytest.mark.parametrize(
    ("text", "settings", "fields", "length"),
    [
        ("x" * 60_010, {"context_length": 6000}, {}, 6000),
        ("x" * 5130, {}, {"num_ctx": 512}, 512),
        ("x" * 5130, {"fixed": 512}, {}, 512),
    ],
)
async def test_a_prompt_that_certainly_does_not_fit_is_refused(
    text: str, settings: dict[str, Any], fields: dict[str, Any], length: int
) -> None:
    assert await planned(request(text[:-10], **fields), **settings) == length
    with pytest.raises(ContextLengthExceeded) as caught:
        await planned(request(text, **fields), **settings)
    error = caught.value
    assert error.message == (
        f"The prompt has at least {length + 1} tokens and the context of m holds {length}: "
        "shorten it by 1 tokens or more, split it, or raise num_ctx."
    )
    assert (error.prompt_tokens, error.context_length) == (length + 1, length)


@pytest.mark.parametrize(
    ("asked", "settings", "length"),
    [
        (None, {}, None),
        (None, {"loaded": 2048}, 2048),
        (None, {"fixed": 8192, "loaded": 2048}, 8192),
        (4096, {"loaded": 2048}, 4096),
    ],
)
async def test_a_model_is_loaded_with_the_context_it_will_be_asked_with(
    asked: int | None, settings: dict[str, Any], length: int | None
) -> None:
    async with policy(**settings) as (contexts, _):
        assert await contexts.to_load("M", asked) == length
        assert (await contexts.plan("m", request())).num_ctx == length


async def test_what_was_chosen_or_found_once_is_not_looked_for_again() -> None:
    async with policy(loaded=2048) as (contexts, fake):
        assert (await contexts.plan("m", needing(5000))).num_ctx == 8192
        assert await contexts.to_load("m", None) == 8192
        fake.loaded["m:latest"] = 512
        assert (await contexts.plan("other", needing(1040))).num_ctx == 4096
        assert (await contexts.plan("m", request())).num_ctx == 8192
        assert [sent.path for sent in fake.requests].count("/api/ps") == 2
    async with policy(loaded=2048) as (contexts, fake):
        assert [(await contexts.plan("m", request())).num_ctx for _ in range(2)] == [2048, 2048]
        assert [sent.path for sent in fake.requests] == ["/api/ps"]


async def test_a_loaded_model_is_found_in_any_case_and_may_not_tell_its_context() -> None:
    async with policy() as (contexts, fake):
        for entry, length in (({"name": "m"}, None), ({"name": "M:Latest", "context_length": 2048}, 2048)):
            fake.on("/api/ps", answer(200, {"models": [entry]}))
            assert (await contexts.plan("m", request())).num_ctx == length


async def test_a_model_is_loaded_with_what_is_asked_for_before_what_is_fixed() -> None:
    async with policy(fixed=8192) as (contexts, _):
        assert await contexts.to_load("m", 512) == 512


async def test_where_the_context_is_the_servers_nothing_is_chosen() -> None:
    async with FakeOllama() as fake, aclosing(OpenAIEngine(fake.url, api_key=None)) as engine:
        contexts = ContextPolicy(engine, fixed=8192, cap=4096)
        asked = needing(9000)
        assert await contexts.plan("m", asked) == ContextPlan(None, None, Estimate.of(asked))
        assert (await contexts.plan("m", request(num_ctx=512))).num_ctx == 512
        assert [await contexts.to_load("m", length) for length in (None, 512)] == [None, 512]
        assert fake.requests == []


@pytest.mark.parametrize(
    ("length", "estimate", "counted", "cut"),
    [
        (4096, (10, 5000, 5000), 0, False),
        (4096, (999, 2000, 4096), 5, False),
        (4096, (999, 2000, 4097), 998, True),
        (4096, (999, 2000, 4097), 999, False),
        (4096, (999, 4097, 5000), 3072, True),
        (4096, (999, 4097, 5000), 3073, False),
        (4096, (999, 4100, 5000), 3075, False),
        (8192, (999, 5000, 5000), 5, False),
        (4096, (999, 4096, 5000), 3000, False),
        (4096, (999, 9000, 9000), 4096, True),
        (4096, (999, 9000, 9000), 4097, False),
        (None, (999, 9000, 9000), 4096, True),
        (None, (999, 4000, 4096), 5, False),
    ],
)
async def test_far_fewer_tokens_than_were_sent_are_a_prompt_that_was_cut(
    length: int | None, estimate: tuple[int, int, int], counted: int, cut: bool
) -> None:
    plan, usage = ContextPlan(length, length, Estimate(*estimate)), Usage(prompt_tokens=counted)
    if not cut:
        check_not_cut("m", plan, usage)
        return
    with pytest.raises(PromptTruncated) as caught:
        check_not_cut("m", plan, usage)
    assert caught.value.message == (
        f"The engine read only {counted} tokens of a prompt of about {estimate[1]}, so the answer ignores a part of "
        "it: shorten the prompt, split it, or raise num_ctx for m."
    )
