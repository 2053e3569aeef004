"""What a client can read: the models, one model, the engine's state, and where the HTTP endpoints are."""

from collections.abc import Awaitable, Callable

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from pydantic import BaseModel

from ollama_mcp.endpoints import Endpoints
from ollama_mcp.errors import InvalidRequest, ModelNotFound, ServiceError
from ollama_mcp.service import Service
from ollama_mcp.tools.models import ModelList

JSON = "application/json"
MODELS = "ollama://models"
STATUS = "ollama://status"


def add_resources(mcp: MCPServer, service: Service, endpoints: Endpoints) -> None:
    """Register the resources on a server."""

    async def read(what: Callable[[], Awaitable[BaseModel]]) -> str:
        try:
            return (await what()).model_dump_json(exclude_none=True, indent=1)
        except (ModelNotFound, InvalidRequest) as error:
            raise ResourceNotFoundError(error.message) from error
        except ServiceError as error:
            raise ResourceError(error.message) from error

    @mcp.resource(MODELS, title="Models", mime_type=JSON, description="The installed models")
    async def models() -> str:
        async def listing() -> ModelList:
            return ModelList(models=await service.models())

        return await read(listing)

    @mcp.resource(
        MODELS + "/{name}",
        title="Model",
        mime_type=JSON,
        description="One model in detail: template, parameters, licence. A slash in the name is written %2F.",
    )
    async def model(name: str) -> str:
        return await read(lambda: service.show(name))

    @mcp.resource(STATUS, title="Status", mime_type=JSON, description="State of the engine")
    async def status() -> str:
        return await read(service.health)

    @mcp.resource(
        "ollama://endpoints", title="HTTP endpoints", mime_type=JSON, description="How to reach this by HTTP"
    )
    async def endpoint_list() -> str:
        return endpoints.model_dump_json(indent=1)
