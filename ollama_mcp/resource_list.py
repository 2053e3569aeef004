"""The list of resources: the fixed ones, then each installed model, a page at a time."""

import base64
import binascii
import logging
from urllib.parse import quote

import anyio
from mcp.server import MCPServer
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.types import INTERNAL_ERROR, INVALID_PARAMS, ListResourcesResult, PaginatedRequestParams, Resource

from ollama_mcp.engines.base import ModelInfo
from ollama_mcp.errors import ServiceError
from ollama_mcp.resources import JSON, MODELS
from ollama_mcp.service import Service

PAGE_SIZE = 100
TIMEOUT = 1.0

logger = logging.getLogger(__name__)


class ResourceList:
    """Answers `resources/list`. Without the engine the fixed resources are listed alone, and soon."""

    def __init__(self, mcp: MCPServer, service: Service) -> None:
        self._mcp = mcp
        self._service = service

    def attach(self) -> None:
        """Take the place of the SDK's own list, which knows no pages."""
        self._mcp._lowlevel_server.add_request_handler("resources/list", PaginatedRequestParams, self._page)

    async def _page(
        self, ctx: ServerRequestContext[object, object], params: PaginatedRequestParams
    ) -> ListResourcesResult:
        after = None if params.cursor is None else _read_cursor(params.cursor)
        resources = await self._mcp.list_resources() if after is None else []
        try:
            with anyio.fail_after(TIMEOUT):
                installed = await self._service.engine.models()
        except (ServiceError, TimeoutError) as error:
            message = getattr(error, "message", None) or f"the engine did not answer within {TIMEOUT:g} s"
            if after is not None:
                raise MCPError(INTERNAL_ERROR, f"The list of models cannot go on: {message}") from error
            logger.warning("resources are listed without the models: %s", message)
            return ListResourcesResult(resources=resources)
        # By name, so that a page goes on at the same place whatever was pulled or deleted in between.
        left = sorted((info for info in installed if after is None or info.name > after), key=lambda info: info.name)
        page = left[:PAGE_SIZE]
        more = _cursor(page[-1].name) if len(left) > len(page) else None
        return ListResourcesResult(resources=[*resources, *map(_resource, page)], next_cursor=more)


def _resource(info: ModelInfo) -> Resource:
    about = " ".join(part for part in (info.family, info.parameters, info.quantization) if part)
    return Resource(
        uri=f"{MODELS}/{quote(info.name, safe=':')}",
        name=info.name,
        description=f"Model {about}" if about else "Model",
        mime_type=JSON,
    )


def _cursor(last: str) -> str:
    return base64.urlsafe_b64encode(f"after {last}".encode()).decode()


def _read_cursor(cursor: str) -> str:
    try:
        text = base64.b64decode(cursor, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        text = ""
    if not text.startswith("after "):
        raise MCPError(INVALID_PARAMS, "The cursor is not one that this server gave; list again without it")
    return text.removeprefix("after ")
