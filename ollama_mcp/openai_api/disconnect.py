"""A client that leaves ends what is done for it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive

from ollama_mcp.errors import ServerEnding

Result = TypeVar("Result")


async def client_gone(receive: Receive) -> None:
    """Return once the client has closed its connection; its body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def unless_gone(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of the work, which is cancelled, with `ClientDisconnect`, if the client leaves before."""
    task = asyncio.create_task(work)
    gone = asyncio.create_task(client_gone(request.receive))
    try:
        try:
            await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            # uvicorn cancels a request once it was told to end and has waited long enough; nobody else does.
            raise ServerEnding from None
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        await end(task, gone)


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until they have ended; what they raised is for their owner to look at before."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def on_client_gone(request: Request, error: Exception) -> Response:
    """Close a request that nobody waits for."""
    return Response(status_code=499)
