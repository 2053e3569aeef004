"""GET /v1/models and /v1/models/{id}."""

from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ollama_mcp.catalog import same_model
from ollama_mcp.engines.base import ModelInfo
from ollama_mcp.openai_api.wire import JSON
from ollama_mcp.service import Service


class Models:
    """The routes over a service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def list(self, request: Request) -> Response:
        """The installed models, and the aliases of such."""
        installed = await self._service.models()
        data = [_model(info.name, info) for info in installed]
        for alias, name in self._service.catalog.aliases.items():
            info = next((info for info in installed if same_model(info.name, name)), None)
            if info is not None:
                data.append(_model(alias, info))
        return JSON({"object": "list", "data": data})

    async def retrieve(self, request: Request) -> Response:
        """One model, by its name or an alias."""
        name = request.path_params["id"]
        return JSON(_model(name, await self._service.show(name)))


def _model(name: str, info: ModelInfo) -> dict[str, Any]:
    namespace, slash, _ = info.name.rpartition("/")
    return {
        "id": name,
        "object": "model",
        "created": _timestamp(info.modified_at),
        "owned_by": namespace if slash else "library",
    }


def _timestamp(text: str | None) -> int:
    """Seconds since 1970; 0 where the engine does not say, in a way that can be read, when a model was changed."""
    try:
        return max(0, int(datetime.fromisoformat(text or "").timestamp()))
    except ValueError:
        return 0
