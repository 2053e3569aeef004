"""What wraps every request: its id, and the last resort for what no handler caught."""

import logging
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ollama_mcp import request_id
from ollama_mcp.openai_api.errors import response_to

logger = logging.getLogger(__name__)

REQUEST_ID = "x-request-id"
METHODS = frozenset({"GET", "POST", "DELETE", "OPTIONS", "HEAD"})

Answered = Callable[[str, str, int], None]
"""Called with the method, the path as the routes have it, and the status of an answer."""


class RequestId:
    """Gives each request an id, answered in a header and logged, and a failure that nobody caught a clean 500."""

    def __init__(self, app: ASGIApp, answered: Answered | None = None) -> None:
        self.app = app
        self._answered = answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        current = request_id.begin("req")
        scope[request_id.SCOPE_KEY] = current
        began = time.monotonic()
        started = False
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal started, status
            if message["type"] == "http.response.start":
                started, status = True, message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = current
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except Exception as error:  # noqa: BLE001 - the last resort; logged, and answered as a failure
            log_failure(error, f"{current} {scope['method']}")
            if not started:
                await response_to(error)(scope, receive, send_with_id)
        finally:
            method, path = _route(scope)
            logger.info("%s %s: %d, took %.3f s", method, path, status, time.monotonic() - began)
            if self._answered is not None:
                self._answered(method, path, status)


def _route(scope: Scope) -> tuple[str, str]:
    """The method and the path, without anything that a caller could have made up."""
    method = scope["method"] if scope["method"] in METHODS else "other"
    if "endpoint" not in scope:
        return method, "other"
    path: str = scope["path"]
    for name, value in scope["path_params"].items():
        path = path.removesuffix(str(value)) + f"{{{name}}}"
    return method, path


def log_failure(error: BaseException, where: str) -> None:
    """Log where an error came from, the innermost place first; not its message, which may quote what a user wrote."""
    frames = reversed(traceback.extract_tb(error.__traceback__)[-4:])
    places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
    logger.error("%s failed with %s at %s", where, type(error).__name__, places)
