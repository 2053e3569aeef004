"""What every engine can do; the service knows no more than this.

An engine raises only `ollama_mcp.errors.ServiceError`s: whatever its libraries raise is translated at
its edge. It waits for as long as it takes, since deadlines are the service's; only connecting is bounded.
"""

from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Sequence
from typing import Literal, Protocol

from pydantic import Field

from ollama_mcp.chat import ChatEvent, ChatRequest, Lazy, Usage
from ollama_mcp.errors import ServiceError
from ollama_mcp.settings import EngineName


class ModelInfo(Lazy):
    """An installed model. None where the engine does not say."""

    name: str
    size_bytes: int | None = None
    parameters: str | None = Field(None, description='Number of weights, such as "8.0B"')
    quantization: str | None = Field(None, description='Such as "Q4_K_M"')
    family: str | None = None
    context_length: int | None = Field(None, description="The longest context the model can have, in tokens")
    capabilities: list[str] = Field(
        default_factory=list, description="Such as completion, tools, vision, thinking, embedding"
    )
    modified_at: str | None = None
    digest: str | None = None


class ModelDetails(ModelInfo):
    """All that the engine tells about one model."""

    license: str | None = None
    template: str | None = None
    system: str | None = None
    default_parameters: dict[str, list[str]] = Field(
        default_factory=dict, description='What the Modelfile sets, such as {"stop": ["<|im_end|>"]}'
    )


class RunningModel(Lazy):
    """A model that is loaded now."""

    name: str
    size_bytes: int | None = None
    vram_bytes: int | None = None
    context_length: int | None = Field(None, description="The context it is loaded with, in tokens")
    expires_at: str | None = None


class EmbedRequest(Lazy):
    """Texts to be turned into vectors."""

    model: str
    input: list[str]
    dimensions: int | None = None
    keep_alive: int | float | str | None = None


class EmbedResult(Lazy):
    """One vector for each text, in the order of the texts."""

    model: str
    embeddings: list[list[float]]
    usage: Usage


class DecideRequest(Lazy):
    """A question about a text whose answer is one of some choices: for yes_no two, for score numbers that grow."""

    model: str | None = None
    text: str
    kind: Literal["choice", "yes_no", "score"]
    choices: list[str]
    instruction: str


class Decision(Lazy):
    """How probable each choice is, all of them together 1."""

    model: str
    probabilities: dict[str, float]


class PullProgress(Lazy):
    """One step of a download; bytes of the layer under way, where there is one."""

    status: str
    digest: str | None = None
    completed: int | None = None
    total: int | None = None


class Engine(Protocol):
    """Something that runs models. `ChatRequest.model` is always set when it comes here."""

    name: EngineName
    sets_context: bool
    """Whether a request may choose its context length by `num_ctx`, at the price of a reload."""

    @property
    def address(self) -> str:
        """Where the engine is, for messages to a person."""

    def chat(self, request: ChatRequest) -> AsyncGenerator[list[ChatEvent]]:
        """The answer as it comes, `Done` last. Closing the generator stops the generation.

        A list has the events that came together and is never empty. All that is done for a wait, such as a
        deadline, is done for a list, and a fast model or a busy machine makes the lists long.
        """

    async def embed(self, request: EmbedRequest) -> EmbedResult:
        """Vectors for texts; a text that does not fit is an error, never cut."""

    async def decide(self, request: DecideRequest) -> Decision | None:
        """Decide by a way of the engine's own; None if it has none for this model."""

    async def models(self) -> list[ModelInfo]:
        """The installed models, most recently changed first."""

    async def show(self, model: str) -> ModelDetails:
        """One model in detail; `ModelNotFound` if it is not installed."""

    async def running(self) -> list[RunningModel]:
        """The loaded models."""

    async def load(self, model: str, *, num_ctx: int | None = None, keep_alive: float | str | None = None) -> None:
        """Load a model, and return once it is ready."""

    async def unload(self, model: str) -> None:
        """Free the memory a model takes."""

    def pull(self, model: str) -> AsyncGenerator[PullProgress]:
        """Download a model."""

    async def delete(self, model: str) -> None:
        """Remove a model from the disk."""

    async def version(self) -> str | None:
        """The engine's version; None if it has none to tell. The cheapest way to see that it is there."""

    async def aclose(self) -> None:
        """Let go of connections and processes."""


def in_batches(lines: Iterable[bytes], read: Callable[[bytes], Sequence[ChatEvent]]) -> Generator[list[ChatEvent]]:
    """The events of all lines in one list, unless there are none; where one fails, those before it come first."""
    batch: list[ChatEvent] = []
    try:
        for line in lines:
            batch += read(line)
    except ServiceError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch
