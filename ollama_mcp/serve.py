"""The composition root: settings become an engine, a service, its faces, and a process that ends when told to."""

import gc
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import anyio

from ollama_mcp import logs
from ollama_mcp.errors import ConfigurationError
from ollama_mcp.settings import Settings, check_bind, is_loopback
from ollama_mcp.stdio import LineReader, LineWriter, StandardStreams, Unanswered

if TYPE_CHECKING:
    from mcp.server import MCPServer
    from starlette.types import ASGIApp

    from ollama_mcp.engines.base import Engine
    from ollama_mcp.service import Service
    from ollama_mcp.sessions import Sessions

DRAIN_SECONDS = 3
"""How long streams may go on after the server was told to end."""
END_SECONDS = 0.3
"""How long the last answers may take to reach a client that has closed its end."""


def build_service(settings: Settings) -> "Service":
    """The service over the chosen engine; enter it to have it closed."""
    from ollama_mcp.service import Service
    from ollama_mcp.spans import spans_of

    service = Service(build_engine(settings), settings)
    service.observation.observers.append(spans_of(settings.engine))
    return service


def build_engine(settings: Settings) -> "Engine":
    """The chosen engine; each is imported only where it is used."""
    match settings.engine:
        case "ollama":
            from ollama_mcp.engines.ollama import OllamaEngine

            return OllamaEngine(settings.ollama_host, api_key=settings.ollama_api_key)
        case "openai":
            from ollama_mcp.engines.openai import OpenAIEngine

            return OpenAIEngine(settings.base_url or "", api_key=settings.upstream_api_key)
        case "embedded":
            from ollama_mcp.engines.embedded import EmbeddedEngine

            return EmbeddedEngine(settings.model_file, num_ctx=settings.num_ctx)


def build_server(service: "Service", *, serving_http: bool) -> "MCPServer":
    """The MCP server over a service."""
    from ollama_mcp.endpoints import http_endpoints
    from ollama_mcp.server import create_server

    settings = service.settings
    return create_server(service, http_endpoints(settings.host, settings.port, serving=serving_http))


def serve_stdio(settings: Settings) -> int:
    """Serve MCP over stdin and stdout until the client leaves or a signal comes; the exit code."""
    if sys.stdin.isatty():
        _greet_person()
    wire = StandardStreams.claim()
    _hold_collections()
    logs.configure(settings.log_level, settings.log_format)
    return anyio.run(_serve_stdio, settings, wire)


def _greet_person() -> None:
    print(
        "ollama-mcp speaks MCP over stdin and stdout, so a client starts it rather than a person. Register it:\n"
        "  Claude Code:  claude mcp add ollama -- ollama-mcp\n"
        '  VS Code:      code --add-mcp \'{"name":"ollama","command":"ollama-mcp"}\'\n'
        "  others:       see MCP_SETUP.md\n"
        'To try a model here: ollama-mcp chat "Why is the sky blue?"\n'
        "Waiting for a client; Ctrl-C ends.",
        file=sys.stderr,
    )


async def _serve_stdio(settings: Settings, wire: StandardStreams) -> int:
    from mcp.server.runner import serve_dual_era_loop, serve_loop
    from mcp.server.stdio import stdio_server

    code = 0
    serve = serve_loop if settings.protocol == "legacy" else serve_dual_era_loop
    async with build_service(settings) as service:
        low = build_server(service, serving_http=False)._lowlevel_server

        async def end_on_signal(scope: anyio.CancelScope) -> None:
            nonlocal code
            async for number in _signals():
                code = 128 + number
                scope.cancel()
                return

        _resume_collections()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(end_on_signal, tasks.cancel_scope)
            # The SDK wants `anyio.AsyncFile`s and uses no more of them than these two offer.
            unanswered = Unanswered()
            writer = LineWriter(wire.stdout, unanswered, on_gone=tasks.cancel_scope.cancel)
            reader = LineReader(wire.stdin, unanswered, writer)
            async with (
                stdio_server(cast("Any", reader), cast("Any", writer)) as (read, write),
                low.lifespan(low) as state,
            ):
                await serve(low, read, write, lifespan_state=state)
                # What is still being written may go out, but a client that does not read holds up nothing.
                tasks.cancel_scope.deadline = anyio.current_time() + END_SECONDS
            tasks.cancel_scope.cancel()
    return code


