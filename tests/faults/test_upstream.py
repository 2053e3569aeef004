"""Each fault of an Ollama on each surface: what came is given, what failed is told, and nothing is hung."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.fake_ollama import stream
from tests.forked import Parent

from .rows import ADDRESS, FAULTS, GOOD, LINES, TEXT, Fault
from .surfaces import HTTP, MCP, TERMINAL, Seen, surfaces_over

CODES = {
    "EngineBusy": "engine_busy",
    "EngineFailed": "engine_failed",
    "EngineRejected": "engine_rejected",
    "EngineTimeout": "engine_timeout",
    "EngineUnavailable": "engine_unavailable",
    "GenerationBroken": "generation_broken",
    "InvalidRequest": "invalid_request",
    "MalformedAnswer": "malformed_answer",
    "ModelNotFound": "model_not_found",
}

RETRYABLE = {"EngineBusy", "EngineUnavailable"}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory, forks: Parent) -> Iterator[Any]:
    with surfaces_over(tmp_path_factory.mktemp("faults"), forks) as running:
        surfaces, portal = running
        portal.call(surfaces.play, None)  # what is imported at the first question takes longer than a heartbeat
        yield running


@pytest.fixture(scope="module", params=FAULTS, ids=str)
def fault(request: pytest.FixtureRequest) -> Fault:
    return request.param


@pytest.fixture(scope="module")
def seen(table: Any, fault: Fault) -> dict[str, Seen]:
    """The fault on all surfaces at once, and a sign of life from each after it."""
    surfaces, portal = table
    found = portal.call(surfaces.play, fault.responder, fault.model)
    portal.call(surfaces.alive)
    return found


@pytest.fixture(scope="module")
def says(table: Any, fault: Fault) -> str:
    surfaces, _ = table
    return fault.says.replace(ADDRESS, surfaces.address)


@pytest.mark.parametrize("surface", MCP)
def test_over_mcp_a_fault_is_an_error_with_the_text_until_then(
    fault: Fault, seen: dict[str, Seen], says: str, surface: str
) -> None:
    got = seen[surface]
    assert got.kind == fault.error
    sentence, _, partial = got.told.partition("\n\nThe incomplete answer until then:\n")
    assert says in sentence
    assert partial == fault.partial
    assert (got.signs > 0) >= fault.waits


def test_a_whole_openai_answer_has_the_faults_status(fault: Fault, seen: dict[str, Seen], says: str) -> None:
    got = seen["OpenAI once"]
    assert (got.status, got.kind) == (fault.status, CODES[fault.error])
    assert says in got.told
    assert got.headers["x-should-retry"] == ("true" if fault.error in RETRYABLE else "false")
    assert ("retry-after" in got.headers) == (fault.error == "EngineBusy")


def test_an_openai_stream_has_the_status_or_an_error_event_and_no_done(
    fault: Fault, seen: dict[str, Seen], says: str
) -> None:
    got = seen["OpenAI stream"]
    begun = bool(fault.partial) or got.signs > 0  # a ping before it, which a busy machine may give to any fault
    assert (got.status, got.kind) == (200 if begun else fault.status, CODES[fault.error])
    assert says in got.told
    assert (got.said, got.done) == (fault.partial, False)
    assert (got.signs > 0) >= fault.waits


def test_on_the_command_line_a_fault_is_one_line_and_an_exit_code(
    fault: Fault, seen: dict[str, Seen], says: str
) -> None:
    got = seen[TERMINAL]
    assert got.status == fault.code
    assert says in got.told
    assert len(got.told.splitlines()) == 1
    assert got.said == fault.partial


@pytest.mark.parametrize("responder", GOOD.values(), ids=GOOD)
def test_what_is_odd_but_whole_is_an_answer(table: Any, responder: Any) -> None:
    surfaces, portal = table
    for surface, got in portal.call(surfaces.play, responder).items():
        assert (got.said, got.told, got.done) == (TEXT, None, True), surface
        assert got.status == (200 if surface in HTTP else 0)


def test_a_restart_of_ollama_goes_unseen(table: Any) -> None:
    surfaces, portal = table
    for _ in range(3):
        for surface, got in portal.call(surfaces.play, stream(*LINES)).items():
            assert (got.said, got.told) == (TEXT, None), surface
        portal.call(surfaces.restart)
