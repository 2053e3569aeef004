"""The tools that tell about the models and the engine: `list_models` and `health_check`."""

from mcp.types import ToolAnnotations

from ollama_mcp.catalog import ListedModel
from ollama_mcp.chat import Lazy
from ollama_mcp.service import Health, Service
from ollama_mcp.tools.base import Arguments, ServiceTool, ToolContext

READ_ONLY = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)


class ModelList(Lazy):
    """The installed models, newest first."""

    models: list[ListedModel]


class NoArguments(Arguments):
    """Nothing to say."""


def model_tools(service: Service) -> list[ServiceTool]:
    """The tools over a service."""

    async def list_models(arguments: NoArguments, ctx: ToolContext) -> ModelList:
        return ModelList(models=await service.models())

    async def health_check(arguments: NoArguments, ctx: ToolContext) -> Health:
        return await service.health()

    return [
        ServiceTool.of(
            list_models,
            title="List models",
            description="The installed local models: size, context length, capabilities, and which are loaded.",
            annotations=READ_ONLY,
            output=ModelList,
        ),
        ServiceTool.of(
            health_check,
            title="Health check",
            description="Whether the local models can be reached, and what to do if not. Answers within 3 s.",
            annotations=READ_ONLY,
            output=Health,
        ),
    ]
