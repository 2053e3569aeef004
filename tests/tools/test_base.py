"""What every tool has in common: what it takes, how it answers, and how it says what went wrong."""

from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest
from mcp.types import CallToolResult, TextContent, ToolAnnotations
from pydantic import BaseModel, Field, model_validator

from ollama_mcp import errors
from ollama_mcp.tools.base import ERROR_META, Arguments, ServiceTool, ToolContext, takes_progress
from ollama_mcp.tools.schemas import make_schemas

pytestmark = pytest.mark.anyio

READS = ToolAnnotations(read_only_hint=True)


class Inner(BaseModel):
    size: int


class EchoArguments(Arguments):
    """What `echo` takes."""

    text: str
    times: int = Field(1, ge=1)
    words: list[str] | None = None
    inner: Inner | None = None

    @classmethod
    def nested(cls) -> frozenset[str]:
        return frozenset({"words", "inner"})

    @model_validator(mode="after")
    def _is_not_shouted(self) -> "EchoArguments":
        if self.text.isupper():
            raise ValueError("do not shout")
        return self


class Echo(BaseModel):
    text: str
    words: list[str] | None = None
    on: date | None = None


async def echo(arguments: EchoArguments, ctx: ToolContext) -> Echo:
    return Echo(text=arguments.text * arguments.times, words=arguments.words)


def tool_of(handler: Any) -> ServiceTool:
    return ServiceTool.of(handler, title="Echo", description="Says it again", annotations=READS, output=Echo)


async def result_of(handler: Any, context: Any = None, **arguments: Any) -> CallToolResult:
    result = await tool_of(handler).run(arguments, context)
    assert isinstance(result, CallToolResult)
    return result


def text_of(result: CallToolResult) -> str:
    [block] = result.content
    assert isinstance(block, TextContent)
    return block.text


def test_a_tool_is_described_by_its_handler_and_its_models() -> None:
    tool = tool_of(echo)
    assert (tool.name, tool.title, tool.description, tool.annotations) == ("echo", "Echo", "Says it again", READS)
    assert list(tool.parameters["properties"]) == ["text", "times", "words", "inner"]
    assert (tool.parameters["required"], tool.parameters["additionalProperties"]) == (["text"], False)
    assert tool.output_schema == make_schemas(EchoArguments, Echo)["output"]
    assert list(tool.output_schema["properties"]) == ["text", "words", "on"]
    assert "title" not in tool.output_schema
    assert tool.is_async


async def test_an_answer_is_given_as_a_structure_and_as_its_text() -> None:
    result = await result_of(echo, text="Grüße", times=2)
    assert (result.structured_content, result.is_error) == ({"text": "GrüßeGrüße"}, False)
    assert text_of(result) == '{\n "text": "GrüßeGrüße"\n}'


async def test_a_date_is_given_as_its_text_and_a_text_that_looks_like_json_stays_a_text() -> None:
    class Plain(Arguments):
        text: str

    async def echo(arguments: Plain, ctx: ToolContext) -> Echo:
        return Echo(text=arguments.text, on=date(2026, 1, 4))

    result = await result_of(echo, text='{"a": 1}')
    assert result.structured_content == {"text": '{"a": 1}', "on": "2026-01-04"}


async def test_a_finished_result_goes_out_as_it_is_and_the_handler_knows_its_call() -> None:
    finished = CallToolResult(content=[TextContent(text="done")])
    seen: list[Any] = []

    async def echo(arguments: EchoArguments, ctx: ToolContext) -> Any:
        seen.append(ctx)
        return finished

    context = SimpleNamespace()
    assert await result_of(echo, context, text="a") is finished
    assert seen == [context]


