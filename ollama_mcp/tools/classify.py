"""The tool `classify`: a decision about a text, with probabilities."""

from typing import Annotated, Literal, Self

from mcp.types import ToolAnnotations
from pydantic import Field, StringConstraints, model_validator

from ollama_mcp.classify import INSTRUCTIONS, MAX_CHOICES, Classification, from_answers, from_endpoint
from ollama_mcp.engines.base import DecideRequest
from ollama_mcp.service import Service
from ollama_mcp.tools.answer import waited_for
from ollama_mcp.tools.base import Arguments, ServiceTool, ToolContext

Choice = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]


class ClassifyArguments(Arguments):
    """What `classify` takes."""

    text: str = Field(min_length=1)
    choices: list[Choice] | None = Field(None, min_length=2, max_length=MAX_CHOICES, description="Or give type")
    type: Literal["choice", "yes_no", "score"] = "choice"
    min: int = Field(1, ge=-1000, le=1000, description="For score")
    max: int = Field(5, ge=-1000, le=1000)
    instruction: str | None = Field(None, min_length=1, description="What to decide")
    model: str | None = None

    @classmethod
    def nested(cls) -> frozenset[str]:
        """The arguments that are lists or objects and never strings."""
        return frozenset({"choices"})

    @model_validator(mode="after")
    def _is_one_question(self) -> Self:
        if (self.choices is not None) != (self.type == "choice"):
            raise ValueError('give either choices, or type "yes_no" or "score"')
        if self.choices is not None and len(set(self.choices)) < len(self.choices):
            raise ValueError("choices names one twice")
        if self.type == "score" and not 1 <= self.max - self.min < MAX_CHOICES:
            raise ValueError(f"max must be above min, by less than {MAX_CHOICES}")
        return self

    def request(self) -> DecideRequest:
        """The question these arguments stand for."""
        choices = self.choices or ["yes", "no"]
        if self.type == "score":
            choices = [str(score) for score in range(self.min, self.max + 1)]
        instruction = self.instruction or INSTRUCTIONS[self.type]
        return DecideRequest(
            model=self.model, text=self.text, kind=self.type, choices=choices, instruction=instruction
        )


def classify_tool(service: Service) -> ServiceTool:
    """The tool over a service."""

    async def decide(request: DecideRequest) -> Classification:
        decision = await service.decide(request)
        return await from_answers(service.answer, request) if decision is None else from_endpoint(request, decision)

    async def classify(arguments: ClassifyArguments, ctx: ToolContext) -> Classification:
        return await waited_for(decide(arguments.request()), ctx, service, what="The decision")

    return ServiceTool.of(
        classify,
        title="Classify",
        description="Have a local model decide about a text: one of some choices, yes or no, or a score; with "
        "probabilities.",
        annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False),
        output=Classification,
    )
