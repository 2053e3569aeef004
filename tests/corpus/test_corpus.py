"""Bad input of every kind: a client is told what is wrong with it, and the server stays as it was."""

import asyncio
import io
import json
from collections.abc import Iterator

import httpx
import pytest

from tests.fake_ollama import Exchange, FakeOllama, last, line, says
from tests.forked import Parent, Served
from tests.harness import WARM

from . import headers, requests, rpc, texts
from .lines import upstream_lines
from .wire import WITHIN, Case, play, send

SETTINGS = {"OLLAMA_MCP_FIRST_TOKEN_TIMEOUT": "5", "OLLAMA_MCP_IDLE_TIMEOUT": "5"}
INSIDE = ("Traceback", "Error at ", " failed with ", "Exception")

CLASSES = {
    "json syntax and depth": (texts.json_syntax, 60),
    "numbers": (texts.numbers, 30),
    "unicode": (texts.unicode, 40),
    "types": (requests.types, 120),
    "openai semantics": (requests.openai, 120),
    "image urls": (requests.images, 60),
    "model names and paths": (requests.names_and_paths, 80),
    "host": (headers.hosts, 40),
    "origin": (headers.origins, 40),
    "content types": (headers.content_types, 20),
    "http framing": (headers.framing, 60),
    "sizes": (headers.sizes, 20),
}


async def any_schema(exchange: Exchange) -> None:
    """As without a script, but for schemas that the fake cannot fill."""
    await (says("{}") if b'"$ref"' in exchange.request.raw else Exchange.default)(exchange)


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeOllama]:
    with FakeOllama.in_thread(loaded=dict(WARM)) as fake:
        fake.on("/api/chat", any_schema)
        yield fake


@pytest.fixture(scope="module")
def served(forks: Parent, fake: FakeOllama) -> Iterator[Served]:
    with forks.http_server("--ollama-host", fake.url, **SETTINGS) as served:
        yield served
        said = served.end()
    assert not [text for text in said.splitlines() if any(word in text for word in INSIDE)], said[-3000:]


def port(served: Served) -> int:
    return int(served.url.rpartition(":")[2])


def check(served: Served, cases: list[Case], least: int, **ping: str) -> None:
    """Every case is answered as it must be, and the server is well after each and after all of them."""
    assert len(cases) >= least
    assert len({case.name for case in cases}) == len(cases)
    assert asyncio.run(play(port(served), cases)) == {}
    answer = httpx.get(f"{served.url}/v1/models", headers=ping, timeout=WITHIN)
    assert answer.status_code == 200


@pytest.mark.parametrize("name", CLASSES)
def test_bad_input_is_told_to_its_sender_and_harms_nothing(served: Served, name: str) -> None:
    cases, least = CLASSES[name]
    check(served, cases(), least)


def test_without_the_right_key_nothing_is_to_be_had(forks: Parent, fake: FakeOllama) -> None:
    with forks.http_server("--ollama-host", fake.url, OLLAMA_MCP_API_KEY=headers.KEY) as served:
        check(served, headers.keys(), 30, Authorization=f"Bearer {headers.KEY}")
        said = served.end()
    assert headers.KEY[:-1] not in said
    assert "Traceback" not in said


@pytest.mark.parametrize("era", ["handshake", "2026"])
def test_bad_envelopes_are_answered_in_either_era(served: Served, era: str) -> None:
    session = None
    if era == "handshake":
        answer = httpx.post(f"{served.url}/mcp", json=rpc.INITIALIZE, headers=dict([rpc.ACCEPT]), timeout=WITHIN)
        session = answer.headers["Mcp-Session-Id"]
    check(served, rpc.over_http(session), 60)


def test_lines_that_no_ollama_sends_end_in_an_error_or_an_answer(served: Served, fake: FakeOllama) -> None:
    lines = upstream_lines()

    async def respond(exchange: Exchange) -> None:
        middle = lines[exchange.request.body["messages"][0]["content"]]
        await exchange.head()
        for text in (json.dumps(line("Hel")).encode(), middle, json.dumps(last()).encode()):
            await exchange.chunk(text + b"\n")
        await exchange.chunk(b"")

    cases = []
    for name in lines:
        for stream in (False, True):
            body = {"model": "llama3.2", "messages": [{"role": "user", "content": name}], "stream": stream}
            body |= {"logprobs": True} if "log" in name else {}
            cases.append(requests.posted(f"{name} {stream}", body, frozenset({200, 502, 503})))
    fake.on("/api/chat", respond)
    try:
        check(served, cases, 60)
    finally:
        fake.on("/api/chat", any_schema)


def test_bad_frames_over_stdio_are_answered_and_the_rest_is_served(forks: Parent, fake: FakeOllama) -> None:
    ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    frames = {**rpc.texts(), **{name: json.dumps(message).encode() for name, message in rpc.envelopes().items()}}
    assert len(frames) >= 40
    with forks.running("stdio", "--ollama-host", fake.url, **SETTINGS) as process:
        out = io.BufferedReader(process.stdout)

        def answers_to(*sent: bytes, wanted: object) -> list[dict]:
            process.stdin.write(b"".join(text + b"\n" for text in sent))
            got = []
            while not got or got[-1].get("id") != wanted:
                got.append(json.loads(out.readline()))
            return got

        answers_to(json.dumps(rpc.INITIALIZE).encode(), json.dumps(ready).encode(), wanted=1)
        for number, (name, frame) in enumerate(frames.items()):
            ping = {"jsonrpc": "2.0", "id": f"ping {number}", "method": "ping"}
            got = answers_to(frame, json.dumps(ping).encode(), wanted=f"ping {number}")
            assert "Traceback" not in json.dumps(got), name
            if frame.strip() and name in rpc.texts():
                assert (got[0]["error"]["code"], got[0]["id"]) == (-32700, None), name
        process.stdin.close()
        assert process.wait() == 0
        said = process.stderr.read().decode()
    assert not [text for text in said.splitlines() if any(word in text for word in INSIDE)], said[-3000:]


def test_a_good_request_among_them_is_served(served: Served) -> None:
    answer = asyncio.run(send(port(served), requests.posted("good", requests.GOOD)))
    assert b"You said: Hi" in answer
