"""`embed` and `show_model` through a real MCP client, over a fake Ollama."""

import json

import pytest
from jsonschema import validate

from tests.fake_ollama import FakeOllama, hang, small_ollama
from tests.harness import ERAS, client_over, text_of, warm_ollama

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("mode", ERAS)]


async def test_each_text_gets_a_vector_from_the_newest_embedding_model(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        result = await client.call_tool("embed", {"input": ["one", "two", "three words here"]})
        one = await client.call_tool("embed", {"input": "two"})
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    answer = result.structured_content
    validate(answer, tools["embed"].output_schema)
    assert answer["model"] == "nomic-embed-text:latest"
    assert (len(answer["embeddings"]), answer["dimensions"]) == (3, 64)
    assert answer["usage"]["prompt_tokens"] == 5
    assert one.structured_content["embeddings"] == [answer["embeddings"][1]]
    assert json.loads(text_of(result)) == answer
    assert fake.sent("/api/embed")[0]["truncate"] is False


async def test_vectors_are_as_short_as_asked_for(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        result = await client.call_tool("embed", {"input": "one", "dimensions": 8, "model": "nomic-embed-text"})
        too_many = await client.call_tool("embed", {"input": "one", "dimensions": 999})
    assert result.structured_content["dimensions"] == len(result.structured_content["embeddings"][0]) == 8
    assert too_many.is_error
    assert "64 dimensions" in text_of(too_many)


async def test_without_an_embedding_model_the_error_says_how_to_get_one(mode: str) -> None:
    models = {name: model for name, model in small_ollama().items() if "embed" not in name}
    async with warm_ollama(models=models) as fake, client_over(fake, mode=mode) as client:
        result = await client.call_tool("embed", {"input": "one"})
    assert result.is_error
    assert "`ollama pull nomic-embed-text`" in text_of(result)


async def test_a_call_without_progress_ends_before_its_client_gives_up(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode, soft_deadline=0.1) as client:
        fake.on("/api/embed", hang)
        result = await client.call_tool("embed", {"input": ["one"] * 5})
        await fake.wait_disconnected()
    assert result.is_error
    assert "The embedding of 5 texts is not ready after 0.1 s" in text_of(result)


async def test_no_text_at_all_is_a_wrong_argument(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        assert (await client.call_tool("embed", {"input": []})).is_error
        assert (await client.call_tool("embed", {})).is_error


async def test_a_model_is_shown_whole_but_for_its_licence(mode: str) -> None:
    async with FakeOllama() as fake, client_over(fake, mode=mode) as client:
        short = (await client.call_tool("show_model", {"model": "LLAMA3.2"})).structured_content
        whole = (await client.call_tool("show_model", {"model": "llama3.2", "license": True})).structured_content
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    validate(whole, tools["show_model"].output_schema)
    assert short["template"] == "{{ .Prompt }}"
    assert short["context_length"] == 131072
    assert short["capabilities"] == ["completion", "tools"]
    assert short["default_parameters"] == {"stop": ["<|eot_id|>"]}
    assert "license" not in short
    assert whole["license"] == "The license"
    assert {**whole, "name": short["name"]} == {**short, "license": "The license"}


async def test_a_missing_model_is_an_error_with_close_names(mode: str) -> None:
    async with FakeOllama() as fake, client_over(fake, mode=mode) as client:
        result = await client.call_tool("show_model", {"model": "lama3.2"})
    assert result.is_error
    assert "Did you mean llama3.2" in text_of(result)