def _hold_collections() -> None:
    # What is built at start stays, so each look for garbage among it is in vain: a tenth of the time to start.
    gc.disable()


def _resume_collections() -> None:
    gc.freeze()
    # What a request makes is let go of by its counts: to look for cycles among it as often as by default took a
    # twentieth of the CPU.
    gc.set_threshold(20_000, 20, 50)
    gc.enable()


async def _signals() -> AsyncGenerator[int]:
    ends = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    if sys.platform == "win32":  # no signal can be awaited there; Ctrl-C raises KeyboardInterrupt
        await anyio.sleep_forever()
    with anyio.open_signal_receiver(*ends) as received:
        async for number in received:
            yield int(number)


def serve_http(settings: Settings) -> int:
    """Serve MCP and the OpenAI-compatible API over HTTP until a signal comes; the exit code."""
    check_bind(settings)
    _hold_collections()
    logs.configure(settings.log_level, settings.log_format)
    listener = _listen(settings.host, settings.port)
    settings = replace(settings, port=listener.getsockname()[1])
    # uvloop: a tenth of the CPU of each answer. It does not run on Windows.
    return anyio.run(_serve_http, settings, listener, backend_options={"use_uvloop": sys.platform != "win32"})


def _listen(host: str, port: int) -> socket.socket:
    """The listening socket, taken before anything is built, so that a port in use is told at once."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        made = socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        raise ConfigurationError(
            f"Cannot listen on {host} port {port}: {error.strerror or error}; stop what uses it, or pass --port"
        ) from error
    # Taken up again by its number a socket knows that it is TCP; asyncio sets TCP_NODELAY on no other, and
    # without it the second of two small writes waits 40 ms for the client to acknowledge the first.
    return socket.socket(fileno=made.detach())


async def _serve_http(settings: Settings, listener: socket.socket) -> int:
    from ollama_mcp.endpoints import http_endpoints
    from ollama_mcp.http_protocol import server_config
    from ollama_mcp.sessions import HttpServer, Sessions

    async with build_service(settings) as service:
        sessions = Sessions(build_server(service, serving_http=True)._lowlevel_server, settings)
        config = server_config(build_app(service, sessions), drain_seconds=DRAIN_SECONDS)
        _resume_collections()
        for endpoint in http_endpoints(settings.host, settings.port, serving=True).endpoints:
            print(f"{endpoint.name:>7}  {endpoint.url}  {endpoint.description}", file=sys.stderr)
        await HttpServer(config, sessions).serve(sockets=[listener])
    return 0


def build_app(service: "Service", sessions: "Sessions") -> "ASGIApp":
    """Both faces over one service as one ASGI application, behind one guard."""
    from ollama_mcp.metrics import Metrics
    from ollama_mcp.openai_api.app import create_app

    metrics = Metrics(service.gate)
    service.observation.observers.append(metrics.observe)

    @asynccontextmanager
    async def lifespan(app: object) -> AsyncGenerator[None]:
        async with sessions.run():
            yield

    app = create_app(service, mcp_app=sessions.handle_request, metrics=metrics.respond, lifespan=lifespan)
    return guarded(app, service.settings, answered=metrics.answered)


def guarded(
    app: "ASGIApp", settings: Settings, *, answered: Callable[[str, str, int], None] | None = None
) -> "ASGIApp":
    """An application behind the one guard, with an id for each request, the refused ones too."""
    from ollama_mcp.guard import LOOPBACK_NAMES, Guard
    from ollama_mcp.openai_api.middleware import RequestId

    limiter = None
    if settings.rate_limit is not None:
        from ollama_mcp.rate_limit import RateLimiter

        limiter = RateLimiter(settings.rate_limit, settings.rate_limit_storage)
    local = is_loopback(settings.host)
    return RequestId(
        Guard(
            app,
            hosts=[*LOOPBACK_NAMES, settings.host] if local else None,
            origins=settings.cors_origins,
            keys=settings.api_keys,
            limiter=limiter,
        ),
        answered,
    )
