"""What the answers look like, for the OpenAPI document; the answers themselves are written without models."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ollama_mcp.chat import ToolCall
from ollama_mcp.service import Health


class Problem(BaseModel):
    """What went wrong; `param` is the field of the request that is to blame."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(BaseModel):
    """Every failure; `detail` is the message once more."""

    error: Problem
    detail: str


class CachedTokens(BaseModel):
    """How many tokens of the prompt did not have to be read again."""

    cached_tokens: int


class TokenCounts(BaseModel):
    """The cost in tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens | None = None


class Logprobs(BaseModel):
    """How probable each token was, and what else it might have been."""

    content: list[dict[str, Any]]
    refusal: None


class AnswerMessage(BaseModel):
    """The model's message; `reasoning` is the same as `reasoning_content`."""

    role: Literal["assistant"]
    content: str | None
    refusal: None
    annotations: list[Any]
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[ToolCall] | None = None


class ChatChoice(BaseModel):
    """The one answer."""

    index: Literal[0]
    message: AnswerMessage
    logprobs: Logprobs | None
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter"]


class Warned(BaseModel):
    """An answer that may say what of the request had no effect."""

    warnings: list[str] | None = None


class ChatCompletion(Warned):
    """A whole answer; a stream has `chat.completion.chunk`s of the same form, with `delta` for `message`."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: TokenCounts | None


class TextChoice(BaseModel):
    """The one answer."""

    index: Literal[0]
    text: str
    logprobs: dict[str, Any] | None
    finish_reason: Literal["stop", "length"]


class Completion(Warned):
    """A whole answer to a prompt."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: TokenCounts | None


class Embedding(BaseModel):
    """The vector of one text, as numbers or as little-endian 32-bit floats in base64."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(BaseModel):
    """The cost in tokens."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(BaseModel):
    """A vector for each text, in their order."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


class Model(BaseModel):
    """A model; `created` is when it was last changed, in seconds since 1970."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(BaseModel):
    """The installed models and the aliases of such."""

    object: Literal["list"]
    data: list[Model]


class ResponseAnswer(Warned):
    """The answer of the Responses API; a stream has events that end with this."""

    model_config = ConfigDict(extra="allow")

    id: str
    object: Literal["response"]
    created_at: int
    status: Literal["completed", "incomplete", "failed", "in_progress"]
    model: str
    output: list[dict[str, Any]]
    usage: dict[str, Any] | None


class Live(BaseModel):
    """The process answers."""

    status: Literal["ok"]


class HealthAnswer(Health):
    """The state of the server and the engine."""

    ollama_url: str = Field(description="The engine's address, whichever engine it is")
