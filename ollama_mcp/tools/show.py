"""The tool `show_model`: one model in detail."""

from pydantic import Field

from ollama_mcp.engines.base import ModelDetails
from ollama_mcp.service import Service
from ollama_mcp.tools.base import Arguments, ServiceTool, ToolContext
from ollama_mcp.tools.models import READ_ONLY


class ShowArguments(Arguments):
    """What `show_model` takes."""

    model: str | None = None
    license: bool = Field(False, description="With the licence's whole text")


def show_tool(service: Service) -> ServiceTool:
    """The tool over a service."""

    async def show_model(arguments: ShowArguments, ctx: ToolContext) -> ModelDetails:
        details = await service.show(arguments.model)
        return details if arguments.license else details.model_copy(update={"license": None})

    return ServiceTool.of(
        show_model,
        title="Show model",
        description="One local model: capabilities, context length, template, parameters.",
        annotations=READ_ONLY,
        output=ModelDetails,
    )
