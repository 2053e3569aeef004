"""The body of POST /v1/responses."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from ollama_mcp.chat import DataURL, JsonSchemaFormat, NamedFunction, ReasoningEffort, Strict
from ollama_mcp.openai_api.schemas import absent, never


class InputText(Strict):
    """A piece of text, of the user or of an earlier answer."""

    type: Literal["input_text", "output_text", "text"]
    text: str


class InputImage(Strict):
    """An image as a `data:` URL."""

    type: Literal["input_image"]
    image_url: DataURL
    detail: str | None = None


class Refusal(Strict):
    """An earlier answer that declined."""

    type: Literal["refusal"]
    refusal: str


Content = str | list[Annotated[InputText | InputImage | Refusal, Field(discriminator="type")]]


class InputMessage(Strict):
    """A message of the conversation."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: Content


class InputCall(Strict):
    """A call that the model made earlier."""

    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str


class InputCallOutput(Strict):
    """What an earlier call gave."""

    type: Literal["function_call_output"]
    call_id: str
    output: Content


class ReasoningText(Strict):
    """A piece of an earlier reasoning."""

    type: Literal["reasoning_text", "summary_text"]
    text: str


class InputReasoning(Strict):
    """What the model thought earlier."""

    type: Literal["reasoning"]
    summary: list[ReasoningText] | None = None
    content: list[ReasoningText] | None = None


def _kind(item: Any) -> str | None:
    """The type of an item; one without is a message."""
    kind = item.get("type", "message") if isinstance(item, dict) else getattr(item, "type", None)
    return kind if isinstance(kind, str) else None


Item = Annotated[
    Annotated[InputMessage, Tag("message")]
    | Annotated[InputCall, Tag("function_call")]
    | Annotated[InputCallOutput, Tag("function_call_output")]
    | Annotated[InputReasoning, Tag("reasoning")],
    Discriminator(
        _kind,
        custom_error_type="item_type",
        custom_error_message="must be a message, function_call, function_call_output or reasoning; nothing is "
        "stored, so an item cannot be referred to (a client that does so stops with store: false)",
    ),
]


class FunctionTool(Strict):
    """A function that the model may call; other kinds of tools run at OpenAI only."""

    type: Literal["function"]
    name: str = Field(min_length=1, max_length=128)
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FunctionChoice(NamedFunction):
    """The one function that the model must call."""

    type: Literal["function"]


class PlainFormat(Strict):
    """Text, or any JSON object."""

    type: Literal["text", "json_object"]


class SchemaFormat(JsonSchemaFormat):
    """JSON of a schema."""

    type: Literal["json_schema"]


class TextOptions(Strict):
    """What form the answer must have."""

    format: Annotated[PlainFormat | SchemaFormat, Field(discriminator="type")] | None = None


class ReasoningOptions(Strict):
    """How much the model is to think."""

    effort: ReasoningEffort | None = None


NOT_KEPT = "is not supported, since no answer is kept; send the whole conversation as input"


class ResponseBody(Strict):
    """The body of POST /v1/responses; nothing is kept, whatever `store` says."""

    model: str = Field(min_length=1, description="The name of an installed model, or an alias")
    input: str | Annotated[list[Item], Field(min_length=1, max_length=512)]
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: int | None = Field(None, ge=1, le=2**31 - 1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    tools: list[FunctionTool] | None = Field(None, max_length=256)
    tool_choice: Literal["auto", "none", "required"] | FunctionChoice | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    reasoning: ReasoningOptions | None = None
    include: list[str] | None = Field(None, description="Only message.output_text.logprobs adds something")
    top_logprobs: int | None = Field(None, ge=0, le=20)
    metadata: dict[str, str] | None = None
    previous_response_id: Annotated[None, never(NOT_KEPT)] = None
    conversation: Annotated[None, never(NOT_KEPT)] = None
    prompt: Annotated[None, never("is not supported, since no prompts are kept")] = None
    background: Annotated[bool | None, AfterValidator(absent("is not supported, since no answer is kept"))] = Field(
        None, json_schema_extra={"enum": [False, None]}
    )
