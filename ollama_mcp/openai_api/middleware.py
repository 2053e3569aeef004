"""What wraps every request: its id, and the last resort for what no handler caught."""

import logging
import secrets
import traceback

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ollama_mcp.openai_api.errors import response_to

logger = logging.getLogger(__name__)

REQUEST_ID = "x-request-id"


class RequestId:
    """Gives each request an id, answered in a header, and a failure that nobody caught a clean 500.

    The id is never taken from outside, where it could forge lines of the log.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = f"req_{secrets.token_hex(16)}"
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except Exception as error:  # noqa: BLE001 - the last resort; logged, and answered as a failure
            log_failure(error, f"{request_id} {scope['method']}")
            if not started:
                await response_to(error)(scope, receive, send_with_id)


def log_failure(error: BaseException, where: str) -> None:
    """Log where an error came from, without its message: that may quote what a user wrote."""
    frames = "".join(traceback.format_tb(error.__traceback__)[-4:])
    logger.error("%s failed with %s\n%s", where, type(error).__name__, frames)
