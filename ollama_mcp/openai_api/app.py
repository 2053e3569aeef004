"""The HTTP application: routes, middleware, error handlers."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ollama_mcp.errors import ServiceError
from ollama_mcp.openai_api.chat import ChatCompletions
from ollama_mcp.openai_api.completions import Completions
from ollama_mcp.openai_api.disconnect import on_client_gone
from ollama_mcp.openai_api.docs import Docs
from ollama_mcp.openai_api.embeddings import Embeddings
from ollama_mcp.openai_api.errors import on_http_error, on_service_error
from ollama_mcp.openai_api.health import Probe
from ollama_mcp.openai_api.middleware import REQUEST_ID
from ollama_mcp.openai_api.models import Models
from ollama_mcp.openai_api.responses import Responses
from ollama_mcp.service import Service

Lifespan = Callable[[Starlette], AbstractAsyncContextManager[Any]]


class _PassThrough:
    """Hands a request on untouched; Starlette would take a plain function for a request handler."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def create_app(
    service: Service,
    *,
    mcp_app: ASGIApp | None = None,
    metrics: Callable[[Request], Awaitable[Response]] | None = None,
    lifespan: Lifespan | None = None,
) -> Starlette:
    """The application over a service, which the caller owns; `mcp_app` gets what comes to /mcp."""
    probe = Probe(service)
    models = Models(service)
    routes: list[BaseRoute] = [  # they are tried in this order
        Route("/v1/chat/completions", ChatCompletions(service).create, methods=["POST"]),
        Route("/health", probe.full, methods=["GET"]),
        Route("/health/live", probe.live, methods=["GET"]),
        Route("/health/ready", probe.ready, methods=["GET"]),
        Route("/v1/completions", Completions(service).create, methods=["POST"]),
        Route("/v1/embeddings", Embeddings(service).create, methods=["POST"]),
        Route("/v1/responses", Responses(service).create, methods=["POST"]),
        Route("/v1/models", models.list, methods=["GET"]),
        Route("/v1/models/{id:path}", models.retrieve, methods=["GET"]),
    ]
    routes += Docs(service).routes()
    if metrics is not None:
        routes.append(Route("/metrics", metrics, methods=["GET"]))
    if mcp_app is not None:
        routes.append(Route("/mcp", _PassThrough(mcp_app)))
    middleware = []
    if service.settings.cors_origins:
        middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=service.settings.cors_origins,
                allow_methods=["GET", "POST", "DELETE"],
                allow_headers=["*"],
                expose_headers=[REQUEST_ID, "Retry-After", "Mcp-Session-Id"],
            )
        )
    app = Starlette(
        routes=routes,
        middleware=middleware,
        exception_handlers={
            ServiceError: on_service_error,
            HTTPException: on_http_error,
            ClientDisconnect: on_client_gone,
            Exception: on_service_error,
        },
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app
