"""HTTP to an engine, against real sockets."""

import contextlib
from collections.abc import AsyncIterator

import httpx
import pytest

from ollama_mcp.engines import transport
from ollama_mcp.engines.transport import TIMEOUT, open_transport, read_body, read_lines, translated
from ollama_mcp.errors import EngineUnavailable, GenerationBroken, MalformedAnswer
from tests.fake_ollama import CLOSE, RESET, Exchange, FakeOllama, Responder, answer, close, reset, stream
from tests.harness import each

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def connected(address: str, timeout: httpx.Timeout = TIMEOUT) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        base_url=address, transport=open_transport(address), timeout=timeout, trust_env=False
    ) as client:
        yield client


async def fetch(address: str, path: str = "/x", method: str = "POST") -> list[bytes]:
    async with connected(address) as client:
        with translated("Ollama", address):
            response = await client.send(client.build_request(method, path, content=b"{}"), stream=True)
        try:
            with translated("Ollama", address, started=True):
                return [line async for line in each(read_lines(response))]
        finally:
            await response.aclose()


def sends(data: bytes) -> Responder:
    async def respond(exchange: Exchange) -> None:
        await exchange.raw(data)
        await exchange.close()

    return respond


async def test_a_refused_connection_names_the_address_and_the_reason(unused_port: int):
    address = f"http://127.0.0.1:{unused_port}"
    with pytest.raises(EngineUnavailable, match=rf"{address}: Connection refused") as caught:
        await fetch(address)
    assert caught.value.retryable


async def test_a_name_that_does_not_resolve_is_an_unavailable_engine():
    with pytest.raises(EngineUnavailable, match=r"the name no-such-host\.invalid is not known"):
        await fetch("http://no-such-host.invalid:11434")


async def test_connecting_to_a_black_hole_ends(full_port: int):
    address = f"http://127.0.0.1:{full_port}"
    async with connected(address, httpx.Timeout(None, connect=0.2, pool=0.2)) as client:
        with pytest.raises(EngineUnavailable, match="no connection within"), translated("Ollama", address):
            await client.get("/")


@pytest.mark.parametrize("responder", [reset, close])
async def test_a_connection_that_ends_before_the_answer_is_an_unavailable_engine(
    fake: FakeOllama, responder: Responder
):
    fake.on("/x", responder)
    with pytest.raises(EngineUnavailable, match=rf"{fake.url} gave no answer: .*; check that it is running there"):
        await fetch(fake.url)
    assert len(fake.requests) == 1, "a request that broke a new connection is not sent again"


@pytest.mark.parametrize(
    "data",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\n",
    ],
    ids=["garbage", "huge header", "half a head", "bad chunk at once"],
)
async def test_an_answer_that_is_not_http_is_a_failure(fake: FakeOllama, data: bytes):
    fake.on("/x", sends(data))
    with pytest.raises(MalformedAnswer):
        await fetch(fake.url)


@pytest.mark.parametrize(
    "responder",
    [
        stream({"a": 1}, CLOSE),
        stream({"a": 1}, RESET),
        sends(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}\n"),
    ],
    ids=["closed", "reset", "shorter than said"],
)
async def test_an_answer_that_breaks_off_is_a_broken_generation(fake: FakeOllama, responder: Responder):
    fake.on("/x", responder)
    with pytest.raises(GenerationBroken, match="in the middle of the answer"):
        await fetch(fake.url)


async def in_pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def test_lines_end_at_line_feeds_alone_wherever_the_bytes_are_split():
    data = 'a\u0085b\u2028c\x0bd\re\r\n\n  \n"é"\nlast'.encode()
    lines = ["a\u0085b\u2028c\x0bd\re".encode(), '"é"'.encode(), b"last"]

    async def pieces(*ends: int) -> AsyncIterator[bytes]:
        start = 0
        for end in (*ends, len(data)):
            yield data[start:end]
            start = end

    for ends in (*((place,) for place in range(len(data))), range(1, len(data))):
        response = httpx.Response(200, content=pieces(*ends))
        assert [line async for line in each(read_lines(response))] == lines


