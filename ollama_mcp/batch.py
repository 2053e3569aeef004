"""Many requests to models in one go: so many at a time, and none is lost to the failure of another."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import anyio

from ollama_mcp.chat import ChatRequest, ChatResult
from ollama_mcp.errors import EngineRejected, EngineUnavailable, ModelNotFound, ServiceError
from ollama_mcp.service import Service

HOPELESS = (EngineUnavailable, EngineRejected, ModelNotFound)
"""After one of these, the next request to the same model would fail in the same way."""

MakeRequest = Callable[[], Awaitable[ChatRequest]]
"""Makes a request when its turn has come, so that not all files are held at once."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request: its answer or its error, after so many seconds."""

    seconds: float
    result: ChatResult | None = None
    error: ServiceError | None = None


async def ask_all(
    service: Service,
    requests: Sequence[MakeRequest],
    *,
    concurrency: int,
    deadline: float,
    settled: Callable[[int, Outcome], Awaitable[None]],
    give_up_on: tuple[type[ServiceError], ...] = (),
) -> list[Outcome | None]:
    """The outcome of each request in their order; None where the deadline or a hopeless error came first.

    Requests are begun in their order. `settled` is told each index with its outcome as it comes.
    """
    outcomes: list[Outcome | None] = [None] * len(requests)
    waiting = iter(range(len(requests)))

    async def work(tasks: anyio.CancelScope) -> None:
        for index in waiting:
            outcome = outcomes[index] = await _ask(service, requests[index])
            await settled(index, outcome)
            if isinstance(outcome.error, give_up_on):
                tasks.cancel()

    with anyio.move_on_after(deadline):
        async with anyio.create_task_group() as tasks:
            for _ in range(min(concurrency, len(requests))):
                tasks.start_soon(work, tasks.cancel_scope)
    return outcomes


async def _ask(service: Service, make: MakeRequest) -> Outcome:
    started = time.monotonic()
    result, failure = None, None
    try:
        result = await service.answer(await make())
    except ServiceError as error:
        failure = error
    return Outcome(round(time.monotonic() - started, 3), result, failure)