@pytest.mark.parametrize(
    ("words", "read"), [(["a"], ["a"]), ('["a", "b"]', ["a", "b"]), (' \n["a"]', ["a"]), (None, None)]
)
async def test_a_list_may_come_as_a_json_text(words: Any, read: Any) -> None:
    result = await result_of(echo, text="[]", words=words)
    assert (result.structured_content or {}).get("words") == read


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "text is required"),
        ({"text": "a", "times": 0}, "times must be greater than or equal to 1"),
        ({"text": "a", "times": "2"}, "times must be a valid integer"),
        ({"text": "a", "inner": {"size": []}}, "inner.size must be a valid integer"),
        ({"text": "a", "inner": '{"size": []}'}, "inner.size must be a valid integer"),
        ({"text": "a", "words": "a"}, "words must be a valid list"),
        ({"text": "a", "tmes": 2}, "tmes is not an argument of echo; did you mean times?"),
        ({"text": "a", "zzz": 2}, "zzz is not an argument of echo, which takes text, times, words, inner"),
        ({"text": "A"}, "do not shout"),
        ({"text": 1, "times": 0}, "text must be a valid string; times must be greater than or equal to 1"),
        (
            {"text": "a", "words": [1, 2, 3, 4, 5, 6]},
            "; ".join(f"words.{place} must be a valid string" for place in range(5)),
        ),
    ],
)
async def test_wrong_arguments_are_named_with_what_they_must_be(arguments: dict[str, Any], says: str) -> None:
    result = await result_of(echo, **arguments)
    assert (result.is_error, text_of(result)) == (True, f"Wrong arguments: {says}.")
    assert result.meta == {ERROR_META: {"type": "InvalidRequest", "retryable": False}}


async def test_a_json_text_that_is_none_is_told_with_its_fault() -> None:
    text = text_of(await result_of(echo, text="a", words='["a"'))
    assert text.startswith("Wrong arguments: words is a string that is not valid JSON: Expecting ',' delimiter")


EACH = [
    errors.ServiceError("x"),
    errors.InvalidRequest("x"),
    errors.ContextLengthExceeded("x"),
    errors.Unsupported("x"),
    errors.ModelNotFound("x"),
    errors.EngineUnavailable("x"),
    errors.EngineBusy("x"),
    errors.QueueFull("x"),
    errors.EngineTimeout("x"),
    errors.EngineRejected("x"),
    errors.EngineFailed("x"),
    errors.MalformedAnswer("x"),
    errors.ServerEnding(),
    errors.GenerationBroken("x"),
    errors.PromptTruncated("x"),
]


@pytest.mark.parametrize("error", EACH, ids=lambda error: type(error).__name__)
async def test_each_error_is_told_with_its_name_and_whether_to_try_again(error: errors.ServiceError) -> None:
    async def echo(arguments: EchoArguments, ctx: ToolContext) -> Any:
        raise error

    result = await result_of(echo, text="a")
    assert (result.is_error, text_of(result)) == (True, error.message)
    again = type(error) in (errors.EngineUnavailable, errors.EngineBusy, errors.QueueFull, errors.ServerEnding)
    assert result.meta == {"ollama-mcp/error": {"type": type(error).__name__, "retryable": again}}


@pytest.mark.parametrize("kind", [errors.EngineTimeout, errors.GenerationBroken, errors.PromptTruncated])
async def test_the_text_until_an_error_is_kept(kind: Any) -> None:
    async def echo(arguments: EchoArguments, ctx: ToolContext) -> Any:
        raise kind("It broke off.", partial="Once upon")

    said = text_of(await result_of(echo, text="a"))
    assert said == "It broke off.\n\nThe incomplete answer until then:\nOnce upon"


@pytest.mark.parametrize(
    ("meta", "takes"), [(None, False), ({}, False), ({"progress_token": None}, False), ({"progress_token": 0}, True)]
)
async def test_a_client_that_gave_a_token_takes_progress(meta: Any, takes: bool) -> None:
    assert takes_progress(SimpleNamespace(request_context=SimpleNamespace(meta=meta))) is takes  # type: ignore[arg-type]
