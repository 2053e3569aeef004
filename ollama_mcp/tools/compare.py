"""The tool `compare_models`: one question to several models, side by side."""

from functools import partial
from typing import Annotated

from mcp.types import CallToolResult, TextContent, ToolAnnotations
from pydantic import Field

from ollama_mcp.batch import Outcome, ask_all
from ollama_mcp.chat import ChatRequest, FinishReason, Lazy, Message, Timings, Usage
from ollama_mcp.errors import EngineTimeout
from ollama_mcp.service import Service
from ollama_mcp.tools.answer import deadline_of
from ollama_mcp.tools.base import FILES, Arguments, ServiceTool, ToolContext
from ollama_mcp.tools.counting import Counter


class CompareArguments(Arguments):
    """What `compare_models` takes."""

    prompt: str = Field(min_length=1)
    models: Annotated[list[str], Field(min_length=2, max_length=8)]
    system: str | None = None
    files: list[str] | None = Field(None, description=FILES)
    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    seed: int | None = None
    think: bool | None = None
    concurrency: int | None = Field(None, ge=1, le=4, description="Default 1: few models fit in memory together")

    @classmethod
    def nested(cls) -> frozenset[str]:
        """The arguments that are lists or objects and never strings."""
        return frozenset({"models", "files"})

    def request(self) -> ChatRequest:
        """What every model is asked."""
        messages = [Message(role="user", content=self.prompt)]
        if self.system is not None:
            messages.insert(0, Message(role="system", content=self.system))
        return ChatRequest(
            messages=messages,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            seed=self.seed,
            think=self.think,
        )


class Compared(Lazy):
    """One model's answer, or why there is none; times in seconds."""

    model: str
    content: str | None = None
    reasoning: str | None = None
    error: str | None = None
    finish_reason: FinishReason | None = None
    seconds: float | None = Field(None, description="From the question to the end, loading included")
    timings: Timings | None = None
    usage: Usage | None = None
    warnings: list[str] | None = None


class Comparison(Lazy):
    """The answers, in the order in which the models were named."""

    results: list[Compared]


def compare_tool(service: Service) -> ServiceTool:
    """The tool over a service."""

    async def compare_models(arguments: CompareArguments, ctx: ToolContext) -> CallToolResult:
        request = await service.files.attach(arguments.request(), arguments.files)
        models = arguments.models
        counter = Counter(ctx.report_progress, total=len(models))
        waiting = list(models)

        async def asking(model: str) -> ChatRequest:
            return request.model_copy(update={"model": model})

        async def settled(index: int, outcome: Outcome) -> None:
            waiting.remove(models[index])
            how = "failed" if outcome.error else "answered"
            await counter.tell(len(models) - len(waiting), f"{models[index]} {how} after {outcome.seconds:.1f} s")

        deadline = deadline_of(ctx, service)
        async with counter.beating(service.settings.heartbeat, lambda: f"waiting for {', '.join(waiting)}"):
            outcomes = await ask_all(
                service,
                [partial(asking, model) for model in models],
                # Elsewhere than in Ollama the models are served side by side, each with its memory.
                concurrency=arguments.concurrency or (4 if service.engine.name == "openai" else 1),
                deadline=deadline,
                settled=settled,
            )
        if not any(outcomes):
            raise EngineTimeout(
                f"No model answered within {deadline:g} s; set max_tokens, or name fewer models. A client that asks "
                "for progress has no such limit."
            )
        comparison = Comparison(
            results=[_compared(model, outcome) for model, outcome in zip(models, outcomes, strict=True)]
        )
        return CallToolResult(
            content=[TextContent(text=comparison.model_dump_json(exclude_none=True, indent=1))],
            structured_content=comparison.model_dump(mode="json", exclude_none=True),
            is_error=all(result.content is None for result in comparison.results),
        )

    return ServiceTool.of(
        compare_models,
        title="Compare models",
        description="One prompt to several local models: each answer with its timings, or its error.",
        annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False),
        output=Comparison,
    )


def _compared(model: str, outcome: Outcome | None) -> Compared:
    if outcome is None:
        return Compared(
            model=model,
            error="Not done: the time that a call without progress may take was over; ask this model alone.",
        )
    if (result := outcome.result) is None:
        return Compared(model=model, error=outcome.error.message if outcome.error else None, seconds=outcome.seconds)
    return Compared(
        model=result.model,
        content=result.content,
        reasoning=result.reasoning,
        finish_reason=result.finish_reason,
        seconds=outcome.seconds,
        timings=result.timings,
        usage=result.usage,
        warnings=result.warnings or None,
    )
