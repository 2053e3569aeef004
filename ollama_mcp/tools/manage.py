"""The tools that change what is installed: `pull_model` and `delete_model`, each only if the person allowed it."""

from contextlib import aclosing
from typing import Literal

import anyio
from mcp.types import InputRequiredResult, ToolAnnotations
from pydantic import Field

from ollama_mcp.catalog import same_model
from ollama_mcp.chat import Lazy
from ollama_mcp.engines.base import PullProgress
from ollama_mcp.errors import ModelNotFound
from ollama_mcp.service import Service
from ollama_mcp.tools.answer import deadline_of
from ollama_mcp.tools.base import Arguments, ServiceTool, ToolContext
from ollama_mcp.tools.consent import consent
from ollama_mcp.tools.counting import Counter

THROTTLE = 0.2


class ModelArguments(Arguments):
    """A model by its name."""

    model: str = Field(description="Such as llama3.2 or hf.co/user/model:Q4_K_M")


class Pulled(Lazy):
    """How far a download is; sizes in bytes."""

    model: str
    status: Literal["installed", "incomplete"]
    completed: int
    total: int
    advice: str | None = None


class Deleted(Lazy):
    """A model that is not installed any more."""

    model: str
    freed_bytes: int | None = Field(None, description="Its size; layers that other models share stay on the disk")


def manage_tools(service: Service) -> list[ServiceTool]:
    """The tools over a service that its settings allow."""
    return [
        *([_pull_tool(service)] if service.settings.allow_pull else []),
        *([_delete_tool(service)] if service.settings.allow_delete else []),
    ]


class _Layers:
    """Adds up the layers of a model, as their sizes become known."""

    def __init__(self) -> None:
        self._sizes: dict[str, tuple[int, int]] = {}
        self.status = "waiting"

    def add(self, step: PullProgress) -> None:
        self.status = step.status
        if step.digest is not None and step.total is not None:
            self._sizes[step.digest] = (step.completed or 0, step.total)

    @property
    def completed(self) -> int:
        return sum(completed for completed, _ in self._sizes.values())

    @property
    def total(self) -> int:
        return sum(total for _, total in self._sizes.values())


def _pull_tool(service: Service) -> ServiceTool:
    async def pull_model(arguments: ModelArguments, ctx: ToolContext) -> Pulled | InputRequiredResult:
        name = service.nameable(arguments.model)
        counter = Counter(ctx.report_progress)
        layers = _Layers()
        async with counter.beating(service.settings.heartbeat, lambda: f"{name}: {layers.status}"):
            if (asking := await consent(ctx, f"Download the model {name} to {service.engine.address}?")) is not None:
                return asking
            deadline = deadline_of(ctx, service)
            with anyio.move_on_after(deadline) as scope:
                await _pull(service, name, layers, counter)
        result = Pulled(model=name, status="installed", completed=layers.completed, total=layers.total)
        if scope.cancelled_caught:
            result.status = "incomplete"
            result.advice = f"The download was stopped after {deadline:g} s; call again to go on from there."
        return result

    return ServiceTool.of(
        pull_model,
        title="Pull model",
        description="Download a model. The person is asked first where the client can ask.",
        annotations=ToolAnnotations(
            read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=True
        ),
        output=Pulled,
    )


async def _pull(service: Service, name: str, layers: _Layers, counter: Counter) -> None:
    told = 0.0
    status = ""
    async with aclosing(service.pull(name)) as steps:
        async for step in steps:
            layers.add(step)
            now = anyio.current_time()
            if now - told >= THROTTLE or step.status != status:
                told, status = now, step.status
                await counter.tell(layers.completed, f"{name}: {status}", total=layers.total or None)


def _delete_tool(service: Service) -> ServiceTool:
    async def delete_model(arguments: ModelArguments, ctx: ToolContext) -> Deleted | InputRequiredResult:
        name = service.nameable(arguments.model)
        found = next((model for model in await service.models() if same_model(model.name, name)), None)
        if found is None:
            raise await service.catalog.explain_missing(ModelNotFound(f"{name} is not installed."), name)
        counter = Counter(ctx.report_progress)
        async with counter.beating(service.settings.heartbeat, lambda: "waiting for the person"):
            if (asking := await consent(ctx, f"Delete the model {found.name} from the disk?")) is not None:
                return asking
        return Deleted(model=await service.delete(found.name), freed_bytes=found.size_bytes)

    return ServiceTool.of(
        delete_model,
        title="Delete model",
        description="Delete a model from the disk. The person is asked first where the client can ask.",
        annotations=ToolAnnotations(
            read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
        ),
        output=Deleted,
    )
