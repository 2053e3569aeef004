"""The id that ties together what one request causes: its lines in the log, its answer, the calls to the engine."""

import os
from contextvars import ContextVar

SCOPE_KEY = "ollama_mcp.request_id"
"""Where in the scope of an HTTP request its id stands."""

_current: ContextVar[str | None] = ContextVar("request_id", default=None)


def begin(kind: str) -> str:
    """A new id for what this task does from now on, and the tasks it starts.

    It is never taken from outside, where it could forge lines of the log.
    """
    request_id = f"{kind}_{os.urandom(16).hex()}"
    _current.set(request_id)
    return request_id


def resume(request_id: str) -> None:
    """Go on with a request in a task that was started for another one."""
    _current.set(request_id)


def current() -> str | None:
    """The id of the request this is done for; None if it is done for none."""
    return _current.get()
