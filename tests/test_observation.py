"""What is told of each request: metrics, lines of the log that one id ties together, spans; never what was said."""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ollama_mcp.chat import ChatRequest, Message, fold
from ollama_mcp.errors import ServiceError
from ollama_mcp.spans import spans_of

from .fake_ollama import CLOSE, FakeOllama, Gate, failure, last, line, says, stream
from .harness import ERAS, WARM, client_over, service_over, text_of
from .processes import COMMAND, clean_environment, http_server

CANARY = "canary" + "q7" * 8
KEY = CANARY + "k" * 20
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + CANARY.encode()).decode()
HELLO = [{"role": "user", "content": "Hello"}]


def chat(url: str, headers: dict[str, str] | None = None, **changes: Any) -> httpx.Response:
    body = {"model": "llama3.2", "messages": HELLO, **changes}
    return httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers)


def samples(url: str, headers: dict[str, str] | None = None) -> dict[str, float]:
    """Each sample of /metrics by its name and labels."""
    answer = httpx.get(f"{url}/metrics", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    lines = [text.rsplit(" ", 1) for text in answer.text.splitlines() if not text.startswith("#")]
    return {name: float(value) for name, value in lines}


def test_metrics_count_requests_tokens_times_and_errors() -> None:
    with FakeOllama.in_thread(loaded=dict(WARM)) as fake, http_server("--ollama-host", fake.url) as (url, _):
        fake.chat_script = [
            says("one two three", prompt=11),
            stream(line("one"), last(prompt=5, tokens=1)),
            stream(line("par"), CLOSE),
            failure(500, "llama runner process has terminated"),
        ]
        statuses = [chat(url).status_code, chat(url, stream=True).status_code, chat(url).status_code]
        statuses.append(chat(url).status_code)
        embedded = httpx.post(f"{url}/v1/embeddings", json={"model": "nomic-embed-text", "input": ["a", "b"]})
        httpx.get(f"{url}/v1/models/qwen3:8b")
        httpx.get(f"{url}/no/such/page")
        httpx.request("PATCH", f"{url}/v1/models")
        counted = samples(url)
    assert statuses == [200, 200, 502, 502]
    assert embedded.status_code == 200
    llama = 'model="llama3.2",operation="chat"'
    assert counted[f'ollama_mcp_requests_total{{{llama},outcome="ok"}}'] == 2
    assert counted[f'ollama_mcp_requests_total{{{llama},outcome="GenerationBroken"}}'] == 1
    assert counted[f'ollama_mcp_requests_total{{{llama},outcome="EngineFailed"}}'] == 1
    assert counted[f"ollama_mcp_tokens_in_total{{{llama}}}"] == 16
    assert counted[f"ollama_mcp_tokens_out_total{{{llama}}}"] == 4
    assert counted[f"ollama_mcp_first_token_seconds_count{{{llama}}}"] == 3
    assert counted[f"ollama_mcp_request_seconds_count{{{llama}}}"] == 4
    assert counted["ollama_mcp_queue_seconds_count"] == 5
    assert counted["ollama_mcp_requests_running"] == counted["ollama_mcp_requests_waiting"] == 0
    vectors = 'model="nomic-embed-text",operation="embeddings",outcome="ok"'
    assert counted[f"ollama_mcp_requests_total{{{vectors}}}"] == 1
    http = "ollama_mcp_http_requests_total"
    assert counted[f'{http}{{method="POST",path="/v1/chat/completions",status="502"}}'] == 2
    assert counted[f'{http}{{method="GET",path="/v1/models/{{id}}",status="200"}}'] == 1
    assert counted[f'{http}{{method="GET",path="other",status="404"}}'] == 1
    assert counted[f'{http}{{method="other",path="/v1/models",status="405"}}'] == 1


def test_what_callers_make_up_is_no_label() -> None:
    with FakeOllama.in_thread(loaded=dict(WARM)) as fake, http_server("--ollama-host", fake.url) as (url, _):
        before = len(samples(url))
        for number in range(20):
            assert chat(url, model=f"made-up-{number}").status_code == 404
            httpx.get(f"{url}/made/up/{number}")
            httpx.get(f"{url}/v1/models/made-up-{number}")
            httpx.request(f"MADEUP{number}", url)
        counted = samples(url)
    assert not [name for name in counted if re.search("made.?up", name, re.IGNORECASE)]
    assert counted['ollama_mcp_requests_total{model="unknown",operation="chat",outcome="ModelNotFound"}'] == 20
    assert len(counted) - before < 40


def test_the_queue_is_told_while_it_is_there() -> None:
    settings = {"OLLAMA_MCP_MAX_CONCURRENCY": "1"}
    with (
        FakeOllama.in_thread(loaded=dict(WARM)) as fake,
        http_server("--ollama-host", fake.url, env=settings) as (url, _),
    ):
        fake.chat_script = [stream(line("first"), Gate(), last())]
        body = {"model": "llama3.2", "messages": HELLO, "stream": True}
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=body):
            fake.wait_request_sync("/api/chat", 1)
            assert samples(url)["ollama_mcp_requests_running"] == 1
        fake.wait_disconnected_sync()
        settled = chat(url)
        counted = samples(url)
    assert settled.status_code == 200
    assert counted['ollama_mcp_requests_total{model="llama3.2",operation="chat",outcome="cancelled"}'] == 1


