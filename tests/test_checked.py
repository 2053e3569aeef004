"""Checked answers through a real MCP client, over a fake Ollama."""

import json

import pytest
from jsonschema import validate

from .fake_ollama import says
from .harness import client_over, text_of, warm_ollama

pytestmark = pytest.mark.anyio

SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
AS_SCHEMA = {"type": "json_schema", "json_schema": {"schema": SCHEMA}}
INPUT = "The committee met on Monday.\nIt found that the old bridge   must be closed before winter, and said so."


def asking(**arguments) -> dict:
    return {"model": "llama3.2", "prompt": "How old?", "response_format": AS_SCHEMA, **arguments}


async def test_a_valid_answer_is_told_to_have_passed_at_the_first_try() -> None:
    async with warm_ollama() as fake, client_over(fake) as client:
        fake.chat_script = [says('{"age": 7}')]
        result = await client.call_tool("chat_completion", asking())
    assert not result.is_error
    assert result.structured_content["checks"] == {"passed": True, "tries": 1, "failures": []}


async def test_an_answer_against_the_schema_is_asked_for_again_with_the_error() -> None:
    async with warm_ollama() as fake, client_over(fake) as client:
        fake.chat_script = [says('{"age": "seven"}', prompt=10), says('{"age": 7}', prompt=30)]
        result = await client.call_tool("chat_completion", asking())
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert text_of(result) == '{"age": 7}'
    answer = result.structured_content
    validate(answer, tools["chat_completion"].output_schema)
    assert answer["checks"]["passed"] is True
    assert answer["checks"]["tries"] == 2
    assert "at $.age, 'seven' is not of type 'integer'" in answer["checks"]["failures"][0]
    assert answer["usage"]["prompt_tokens"] == 40
    first, second = (sent["messages"] for sent in fake.sent("/api/chat"))
    assert second[: len(first)] == first
    assert second[-2] == {"role": "assistant", "content": '{"age": "seven"}'}
    assert "is not of type 'integer'" in second[-1]["content"]


async def test_an_answer_that_stays_wrong_is_an_error_with_the_last_text_and_each_failure() -> None:
    async with warm_ollama() as fake, client_over(fake) as client:
        fake.chat_script = [says("seven"), says('{"age": "7"}'), says("{}")]
        result = await client.call_tool("chat_completion", asking())
    assert result.is_error
    assert result.content[0].text == "{}"
    assert "3 tries" in result.content[1].text
    checks = result.structured_content["checks"]
    assert (checks["passed"], checks["tries"]) == (False, 3)
    for words, failure in zip(
        ("not valid JSON", "is not of type", "required property"), checks["failures"], strict=True
    ):
        assert words in failure
    assert result.meta["ollama-mcp/error"]["type"] == "AnswerInvalid"


async def test_without_retries_the_model_is_asked_once() -> None:
    async with warm_ollama() as fake, client_over(fake) as client:
        fake.chat_script = [says("seven")]
        result = await client.call_tool("chat_completion", asking(retries=0))
    assert result.is_error
    assert result.structured_content["checks"]["tries"] == len(fake.sent("/api/chat")) == 1


async def test_a_json_object_is_checked_to_be_json() -> None:
    async with warm_ollama() as fake, client_over(fake) as client:
        fake.chat_script = [says('{"age": '), says('{"anything": 1}')]
        result = await client.call_tool("chat_completion", asking(response_format={"type": "json_object"}))
    assert result.structured_content["checks"]["tries"] == 2
    assert not result.is_error


async def test_an_answer_cut_at_max_tokens_is_told_as_that() -> None:
    async with warm_ollama() as fake, client_over(fake) as client:
        fake.chat_script = [says('{"age": ', reason="length")]
        result = await client.call_tool("chat_completion", asking(retries=0))
    assert "cut off at max_tokens" in result.structured_content["checks"]["failures"][0]


async def test_a_retry_tells_in_the_progress_why() -> None:
    seen: list[tuple[float, str]] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, message or ""))

    async with warm_ollama() as fake, client_over(fake) as client:
        fake.chat_script = [says("seven"), says('{"age": 7}')]
        await client.call_tool("chat_completion", asking(), progress_callback=on_progress)
    assert any("asking again" in message for _, message in seen)
    assert [number for number, _ in seen] == sorted({number for number, _ in seen})


@pytest.mark.parametrize(
    ("schema", "words"),
    [({"type": "nonsense"}, "not a valid JSON schema"), ({"$ref": "http://127.0.0.1:9/schema"}, "not in it")],
)
async def test_a_schema_that_cannot_be_used_is_an_error_and_nothing_is_fetched(schema: dict, words: str) -> None:
    form = {"type": "json_schema", "json_schema": {"schema": schema}}
    async with warm_ollama() as fake, client_over(fake) as client:
        fake.chat_script = [says("{}")]
        result = await client.call_tool("chat_completion", asking(response_format=form))
    assert result.is_error
    assert words in text_of(result)
    assert result.meta["ollama-mcp/error"]["type"] == "InvalidRequest"


@pytest.mark.parametrize(
    "answer",
    [
        'It says "the old bridge must be closed before winter," no less.',
        "It says “the old bridge\nmust be closed”.",
        'A "bridge" and a "so called" matter.',
        "Nothing is quoted.",
    ],
)
async def test_quotes_that_stand_in_the_input_pass(answer: str) -> None:
    async with warm_ollama() as fake, client_over(fake) as client:
        fake.chat_script = [says(answer)]
        asked = {"model": "llama3.2", "prompt": INPUT, "quotes_from_input": True}
        result = await client.call_tool("chat_completion", asked)
    assert text_of(result) == answer
    assert result.structured_content["checks"]["passed"] is True


@pytest.mark.parametrize("plain", [True, False], ids=["text", "json"])
async def test_an_invented_quote_is_asked_for_again_and_told_if_it_stays(plain: bool) -> None:
    invented = "They wrote “the new bridge must be closed at once”."
    arguments = {"model": "llama3.2", "prompt": INPUT, "quotes_from_input": True, "retries": 1}
    if not plain:
        invented = json.dumps({"summary": invented}, ensure_ascii=False)
        arguments["response_format"] = {"type": "json_object"}
    async with warm_ollama() as fake, client_over(fake) as client:
        fake.chat_script = [says(invented), says(invented)]
        result = await client.call_tool("chat_completion", arguments)
    assert result.is_error
    assert result.content[0].text == invented
    assert len(fake.sent("/api/chat")) == 2
    assert '"the new bridge must be closed at once"' in fake.sent("/api/chat")[1]["messages"][-1]["content"]


async def test_a_call_of_a_tool_is_not_checked() -> None:
    tool = {"type": "function", "function": {"name": "age", "parameters": {"type": "object"}}}
    async with warm_ollama() as fake, client_over(fake) as client:
        fake.chat_script = [says("", tool_calls=[{"function": {"name": "age", "arguments": {}}}])]
        result = await client.call_tool("chat_completion", asking(tools=[tool]))
    assert not result.is_error
    assert result.structured_content["tool_calls"]
    assert "checks" not in result.structured_content
