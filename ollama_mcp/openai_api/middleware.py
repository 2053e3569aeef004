"""What wraps every request: its id, and the last resort for what no handler caught."""

import logging
import traceback
from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ollama_mcp import request_id
from ollama_mcp.openai_api.errors import response_to

logger = logging.getLogger(__name__)

REQUEST_ID = "x-request-id"
SCOPE_ID = "ollama_mcp.request_id"


class RequestId:
    """Gives each request an id, answered in a header, and a failure that nobody caught a clean 500."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        current = request_id.begin("req")
        scope[SCOPE_ID] = current
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message)[REQUEST_ID] = current
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except Exception as error:  # noqa: BLE001 - the last resort; logged, and answered as a failure
            log_failure(error, f"{current} {scope['method']}")
            if not started:
                await response_to(error)(scope, receive, send_with_id)


def log_failure(error: BaseException, where: str) -> None:
    """Log where an error came from, the innermost place first; not its message, which may quote what a user wrote."""
    frames = reversed(traceback.extract_tb(error.__traceback__)[-4:])
    places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
    logger.error("%s failed with %s at %s", where, type(error).__name__, places)