def test_metrics_are_for_holders_of_a_key() -> None:
    with http_server("--ollama-host", "http://127.0.0.1:9", env={"OLLAMA_MCP_API_KEY": KEY}) as (url, _):
        assert httpx.get(f"{url}/metrics").status_code == 401
        assert samples(url, {"Authorization": f"Bearer {KEY}"})


def told_by(process: Any) -> list[dict[str, Any]]:
    """The log of a server that is ended here."""
    process.terminate()
    return [json.loads(text) for text in process.stderr.read().splitlines() if text.startswith("{")]


def test_one_id_ties_the_http_request_to_its_calls_of_the_engine() -> None:
    settings = {"OLLAMA_MCP_LOG_LEVEL": "debug", "OLLAMA_MCP_LOG_FORMAT": "json"}
    with (
        FakeOllama.in_thread(loaded=dict(WARM)) as fake,
        http_server("--ollama-host", fake.url, env=settings) as (url, process),
    ):
        answers = [chat(url), chat(url, stream=True)]
        told = told_by(process)
    for answer in answers:
        mine = [record for record in told if record.get("request_id") == answer.headers["x-request-id"]]
        messages = " / ".join(record["message"] for record in mine)
        assert re.search(r"engine POST /api/chat: 200, took \d", messages)
        assert re.search(r"chat llama3\.2: ok, \d+ tokens in, \d+ out, queued", messages)
        assert re.search(r"POST /v1/chat/completions: 200, took \d", messages)
    assert {record["level"] for record in told} == {"debug", "info"}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]{12}\+00:00", record["time"]) for record in told)


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ERAS)
async def test_one_id_ties_an_mcp_call_over_http_to_its_calls_of_the_engine(mode: str) -> None:
    settings = {"OLLAMA_MCP_LOG_LEVEL": "debug", "OLLAMA_MCP_LOG_FORMAT": "json"}
    with (
        FakeOllama.in_thread(loaded=dict(WARM)) as fake,
        http_server("--ollama-host", fake.url, env=settings) as (url, process),
    ):
        async with Client(f"{url}/mcp", mode=mode) as client:
            for _ in range(2):
                assert not (await client.call_tool("chat_completion", {"prompt": "Hello"})).is_error
        told = await anyio.to_thread.run_sync(told_by, process)
    ids = [record["request_id"] for record in told if "tools/call chat_completion: ok" in record["message"]]
    assert len(set(ids)) == 2
    for request_id in ids:
        mine = " / ".join(record["message"] for record in told if record.get("request_id") == request_id)
        assert request_id.startswith("req_")
        for part in ("POST /mcp: 200", "chat llama3.2:latest: ok", "engine POST /api/chat: 200"):
            assert part in mine


