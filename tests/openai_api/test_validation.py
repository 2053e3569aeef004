"""What is wrong with a request is told by its field and its bound."""

from typing import Annotated, Any, Self

import pytest
from pydantic import BaseModel, Field, model_validator

from ollama_mcp.errors import InvalidRequest
from ollama_mcp.openai_api.responses_schemas import ResponseBody
from ollama_mcp.openai_api.schemas import ChatCompletionBody, EmbeddingBody
from ollama_mcp.openai_api.validation import validate

HELLO = {"role": "user", "content": "Hello"}


def told(model: type[BaseModel], data: Any) -> tuple[str, str | None]:
    with pytest.raises(InvalidRequest) as caught:
        validate(model, data)
    return caught.value.message, caught.value.param


@pytest.mark.parametrize(
    ("change", "param", "words"),
    [
        ({"model": 5}, "model", "must be a string"),
        ({"model": ""}, "model", "must have 1 or more characters"),
        ({"seed": "1"}, "seed", "must be a whole number"),
        ({"seed": 1.5}, "seed", "must be a whole number"),
        ({"temperature": "1"}, "temperature", "must be a number"),
        ({"temperature": 3}, "temperature", "must be at most 2"),
        ({"temperature": -0.5}, "temperature", "must be at least 0"),
        ({"stream": "yes"}, "stream", "must be true or false"),
        ({"options": [1]}, "options", "must be an object"),
        ({"stream_options": 5}, "stream_options", "must be an object"),
        ({"n": 2}, "n", "must be 1; send the request as often as you want answers"),
        ({"keep_alive": []}, "keep_alive", "must be a whole number or a number or a string"),
        ({"think": "x"}, "think", "must be true or false or one of 'low', 'medium', 'high' or 'max'"),
        ({"stop": ["a", 5]}, "stop[1]", "must be a string"),
        ({"messages": "x"}, "messages", "must be a list"),
        ({"messages": []}, "messages", "must have 1 or more items"),
        ({"messages": [HELLO] * 513}, "messages", "must have 512 or fewer items"),
        ({"messages": [HELLO, 5]}, "messages[1]", "must be an object"),
        ({"messages": [{"role": "user"}]}, "messages[0]", "content is required unless there are tool_calls"),
        (
            {"messages": [HELLO | {"role": "x"}]},
            "messages[0].role",
            "must be one of 'system', 'developer', 'user', 'assistant' or 'tool'",
        ),
        (
            {"messages": [HELLO | {"content": [{"type": "x"}]}]},
            "messages[0].content[0]",
            "must have a 'type' of 'text', 'image_url'",
        ),
        ({"messages": [HELLO | {"content": [{"text": "x"}]}]}, "messages[0].content[0]", "needs a 'type'"),
        ({"messages": [HELLO | {"content": ["x"]}]}, "messages[0].content[0]", "must be an object"),
        (
            {"tools": [{"type": "function", "function": {"name": "f" * 129}}]},
            "tools[0].function.name",
            "must have 128 or fewer characters",
        ),
        ({"tool_choice": 5}, "tool_choice", "must be one of 'auto', 'none' or 'required' or an object"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
            "response_format.json_schema.schema",
            "is required",
        ),
    ],
)
def test_a_mistake_is_told_by_its_place_and_what_must_be_there(change: Any, param: str, words: str) -> None:
    data = {"model": "m", "messages": [HELLO]} | change
    assert told(ChatCompletionBody, data) == (f"{param}: {words}", param)


def test_what_is_missing_is_required() -> None:
    assert told(ChatCompletionBody, {"messages": [HELLO]}) == ("model: is required", "model")


@pytest.mark.parametrize(
    ("change", "message", "param"),
    [
        ({"top_logprobs": 2}, "top_logprobs needs logprobs to be true", "top_logprobs"),
        ({"tool_choice": "required"}, "tool_choice asks for a tool call, but tools is empty", "tool_choice"),
    ],
)
def test_a_rule_about_several_fields_is_the_fault_of_the_one_it_names(change: Any, message: str, param: str) -> None:
    assert told(ChatCompletionBody, {"model": "m", "messages": [HELLO]} | change) == (message, param)


def test_what_is_no_object_at_all_has_no_field() -> None:
    for nothing in ([], 5, "must"):
        assert told(ChatCompletionBody, nothing) == ("must be an object", None)


class Half(BaseModel):
    share: Annotated[float, Field(ge=0.5)] | Annotated[float, Field(ge=0.5, le=9)]

    @model_validator(mode="after")
    def _is_no_third(self) -> Self:
        if self.share == 3:
            raise ValueError("thirds are not halves")
        return self


def test_a_bound_keeps_its_fraction_and_is_told_once() -> None:
    assert told(Half, {"share": 0.25})[0] == "share: must be at least 0.5"


def test_a_rule_that_names_no_field_is_the_fault_of_none() -> None:
    assert told(Half, {"share": 3}) == ("thirds are not halves", None)


def test_of_many_mistakes_three_are_told_and_the_rest_counted() -> None:
    data = {"model": "m", "messages": [HELLO], "temperature": 3, "top_p": 3, "max_tokens": 0}
    three = "temperature: must be at most 2; top_p: must be at most 1; max_tokens: must be at least 1"
    assert told(ChatCompletionBody, data) == (three, "temperature")
    assert told(ChatCompletionBody, data | {"seed": "x", "n": 2}) == (f"{three}; and 2 more", "temperature")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "input: must have 1 or more items"),
        ("", "input: must have 1 or more characters"),
        (["x", 5], "input[1]: must be a string"),
        ([["x"]], "input: must be a text or a list of texts; tokens are not taken"),
    ],
)
def test_texts_to_embed_are_told_by_their_number(given: Any, message: str) -> None:
    assert told(EmbeddingBody, {"model": "m", "input": given}) == (message, message.partition(":")[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tool_choice": {"type": "function"}}, "tool_choice.name: is required"),
        ({"input": [{"role": "user"}]}, "input[0].content: is required"),
        (
            {"input": [{"type": "reasoning", "content": [{"type": "x", "text": "y"}]}]},
            "input[0].content[0].type: must be one of 'reasoning_text' or 'summary_text'",
        ),
        ({"text": {"format": {}}}, "text.format: needs a 'type'"),
    ],
)
def test_of_a_choice_of_forms_the_one_that_was_meant_is_told(change: Any, message: str) -> None:
    assert told(ResponseBody, {"model": "m", "input": "x"} | change) == (message, message.partition(":")[0])
