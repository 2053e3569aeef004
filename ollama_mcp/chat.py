"""The words both faces and all engines share: a chat request, the events of its answer, and their fold.

The request has the shape of OpenAI's chat completions, with Ollama's own settings as named fields.
"""

import base64
import binascii
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple, Self, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from ollama_mcp.setting_values import DURATION

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]

_DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,", re.IGNORECASE)


class Lazy(BaseModel):
    """What checks its values is built on first use: it takes a while, and no client waits for it to see the tools."""

    model_config = ConfigDict(defer_build=True)


class Strict(Lazy):
    """Values are taken as they are: a string is not a number, and unknown fields are ignored."""

    model_config = ConfigDict(strict=True, frozen=True)


class TextPart(Strict):
    """A piece of text in a message."""

    type: Literal["text"]
    text: str


def _is_inline(url: str) -> str:
    match = _DATA_URL.match(url)
    if match is None:
        raise ValueError("must be a data URL such as data:image/png;base64,...; remote images are not fetched")
    try:
        base64.b64decode(url[match.end() :], validate=True)
    except binascii.Error as error:
        raise ValueError(f"is not valid base64: {error}") from None
    return url


DataURL = Annotated[str, AfterValidator(_is_inline)]


class ImageURL(Strict):
    """An image as a `data:` URL; remote addresses are refused, since fetching them would be ours to guard."""

    url: DataURL
    detail: Literal["auto", "low", "high"] | None = None

    @property
    def base64(self) -> str:
        """The image's bytes in base64, without the URL around them."""
        return self.url[self.url.index(",") + 1 :]


class ImagePart(Strict):
    """An image in a message."""

    type: Literal["image_url"]
    image_url: ImageURL


class FunctionCall(Strict):
    """The function a model wants called; `arguments` is a JSON text, as the model wrote it."""

    name: str
    arguments: str


class ToolCall(Strict):
    """One call of a tool by the model."""

    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


class Message(Strict):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Annotated[TextPart | ImagePart, Field(discriminator="type")]] | None = None
    name: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.content is None and not self.tool_calls:
            raise ValueError("content is required unless there are tool_calls")
        return self

    @property
    def text(self) -> str:
        """The text of the message; the parts of a list are joined as they stand."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content if isinstance(part, TextPart))
        return self.content or ""

    @property
    def images(self) -> list[str]:
        """The images of the message in base64."""
        if isinstance(self.content, list):
            return [part.image_url.base64 for part in self.content if isinstance(part, ImagePart)]
        return []


class FunctionDefinition(Strict):
    """A function that the model may call; `parameters` is its JSON schema, passed on whole."""

    name: str = Field(min_length=1, max_length=128)
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolDefinition(Strict):
    """A tool that the model may call."""

    type: Literal["function"] = "function"
    function: FunctionDefinition


class NamedFunction(Strict):
    """The name of a function."""

    name: str


class NamedToolChoice(Strict):
    """The one tool that the model must call."""

    type: Literal["function"]
    function: NamedFunction


class JsonSchemaFormat(Strict):
    """A JSON schema for the answer."""

    model_config = ConfigDict(strict=True, frozen=True, populate_by_name=True, protected_namespaces=())

    name: str = "answer"
    description: str | None = None
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class ResponseFormat(Strict):
    """What form the answer must have."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaFormat | None = None

    @model_validator(mode="after")
    def _has_its_schema(self) -> Self:
        if self.type == "json_schema" and self.json_schema is None:
            raise ValueError('json_schema is required when type is "json_schema"')
        return self


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


STOP_SCHEMA = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "maxItems": 64}]}
StopSequences = Annotated[list[str], BeforeValidator(_as_list), Field(max_length=64), WithJsonSchema(STOP_SCHEMA)]
ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class GenerationOptions(Strict):
    """How a model is to answer. Unset means: as the model has it."""

    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    max_tokens: int | None = Field(None, ge=1, le=2**31 - 1)
    stop: StopSequences | None = None
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    response_format: ResponseFormat | None = None
    tools: list[ToolDefinition] | None = Field(None, max_length=256)
    tool_choice: Literal["auto", "none", "required"] | NamedToolChoice | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: ReasoningEffort | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    num_ctx: int | None = Field(None, ge=256, le=2**24, description="Context length in tokens; chosen if unset")
    top_k: int | None = Field(None, ge=0, le=2**31 - 1)
    min_p: float | None = Field(None, ge=0, le=1)
    typical_p: float | None = Field(None, ge=0, le=1)
    repeat_penalty: float | None = Field(None, ge=0, le=10)
    repeat_last_n: int | None = Field(None, ge=-1, le=2**31 - 1)
    keep_alive: int | float | str | None = Field(None, description='Stay loaded for: seconds, "5m", -1 for ever')
    think: bool | Literal["low", "medium", "high", "max"] | None = None
    options: dict[str, Any] | None = Field(None, description="Further settings of Ollama, such as num_batch")

    @field_validator("keep_alive")
    @classmethod
    def _is_a_duration(cls, value: float | str | None) -> float | str | None:
        if isinstance(value, str) and not DURATION.fullmatch(value):
            raise ValueError('must be seconds as a number, or a duration such as "5m", "1h30m" or "-1m"')
        return value

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs to be true")
        if isinstance(self.tool_choice, NamedToolChoice) or self.tool_choice == "required":
            names = [tool.function.name for tool in self.tools or ()]
            if not names:
                raise ValueError("tool_choice asks for a tool call, but tools is empty")
            if isinstance(self.tool_choice, NamedToolChoice) and self.tool_choice.function.name not in names:
                raise ValueError(f"tool_choice names {self.tool_choice.function.name!r}, which is not in tools")
        return self