@pytest.mark.anyio
async def test_one_id_ties_an_mcp_call_over_stdio_to_its_calls_of_the_engine(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with FakeOllama.in_thread(loaded=dict(WARM)) as fake, log.open("w") as stderr:
        environment = clean_environment(OLLAMA_HOST=fake.url, OLLAMA_MCP_LOG_LEVEL="debug")
        server = StdioServerParameters(command=COMMAND, env=environment)
        async with Client(stdio_client(server, errlog=stderr)) as client:
            assert not (await client.call_tool("chat_completion", {"prompt": "Hello"})).is_error
    lines = log.read_text().splitlines()
    call = next(text for text in lines if "tools/call chat_completion: ok" in text)
    request_id = re.search(r"\[(mcp_[0-9a-f]{32})\]", call)
    assert request_id is not None
    mine = [text for text in lines if request_id[1] in text]
    assert any("engine POST /api/chat: 200" in text for text in mine)


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    """Where spans go; what provides them can be set once in a process only."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    exporter.clear()
    yield exporter
    exporter.clear()


def request(text: str = "Hi", model: str = "llama3.2") -> ChatRequest:
    return ChatRequest(model=model, messages=[Message(role="user", content=text)])


@pytest.mark.anyio
async def test_each_request_is_a_span_within_the_one_that_is_open(spans: InMemorySpanExporter) -> None:
    async with FakeOllama(loaded=dict(WARM)) as fake, service_over(fake) as service:
        service.observation.observers.append(spans_of("ollama"))
        fake.chat_script = [says("one two", prompt=11), stream(line("par"), CLOSE)]
        with trace.get_tracer("test").start_as_current_span("outer") as outer:
            await fold(service.chat(request()))
        with pytest.raises(ServiceError):
            await fold(service.chat(request()))
        await service.embed(["text"], model="nomic-embed-text")
    good, _, broken, vectors = spans.get_finished_spans()
    assert good.name == "chat llama3.2"
    assert good.parent is not None
    assert good.parent.span_id == outer.get_span_context().span_id
    assert good.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "ollama",
        "gen_ai.request.model": "llama3.2",
        "gen_ai.usage.input_tokens": 11,
        "gen_ai.usage.output_tokens": 2,
    }
    assert [event.name for event in good.events] == ["admitted", "first_token"]
    assert not broken.status.is_ok
    assert (broken.attributes or {})["error.type"] == "GenerationBroken"
    assert vectors.name == "embeddings nomic-embed-text"


def exercised(url: str, fake: FakeOllama) -> None:
    """Send the canary in every place, along every path that ends well or badly."""
    headers = {"Authorization": f"Bearer {KEY}"}
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    content = [{"type": "text", "text": CANARY}, picture]
    body = {"model": "llava:7b", "messages": [{"role": "user", "content": content}], "user": CANARY}
    says_it = says(f"{CANARY} and more")
    ends = [says_it, stream(line(CANARY), CLOSE), failure(500, CANARY), failure(400, CANARY), stream(CANARY.encode())]
    for streams in (False, True):
        fake.chat_script = list(ends)
        for _ in ends:
            httpx.post(f"{url}/v1/chat/completions", json=body | {"stream": streams}, headers=headers)
    fake.chat_script = []
    bad: list[Any] = [
        {CANARY: 1},
        {"model": CANARY + "\n", "messages": CANARY},
        {"input": {CANARY: CANARY}},
        [CANARY],
    ]
    for path in ("chat/completions", "completions", "embeddings", "responses"):
        for wrong in bad:
            httpx.post(f"{url}/v1/{path}", json=wrong, headers=headers)
        for raw in (f'{{"{CANARY}": 1, "{CANARY}": 2}}', f"{CANARY}", f'"{CANARY}\ud800'):
            raw_headers = headers | {"Content-Type": "application/json"}
            httpx.post(f"{url}/v1/{path}", content=raw.encode(errors="surrogatepass"), headers=raw_headers)
    httpx.post(f"{url}/v1/embeddings", json={"model": "nomic-embed-text", "input": [CANARY]}, headers=headers)
    httpx.get(f"{url}/v1/models", headers={"Authorization": f"Bearer {CANARY}"})
    httpx.get(f"{url}/v1/models?key={CANARY}", headers=headers | {"X-Canary": CANARY, "Cookie": CANARY})
    httpx.get(f"{url}/{CANARY}", headers=headers)
    httpx.post(f"{url}/mcp", json={"jsonrpc": "2.0", "id": 1, "method": CANARY, "params": {CANARY: CANARY}})
    for message in (
        {"jsonrpc": "2.0", "id": CANARY, "method": "tools/call", "params": {"name": 5, "arguments": CANARY}},
        {"jsonrpc": "2.0", "method": "notifications/" + CANARY},
        {"jsonrpc": CANARY},
    ):
        accepts = headers | {"Accept": "application/json, text/event-stream"}
        httpx.post(f"{url}/mcp", json=message, headers=accepts)


async def called(client: Client, fake: FakeOllama) -> None:
    """The same over MCP."""
    fake.chat_script = [says(f"{CANARY} and more"), stream(line(CANARY), CLOSE), failure(500, CANARY)]
    for _ in range(3):
        await client.call_tool("chat_completion", {"prompt": CANARY, "system": CANARY})
    fake.chat_script = []
    for arguments in ({"prompt": 5, "x": CANARY}, {"prompt": CANARY, "temperature": CANARY}, {"messages": CANARY}):
        assert (await client.call_tool("chat_completion", arguments)).is_error
    answer = await client.call_tool("list_models", {})
    assert "llama3.2" in text_of(answer)


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ERAS)
async def test_no_word_of_prompt_answer_image_or_key_is_written_anywhere(mode: str, tmp_path: Path) -> None:
    settings = {"OLLAMA_MCP_LOG_LEVEL": "debug", "OLLAMA_MCP_API_KEY": KEY}
    with (
        FakeOllama.in_thread(loaded=dict(WARM)) as fake,
        http_server("--ollama-host", fake.url, env=settings) as (url, process),
    ):
        await anyio.to_thread.run_sync(exercised, url, fake)
        sent = [json.dumps(request.headers) for request in fake.requests]
        holder = httpx.AsyncClient(headers={"X-API-Key": KEY})
        metrics = (await holder.get(f"{url}/metrics")).text
        await holder.aclose()
        process.terminate()
        told = await anyio.to_thread.run_sync(process.stderr.read)
    settings.pop("OLLAMA_MCP_API_KEY")
    with (
        FakeOllama.in_thread(loaded=dict(WARM)) as fake,
        http_server("--ollama-host", fake.url, env=settings) as (url, process),
    ):
        async with Client(f"{url}/mcp", mode=mode) as client:
            await called(client, fake)
        process.terminate()
        told += await anyio.to_thread.run_sync(process.stderr.read)
    with FakeOllama.in_thread(loaded=dict(WARM)) as fake, (tmp_path / "log").open("w") as stderr:
        environment = clean_environment(OLLAMA_HOST=fake.url, OLLAMA_MCP_LOG_LEVEL="debug")
        server = StdioServerParameters(command=COMMAND, env=environment)
        async with Client(stdio_client(server, errlog=stderr), mode=mode) as client:
            await called(client, fake)
    over_stdio = (tmp_path / "log").read_text()
    assert "engine POST /api/chat" in told
    assert "engine POST /api/chat" in over_stdio
    assert "ollama_mcp_requests_total" in metrics
    for written in (told, over_stdio, metrics):
        assert not [text for text in written.splitlines() if CANARY in text or PNG in text]
    assert not [headers for headers in sent if CANARY in headers]


@pytest.mark.anyio
async def test_no_word_of_prompt_or_answer_is_in_a_span(spans: InMemorySpanExporter) -> None:
    async with FakeOllama(loaded=dict(WARM)) as fake, service_over(fake) as service:
        service.observation.observers.append(spans_of("ollama"))
        fake.chat_script = [says(CANARY), stream(line(CANARY), CLOSE), failure(500, CANARY), failure(400, CANARY)]
        for _ in range(4):
            try:
                await fold(service.chat(request(CANARY)))
            except ServiceError:
                continue
    async with FakeOllama(loaded=dict(WARM)) as fake, client_over(fake) as client:
        await called(client, fake)
    finished = spans.get_finished_spans()
    assert len([span for span in finished if span.name == "chat llama3.2"]) == 4
    assert "tools/call chat_completion" in {span.name for span in finished}
    assert not [span.to_json() for span in finished if CANARY in span.to_json()]


def test_no_header_of_a_client_reaches_the_engine() -> None:
    made_up = {
        "X-Made-Up": "1",
        "Cookie": "a=b",
        "Authorization": "Bearer theirs",
        "X-Forwarded-For": "1.2.3.4",
        "User-Agent": "theirs",
        "Accept-Language": "de",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "x-request-id": "theirs",
    }
    with FakeOllama.in_thread(loaded=dict(WARM)) as fake, http_server("--ollama-host", fake.url) as (url, _):
        for streams in (False, True):
            assert chat(url, headers=made_up, stream=streams).status_code == 200
        sent = [request.headers for request in fake.requests]
    for headers in sent:
        assert set(headers) <= {
            "host",
            "accept",
            "accept-encoding",
            "connection",
            "content-length",
            "content-type",
            "user-agent",
        }
        assert "theirs" not in headers.values()
