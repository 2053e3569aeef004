"""A client that leaves ends what is done for it."""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive

from ollama_mcp.errors import ServerEnding

Result = TypeVar("Result")


class WhileThere:
    """A block that is cancelled, and left without an exception, when the client leaves; its body must have been read.

    The block runs in the task it stands in: one more for each request would cost as much as reading it.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.left = False

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("only within a task")
        self._task = task
        self._watch = asyncio.create_task(self._gone())
        self._watch.add_done_callback(self._on_gone)
        return self

    async def _gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def _on_gone(self, watch: asyncio.Task[None]) -> None:
        watch.result()
        self.left = True
        self._task.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._watch.remove_done_callback(self._on_gone)
        self._watch.cancel()
        if self.left:
            self._task.uncancel()
        return self.left and kind is asyncio.CancelledError


async def unless_gone(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of the work, which is cancelled, with `ClientDisconnect`, if the client leaves before."""
    try:
        async with WhileThere(request.receive):
            return await work
    except asyncio.CancelledError:
        # uvicorn cancels a request once it was told to end and has waited long enough; nobody else does.
        raise ServerEnding from None
    raise ClientDisconnect


async def on_client_gone(request: Request, error: Exception) -> Response:
    """Close a request that nobody waits for."""
    return Response(status_code=499)
