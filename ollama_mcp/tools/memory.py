"""The tools `load_model` and `unload_model`."""

import time

from mcp.types import ToolAnnotations
from pydantic import Field, field_validator

from ollama_mcp.chat import Lazy
from ollama_mcp.engines.base import RunningModel
from ollama_mcp.service import Service
from ollama_mcp.setting_values import keep_alive
from ollama_mcp.tools.answer import waited_for
from ollama_mcp.tools.base import Arguments, ServiceTool, ToolContext

CHANGES_MEMORY = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)


class LoadArguments(Arguments):
    """What `load_model` takes."""

    model: str | None = None
    keep_alive: int | float | str | None = Field(None, description='Seconds, "30m", -1 for ever')
    num_ctx: int | None = Field(None, ge=256, le=2**24)

    @field_validator("keep_alive")
    @classmethod
    def _is_a_duration(cls, value: float | str | None) -> float | str | None:
        return keep_alive(value) if isinstance(value, str) else value


class UnloadArguments(Arguments):
    """What `unload_model` takes."""

    model: str


class Loaded(RunningModel):
    """A model that is now loaded."""

    seconds: float = Field(description="How long it took")


class Unloaded(Lazy):
    """A model that is not loaded any more."""

    model: str


def memory_tools(service: Service) -> list[ServiceTool]:
    """The tools over a service."""

    async def load_model(arguments: LoadArguments, ctx: ToolContext) -> Loaded:
        started = time.monotonic()
        work = service.load(arguments.model, num_ctx=arguments.num_ctx, keep_alive=arguments.keep_alive)
        running = await waited_for(work, ctx, service, what=arguments.model or "The model")
        return Loaded(**running.model_dump(), seconds=round(time.monotonic() - started, 3))

    async def unload_model(arguments: UnloadArguments, ctx: ToolContext) -> Unloaded:
        return Unloaded(model=await service.unload(arguments.model))

    return [
        ServiceTool.of(
            load_model,
            title="Load model",
            description="Load a local model into memory, so that the next call answers at once.",
            annotations=CHANGES_MEMORY,
            output=Loaded,
        ),
        ServiceTool.of(
            unload_model,
            title="Unload model",
            description="Free the memory a local model takes.",
            annotations=CHANGES_MEMORY,
            output=Unloaded,
        ),
    ]
