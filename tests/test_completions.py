"""Suggestions while a person types an argument, with the official client."""

import logging

import pytest
from mcp.types import PromptReference, ResourceTemplateReference

from .fake_ollama import FakeModel, FakeOllama, hang
from .harness import ERAS, client_over, warm_ollama

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("mode", ERAS)]

MODEL = ResourceTemplateReference(uri="ollama://models/{name}")


def prompt(name: str) -> PromptReference:
    return PromptReference(name=name)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("", ["llama3.2:latest", "qwen3:8b", "llava:7b", "nomic-embed-text:latest", "gpt-4o"]),
        ("ll", ["llama3.2:latest", "llava:7b"]),
        ("LLaM", ["llama3.2:latest"]),
        ("gpt", ["gpt-4o"]),
        ("zz", []),
    ],
)
async def test_models_are_offered_by_how_they_begin(mode: str, typed: str, offered: list[str]) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode, aliases={"gpt-4o": "qwen3:8b"}) as client:
        completion = (await client.complete(MODEL, {"name": "name", "value": typed})).completion
    assert sorted(completion.values) == sorted(offered)
    assert completion.total == len(offered)
    assert completion.has_more is False


async def test_of_many_models_a_hundred_are_offered_and_the_rest_counted(mode: str) -> None:
    many = {f"model-{number:03}:latest": FakeModel() for number in range(250)}
    async with FakeOllama(models=many) as fake, client_over(fake, mode=mode) as client:
        completion = (await client.complete(MODEL, {"name": "name", "value": "model-"})).completion
    assert len(completion.values) == 100
    assert completion.total == 250
    assert completion.has_more is True


@pytest.mark.parametrize("broken", ["down", "hanging"])
async def test_nothing_is_offered_soon_when_the_engine_does_not_answer(
    mode: str, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        if broken == "down":
            await fake.stop()
        else:
            fake.on("/api/tags", hang)
        with caplog.at_level(logging.INFO, "ollama_mcp"):
            completion = (await client.complete(MODEL, {"name": "name", "value": ""})).completion
    assert completion.values == []
    assert "no models to suggest" in caplog.text


@pytest.mark.parametrize(
    ("name", "argument", "typed", "among"),
    [
        ("explain_code", "language", "py", "Python"),
        ("explain_code", "audience", "a b", "a beginner"),
        ("review_code", "focus", "sec", "security"),
        ("summarize", "length", "one s", "one sentence"),
        ("translate", "target_language", "ger", "German"),
        ("write_tests", "framework", "py", "pytest"),
        ("commit_message", "style", "conv", "conventional commits"),
    ],
)
async def test_prompts_offer_usual_values(mode: str, name: str, argument: str, typed: str, among: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        completion = (await client.complete(prompt(name), {"name": argument, "value": typed})).completion
    assert among in completion.values
    assert all(value.lower().startswith(typed) for value in completion.values)


async def test_frameworks_go_by_the_language_already_given(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        completion = (
            await client.complete(
                prompt("write_tests"), {"name": "framework", "value": ""}, context_arguments={"language": "Rust"}
            )
        ).completion
    assert completion.values == ["cargo test", "proptest"]


@pytest.mark.parametrize(
    ("ref", "argument"),
    [
        (prompt("explain_code"), "code"),
        (prompt("explain_code"), "target_language"),
        (prompt("no_such_prompt"), "language"),
        (ResourceTemplateReference(uri="ollama://nothing/{name}"), "name"),
        (MODEL, "nothing"),
    ],
)
async def test_an_argument_without_usual_values_offers_none(
    mode: str, ref: PromptReference | ResourceTemplateReference, argument: str
) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        completion = (await client.complete(ref, {"name": argument, "value": ""})).completion
    assert completion.values == []
