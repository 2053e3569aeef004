"""What a stream does when it waits, breaks, or is left."""

import json
import socket
import threading
from typing import Any

import httpx
import openai
import pytest

from ollama_mcp.engines.ollama import OllamaEngine
from tests.fake_ollama import CLOSE, Exchange, FakeOllama, Gate, failure, hang, last, line, stream
from tests.openai_api.conftest import serving

HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
GOOD: dict[str, Any] = {"model": "llama3.2", "messages": HELLO, "stream": True}
PATH = "/v1/chat/completions"
BODIES = [
    (PATH, {"messages": HELLO}),
    ("/v1/completions", {"prompt": "Hello"}),
    ("/v1/responses", {"input": "Hello"}),
]


def test_each_token_leaves_when_it_comes(client: openai.OpenAI, ollama: FakeOllama) -> None:
    gate = Gate()
    ollama.chat_script = [stream(line("one"), gate, line("two"), last())]
    chunks = iter(client.chat.completions.create(model="llama3.2", messages=HELLO, stream=True))
    assert [next(chunks).choices[0].delta.content for _ in range(2)] == ["", "one"]
    gate.open()
    assert next(chunks).choices[0].delta.content == "two"
    assert list(chunks)


def test_a_client_that_waits_hears_pings_and_then_its_answer(http: httpx.Client, ollama: FakeOllama) -> None:
    gate = Gate()
    ollama.chat_script = [stream(gate, line("late"), last())]
    with http.stream("POST", PATH, json=GOOD) as reply:
        lines = reply.iter_lines()
        assert [next(lines) for _ in range(4)] == [": ping", "", ": ping", ""]
        gate.open()
        rest = "\n".join(lines)
    assert '"late"' in rest
    assert rest.rstrip().endswith("data: [DONE]")


def test_pings_also_come_in_the_middle_and_disturb_no_client(client: openai.OpenAI, ollama: FakeOllama) -> None:
    gate = Gate()
    timer = threading.Timer(0.5, gate.open)
    ollama.chat_script = [stream(line("a"), gate, line("b"), last())]
    timer.start()
    chunks = client.chat.completions.create(model="llama3.2", messages=HELLO, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "ab"
    timer.join()


def test_a_failure_after_a_ping_is_an_error_event(http: httpx.Client, ollama: FakeOllama) -> None:
    gate = Gate()

    async def late_failure(exchange: Any) -> None:
        await gate.wait()
        await failure(500, "out of memory")(exchange)

    ollama.chat_script = [late_failure]
    with http.stream("POST", PATH, json=GOOD) as reply:
        lines = reply.iter_lines()
        assert next(lines) == ": ping"
        gate.open()
        events = [line for line in lines if line.startswith("data: ")]
    assert reply.status_code == 200
    assert [json.loads(event[6:])["error"]["code"] for event in events] == ["engine_failed"]


@pytest.mark.parametrize(
    "end",
    [(CLOSE,), (b'{"error": "the model crashed"}\n',), (b"not json\n",), ()],
    ids=["closed", "error", "junk", "eof"],
)
@pytest.mark.parametrize(("path", "body"), BODIES)
def test_a_break_in_the_middle_is_an_error_event_and_no_done(
    http: httpx.Client, ollama: FakeOllama, path: str, body: dict[str, Any], end: tuple[Any, ...]
) -> None:
    ollama.chat_script = [stream(line("Hel"), *end)]
    reply = http.post(path, json={"model": "llama3.2", "stream": True, **body})
    assert reply.status_code == 200
    assert "Hel" in reply.text
    assert "[DONE]" not in reply.text
    final = json.loads(reply.text.rstrip().rpartition("data: ")[2])
    assert final["error"]["message"]
    assert final["error"]["type"] == "server_error"


@pytest.mark.parametrize(("path", "body"), BODIES)
def test_a_break_in_the_middle_of_a_whole_answer_is_a_502(
    http: httpx.Client, ollama: FakeOllama, path: str, body: dict[str, Any]
) -> None:
    ollama.chat_script = [stream(line("Hel"), CLOSE)]
    reply = http.post(path, json={"model": "llama3.2", **body})
    assert reply.status_code == 502
    assert reply.headers["x-should-retry"] == "false"


def test_the_official_client_raises_a_break_in_the_middle(client: openai.OpenAI, ollama: FakeOllama) -> None:
    ollama.chat_script = [stream(line("Hel"), CLOSE)]
    with pytest.raises(openai.APIError) as caught:
        list(client.chat.completions.create(model="llama3.2", messages=HELLO, stream=True))
    assert caught.value.message
    ollama.chat_script = [stream(line("Hel"), CLOSE)]
    with pytest.raises(openai.APIError) as caught:
        list(client.responses.create(model="llama3.2", input="Hello", stream=True))
    assert caught.value.message


def send(url: str, path: str, body: dict[str, Any]) -> socket.socket:
    """Send a request and give the connection, to be closed at will."""
    host, _, port = url.removeprefix("http://").partition(":")
    content = json.dumps(body).encode()
    fields = f"Host: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(content)}"
    connection = socket.create_connection((host, int(port)), timeout=5)
    connection.sendall(f"POST {path} HTTP/1.1\r\n{fields}\r\n\r\n".encode() + content)
    return connection


def read_until(connection: socket.socket, wanted: bytes) -> None:
    received = b""
    while wanted not in received:
        piece = connection.recv(65536)
        assert piece, received
        received += piece


@pytest.mark.parametrize(("path", "body"), BODIES)
def test_a_client_that_leaves_a_stream_stops_the_generation_within_a_second(
    url: str, ollama: FakeOllama, path: str, body: dict[str, Any]
) -> None:
    before = ollama.disconnects
    ollama.chat_script = [stream(line("Hel"), Gate())]
    with send(url, path, {"model": "llama3.2", "stream": True, **body}) as connection:
        read_until(connection, b"Hel")
    ollama.wait_disconnected_sync(before + 1, within=1)


@pytest.mark.parametrize(("path", "body"), BODIES)
def test_a_client_that_leaves_a_whole_answer_stops_the_generation_within_a_second(
    url: str, ollama: FakeOllama, path: str, body: dict[str, Any]
) -> None:
    before, reached = ollama.disconnects, Gate()

    async def begin_and_hang(exchange: Exchange) -> None:
        await exchange.head(200, {"Transfer-Encoding": "chunked"})
        await exchange.chunk(json.dumps(line("Hel")).encode() + b"\n")
        reached.open()
        await exchange.hang()

    ollama.chat_script = [begin_and_hang]
    with send(url, path, {"model": "llama3.2", **body}):
        reached.wait_sync()
    ollama.wait_disconnected_sync(before + 1, within=1)


def test_a_client_that_leaves_before_the_first_token_stops_the_generation(url: str, ollama: FakeOllama) -> None:
    before = ollama.disconnects
    ollama.chat_script = [hang]
    with send(url, PATH, GOOD) as connection:
        read_until(connection, b": ping")
    ollama.wait_disconnected_sync(before + 1, within=1)


def test_a_client_that_leaves_stops_its_embedding() -> None:
    with FakeOllama.in_thread() as fake, serving(lambda: OllamaEngine(fake.url)) as url:
        fake.on("/api/embed", hang)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{url}/v1/embeddings", json={"model": "nomic-embed-text", "input": "x"}, timeout=0.3)
        fake.wait_disconnected_sync(within=1)
