"""Sends this package's log records to clients of the handshake era that ask for them with `logging/setLevel`.

They hold no prompt, answer or key, as all logs here. No client gets more than the log level of the server
lets through, since what is below that is not made in the first place.
"""

import asyncio
import logging

import anyio
from mcp.server import MCPServer
from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.types import EmptyResult, LoggingLevel, SetLevelRequestParams

SEND_TIMEOUT = 5.0

_LEVELS: dict[LoggingLevel, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "notice": logging.INFO + 1,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "alert": logging.CRITICAL + 1,
    "emergency": logging.CRITICAL + 2,
}
_LOGGER = logging.getLogger("ollama_mcp")


class ClientLogs(logging.Handler):
    """Those clients and the least level each wants; a handler of the log while there is any."""

    def __init__(self) -> None:
        super().__init__()
        self._clients: dict[Connection, int] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sending: set[asyncio.Task[None]] = set()

    def attach(self, mcp: MCPServer) -> None:
        """Register what the SDK leaves out."""
        mcp._lowlevel_server.add_request_handler("logging/setLevel", SetLevelRequestParams, self._set_level)

    async def _set_level(
        self, ctx: ServerRequestContext[object, object], params: SetLevelRequestParams
    ) -> EmptyResult:
        connection = ctx.session._connection
        if connection not in self._clients:
            connection.exit_stack.callback(self._leave, connection)
        self._clients[connection] = _LEVELS[params.level]
        self._loop = asyncio.get_running_loop()
        _LOGGER.addHandler(self)  # once, however often it is called
        return EmptyResult()

    def _leave(self, connection: Connection) -> None:
        self._clients.pop(connection, None)
        if not self._clients:
            _LOGGER.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record; called in whichever thread logs."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._start_sending, record)

    def _start_sending(self, record: logging.LogRecord) -> None:
        task = asyncio.create_task(self._send(record))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, record: logging.LogRecord) -> None:
        level = max((name for name in _LEVELS if _LEVELS[name] <= record.levelno), key=_LEVELS.__getitem__)
        params = {"level": level, "logger": record.name, "data": record.getMessage()}
        for connection, least in list(self._clients.items()):
            if record.levelno >= least:
                with anyio.move_on_after(SEND_TIMEOUT):
                    await connection.notify("notifications/message", params)