async def test_an_answer_may_end_in_blanks_and_a_whole_one_come_in_pieces():
    response = httpx.Response(200, content=in_pieces(b"a\n", b" \r"))
    assert [line async for line in each(read_lines(response))] == [b"a"]
    assert await read_body(httpx.Response(200, content=in_pieces(b"a\n", b"", b"b "))) == b"a\nb "


async def test_a_line_and_a_body_may_be_as_long_as_the_limit_and_no_longer(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(transport, "MAX_LINE", 2**21)
    monkeypatch.setattr(transport, "MAX_BODY", 2**21)
    longest = b"a" * 2**21
    response = httpx.Response(200, content=in_pieces(longest, b"\n", longest))
    assert [line async for line in each(read_lines(response))] == [longest, longest]
    assert await read_body(httpx.Response(200, content=in_pieces(longest))) == longest
    for read in (lambda response: anext(read_lines(response)), read_body):
        with pytest.raises(MalformedAnswer, match="of more than 2 MiB"):
            await read(httpx.Response(200, content=in_pieces(longest, b"a")))


async def test_a_line_without_end_is_refused(fake: FakeOllama, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(transport, "MAX_LINE", 1000)
    fake.on("/x", stream(b"a" * 999 + b"\n", b"b\n" + b"c" * 1001))
    with pytest.raises(MalformedAnswer, match="a line of more than"):
        await fetch(fake.url)


async def test_a_body_without_end_is_refused(fake: FakeOllama, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(transport, "MAX_BODY", 1000)
    fake.on("/x", answer(200, b"a" * 1001))
    async with connected(fake.url) as client, client.stream("GET", "/x") as response:
        with pytest.raises(MalformedAnswer, match="an answer of more than"):
            await read_body(response)


async def test_a_compressed_answer_is_refused(fake: FakeOllama):
    fake.on("/x", answer(200, b"\x1f\x8b", {"Content-Encoding": "gzip"}))
    with pytest.raises(MalformedAnswer, match="'gzip' encoding"):
        await fetch(fake.url)


async def hang_up_on_the_second(exchange: Exchange) -> None:
    if exchange.reused:
        await exchange.close()
    await exchange.json({"connections": exchange.fake.connections})


async def test_a_dead_kept_connection_is_replaced_once_without_a_word(fake: FakeOllama):
    fake.on("/x", hang_up_on_the_second)
    async with connected(fake.url) as client:
        assert (await client.post("/x", content=b"{}")).json() == {"connections": 1}
        assert (await client.post("/x", content=b"{}")).json() == {"connections": 2}
    assert len(fake.requests) == 3


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_request_is_not_sent_a_third_time(fake: FakeOllama, method: str):
    async with connected(fake.url) as client:
        await client.get("/api/version")
        fake.on("/x", close)
        with pytest.raises(EngineUnavailable), translated("Ollama", fake.url):
            await client.request(method, "/x", content=b"{}")
    assert [request.path for request in fake.requests] == ["/api/version", "/x", "/x"]


async def test_an_engine_that_was_restarted_is_reached_again(fake: FakeOllama):
    async with connected(fake.url) as client:
        assert (await client.get("/api/version")).status_code == 200
        await fake.stop()
        async with fake:
            assert (await client.post("/api/show", json={"model": "llama3.2"})).status_code == 200


async def test_the_environments_proxies_are_not_used(fake: FakeOllama, monkeypatch: pytest.MonkeyPatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert b"version" in (await fetch(fake.url, "/api/version", "GET"))[0]


async def test_an_address_that_is_no_url_is_unavailable():
    with pytest.raises(EngineUnavailable, match="not a valid URL"), translated("Ollama", "ftp://x"):
        async with connected("ftp://x") as client:
            await client.get("/")