class ChatRequest(GenerationOptions):
    """A conversation to be continued by a model, and how."""

    model: str | None = None
    messages: list[Message] = Field(min_length=1, max_length=512)


class Usage(Lazy):
    """Token counts as the engine gave them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int | None = None

    def __add__(self, other: "Usage") -> "Usage":
        cached = (self.cached_tokens, other.cached_tokens)
        return Usage(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            total_tokens=self.total_tokens + other.total_tokens,
            cached_tokens=None if cached == (None, None) else sum(tokens or 0 for tokens in cached),
        )


class Timings(Lazy):
    """Where the time went, in seconds; the rate in tokens per second. None where the engine does not say."""

    load: float | None = None
    prompt: float | None = None
    generation: float | None = None
    tokens_per_second: float | None = None


class Delta(NamedTuple):
    """A piece of the answer. Tool calls come whole, each once; logprobs have OpenAI's token shape.

    A tuple, since one is made for each token, and a frozen dataclass takes three times as long.
    """

    content: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    logprobs: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """The end of the answer; an event stream that stops without one is broken."""

    model: str
    finish_reason: FinishReason
    usage: Usage
    timings: Timings
    warnings: tuple[str, ...] = ()


ChatEvent = Delta | Done


class Checks(Lazy):
    """How an answer fared that was checked."""

    passed: bool
    tries: int = Field(description="How often the model was asked")
    failures: list[str] = Field(description="What was wrong with each try that failed")


class ChatResult(Lazy):
    """A whole answer."""

    model: str
    content: str
    reasoning: str | None = None
    tool_calls: list[ToolCall] | None = None
    finish_reason: FinishReason | Literal["deadline", "running", "cancelled"] = Field(
        description='"deadline" or "running": the text so far of an answer that goes on as the job job_id'
    )
    usage: Usage | None = Field(None, description="Of all tries and parts; absent before the end")
    timings: Timings | None = None
    logprobs: list[dict[str, Any]] | None = None
    warnings: list[str] = Field(default_factory=list)
    checks: Checks | None = None
    parts: int | None = Field(None, description="In how many parts a text was read that did not fit")
    job_id: str | None = None


Ask = Callable[[ChatRequest], Awaitable[ChatResult]]
"""Has a request answered."""


@dataclass(slots=True)
class Fold:
    """Gathers the events of an answer; readable at any time, whole once `done` is set.

    They are only kept until somebody asks, since of most answers that stream by nobody does.
    """

    deltas: list[Delta] = field(default_factory=list)
    done: Done | None = None

    def add(self, events: Sequence[ChatEvent]) -> None:
        """Take in the next events, `Done` last if it is among them."""
        if isinstance(last := events[-1], Done):
            self.done = last
            events = events[:-1]
        self.deltas += cast("Sequence[Delta]", events)

    @property
    def content(self) -> str:
        """The text so far."""
        return "".join([delta.content for delta in self.deltas])

    @property
    def reasoning(self) -> str:
        """The reasoning so far."""
        return "".join([delta.reasoning for delta in self.deltas])

    def result(self) -> ChatResult:
        """The whole answer; only once the stream has ended with `Done`."""
        if self.done is None:
            raise ValueError("the stream has not ended")
        return ChatResult(
            model=self.done.model,
            content=self.content,
            reasoning=self.reasoning or None,
            tool_calls=[call for delta in self.deltas for call in delta.tool_calls] or None,
            finish_reason=self.done.finish_reason,
            usage=self.done.usage,
            timings=self.done.timings,
            logprobs=[token for delta in self.deltas for token in delta.logprobs] or None,
            warnings=list(self.done.warnings),
        )


async def fold(batches: AsyncIterator[list[ChatEvent]]) -> ChatResult:
    """Read a stream of events to its end and give the whole answer."""
    gathered = Fold()
    async for events in batches:
        gathered.add(events)
    return gathered.result()
