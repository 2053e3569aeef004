"""The request bodies; the published OpenAPI document is made from these same models.

A field that OpenAI knows and that would change the answer is refused here; one that would not is ignored,
as is every unknown one.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, WithJsonSchema

from ollama_mcp.chat import ChatRequest, Message, StopSequences, Strict

MAX_INPUTS = 2048


def absent(why: str) -> Callable[[object], object]:
    """A validator that lets only an unset or empty value through; `why` continues "field: "."""

    def check(value: object) -> object:
        if value:
            raise ValueError(why)
        return value

    return check


def never(why: str) -> BeforeValidator:
    """The same for a field that must be null."""

    def check(value: object) -> object:
        if value is not None:
            raise ValueError(why)
        return value

    return BeforeValidator(check)


def _one(value: int | None) -> int | None:
    if value not in {None, 1}:
        raise ValueError("must be 1; send the request as often as you want answers")
    return value


One = Annotated[int | None, AfterValidator(_one), Field(None, description="Only 1", json_schema_extra={"const": 1})]
LogitBias = Annotated[
    dict[str, Any] | None,
    AfterValidator(absent("is not supported, since Ollama has no such option")),
    Field(None, description="Must be empty", json_schema_extra={"maxProperties": 0}),
]


class StreamOptions(Strict):
    """What else a stream carries."""

    include_usage: bool | None = Field(None, description="Whether the token counts come as a last chunk")


def _text_only(modalities: list[str] | None) -> list[str] | None:
    if modalities is not None and modalities != ["text"]:
        raise ValueError('must be ["text"]; no other output is made')
    return modalities


def _conversation_first(schema: dict[str, Any]) -> None:
    """Put what every request has before the many settings, for those who read the document."""
    properties = schema["properties"]
    schema["properties"] = {name: properties[name] for name in ("model", "messages", "stream")} | properties


class ChatCompletionBody(ChatRequest):
    """The body of POST /v1/chat/completions."""

    model_config = ConfigDict(json_schema_extra=_conversation_first)

    model: str = Field(min_length=1, description="The name of an installed model, or an alias")
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_completion_tokens: int | None = Field(None, ge=1, le=2**31 - 1)
    n: One
    logit_bias: LogitBias
    modalities: Annotated[
        list[str] | None,
        AfterValidator(_text_only),
        WithJsonSchema({"anyOf": [{"const": ["text"]}, {"type": "null"}]}),
    ] = None
    audio: Annotated[None, never("is not supported; only text is answered")] = None
    functions: Annotated[list[Any] | None, AfterValidator(absent("is not supported any more; use tools"))] = Field(
        None, json_schema_extra={"maxItems": 0}
    )
    web_search_options: Annotated[None, never("is not supported; nothing is searched")] = None

    def to_request(self) -> ChatRequest:
        """What the service needs of it."""
        values = {name: getattr(self, name) for name in ChatRequest.model_fields}
        if self.max_completion_tokens is not None:
            values["max_tokens"] = self.max_completion_tokens
        return ChatRequest.model_construct(**values)


def _one_text(value: object) -> object:
    if not isinstance(value, list):
        return value
    if len(value) == 1 and isinstance(value[0], str):
        return value[0]
    if value and all(isinstance(item, str) for item in value):
        raise ValueError("must be one text; send several as several requests")
    raise ValueError("must be a text; tokens are not taken")


def _texts(value: object) -> object:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and value and not any(isinstance(item, str) for item in value):
        raise ValueError("must be a text or a list of texts; tokens are not taken")
    return value


NonEmpty = Annotated[str, Field(min_length=1)]
Prompt = Annotated[
    str,
    BeforeValidator(_one_text, json_schema_input_type=str | Annotated[list[str], Field(min_length=1, max_length=1)]),
]
Inputs = Annotated[
    list[NonEmpty],
    Field(min_length=1, max_length=MAX_INPUTS),
    BeforeValidator(
        _texts,
        json_schema_input_type=NonEmpty | Annotated[list[NonEmpty], Field(min_length=1, max_length=MAX_INPUTS)],
    ),
]


class CompletionBody(Strict):
    """The body of POST /v1/completions."""

    model: str = Field(min_length=1)
    prompt: Prompt
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1, le=2**31 - 1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    stop: StopSequences | None = None
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    logprobs: int | None = Field(None, ge=0, le=5)
    echo: bool | None = None
    n: One
    best_of: One
    logit_bias: LogitBias
    suffix: Annotated[str | None, AfterValidator(absent("is not supported; only text after the prompt is made"))] = (
        Field(None, json_schema_extra={"maxLength": 0})
    )

    def to_request(self) -> ChatRequest:
        """The prompt as a conversation of one message."""
        shared = (
            "model",
            "max_tokens",
            "temperature",
            "top_p",
            "stop",
            "seed",
            "presence_penalty",
            "frequency_penalty",
        )
        return ChatRequest.model_construct(
            messages=[Message.model_construct(role="user", content=self.prompt)],
            logprobs=self.logprobs is not None or None,
            top_logprobs=self.logprobs,
            **{name: getattr(self, name) for name in shared},
        )


class EmbeddingBody(Strict):
    """The body of POST /v1/embeddings."""

    model: str = Field(min_length=1)
    input: Inputs
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = Field(None, ge=1, le=2**16)
