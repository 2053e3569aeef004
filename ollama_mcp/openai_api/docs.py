"""GET /openapi.json, /docs and /redoc; all that the pages load comes from this process."""

from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

from ollama_mcp.errors import ServiceError
from ollama_mcp.openai_api.openapi import build_document
from ollama_mcp.openai_api.wire import JSON
from ollama_mcp.service import Service

_SOME_MODEL = "llama3.2"
"""For the examples where no model is there, or where what is there is for holders of a key alone."""

ASSETS = ("swagger-ui-bundle.js", "swagger-ui.css", "redoc.standalone.js", "favicon.png")

# ReDoc would ask its maker's server for a picture; the browser is told to ask no server but this one.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; base-uri 'none'; frame-ancestors 'none'"
)

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>ollama-mcp</title>
<link rel="icon" href="docs/assets/favicon.png">
<style>body {{ margin: 0; }}</style>
{head}
</head>
<body>
{body}
</body>
</html>
"""
_DOCS = _PAGE.format(
    head='<link rel="stylesheet" href="docs/assets/swagger-ui.css">',
    body='<div id="page"></div>\n<script src="docs/assets/swagger-ui-bundle.js"></script>\n'
    '<script src="docs/assets/start.js"></script>',
)
_REDOC = _PAGE.format(
    head="",
    body='<redoc spec-url="openapi.json"></redoc>\n<script src="docs/assets/redoc.standalone.js"></script>',
)
_START = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#page",
  deepLinking: true,
  tryItOutEnabled: true,
  validatorUrl: null,
  defaultModelsExpandDepth: 0,
});
"""


class Docs:
    """The routes over a service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            Route("/openapi.json", self.document, methods=["GET"]),
            Route("/docs", self.docs, methods=["GET"]),
            Route("/redoc", self.redoc, methods=["GET"]),
            Route("/docs/assets/start.js", self.start, methods=["GET"]),
            *(Route(f"/docs/assets/{name}", self.asset, methods=["GET"]) for name in ASSETS),
        ]

    async def document(self, request: Request) -> Response:
        """The OpenAPI document; its examples name a model that is there."""
        keyed = bool(self._service.settings.api_keys)
        return JSON(_document(_SOME_MODEL if keyed else await self._model(), keyed=keyed))

    async def _model(self) -> str:
        try:
            return await self._service.catalog.resolve(None)
        except ServiceError:
            return _SOME_MODEL

    async def docs(self, request: Request) -> Response:
        """The page to read and try the API."""
        return _page(_DOCS)

    async def redoc(self, request: Request) -> Response:
        """The page to read."""
        return _page(_REDOC)

    async def start(self, request: Request) -> Response:
        """What starts Swagger UI; a script of its own, since the pages allow none within."""
        return Response(_START, media_type="text/javascript")

    async def asset(self, request: Request) -> Response:
        """A script, style or picture of the pages."""
        name = request.url.path.rpartition("/")[2]
        return FileResponse(_assets() / name, headers={"Cache-Control": "max-age=3600"})


_document = lru_cache(maxsize=4)(build_document)


def _page(text: str) -> Response:
    return HTMLResponse(text, headers={"Content-Security-Policy": POLICY})


@cache
def _assets() -> Path:
    """The directory of the files; the package that carries them is found but not imported."""
    spec = find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("fastapi_offline is not installed")
    return Path(spec.origin).parent / "static"
