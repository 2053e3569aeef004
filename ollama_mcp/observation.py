"""What can be told of each request to a model without a word of it: its model, its times, its tokens, its end."""

import asyncio
import logging
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from ollama_mcp.chat import Usage
from ollama_mcp.errors import ServiceError

Operation = Literal["chat", "embeddings", "decide"]

logger = logging.getLogger(__name__)


@dataclass
class Observed:
    """One request; times are in seconds since it began, None for what has not happened."""

    operation: Operation
    began: float = field(default_factory=time.monotonic)
    model: str | None = None
    """As the request named it, once aliases and defaults are resolved; whether there is such a model is not said."""
    queued: float | None = None
    first_token: float | None = None
    took: float | None = None
    usage: Usage | None = None
    error: str | None = None
    """The name of a `ServiceError`, `cancelled`, or `internal`."""

    def admitted(self) -> None:
        """Its turn has come."""
        self.queued = time.monotonic() - self.began

    def answered(self) -> None:
        """Something of the answer has come."""
        if self.first_token is None:
            self.first_token = time.monotonic() - self.began


Observer = Callable[[Observed], Callable[[], None]]
"""Called when a request begins; what it returns is called when the request has ended."""


class Observation:
    """Tells observers of requests; without observers it costs next to nothing."""

    def __init__(self) -> None:
        self.observers: list[Observer] = [log_end]

    @contextmanager
    def of(self, operation: Operation) -> Generator[Observed]:
        """Have the request made in this block observed."""
        seen = Observed(operation)
        ends = [observer(seen) for observer in self.observers]
        try:
            yield seen
        except ServiceError as error:
            seen.error = type(error).__name__
            raise
        except (asyncio.CancelledError, GeneratorExit):
            # A reader may stop at the end it has seen, without asking whether there is more.
            seen.error = None if seen.usage is not None else "cancelled"
            raise
        except BaseException:
            seen.error = "internal"
            raise
        finally:
            seen.took = time.monotonic() - seen.began
            for end in ends:
                end()


def log_end(seen: Observed) -> Callable[[], None]:
    """Write a line at the end of each request."""

    def end() -> None:
        if logger.isEnabledFor(logging.INFO):
            logger.info("%s", _line(seen))

    return end


def _line(seen: Observed) -> str:
    told = [f"{seen.operation} {seen.model or 'without a model'}: {seen.error or 'ok'}"]
    if seen.usage is not None:
        told.append(f"{seen.usage.prompt_tokens} tokens in, {seen.usage.completion_tokens} out")
    for name, seconds in (("queued", seen.queued), ("first token", seen.first_token), ("took", seen.took)):
        if seconds is not None:
            told.append(f"{name} {seconds:.3f} s")
    return ", ".join(told)
