"""What the specification asks of any server: error codes, pages, deadlines, logs; in both eras."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from mcp import Client, MCPError
from mcp.shared.memory import create_client_server_memory_streams
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCNotification, JSONRPCRequest

from ollama_mcp.endpoints import http_endpoints
from ollama_mcp.server import create_server

from .fake_ollama import Exchange, FakeModel, FakeOllama, hang
from .harness import ERAS, client_over, service_over, text_of, warm_ollama

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
both_eras = pytest.mark.parametrize("mode", ERAS)

INVALID_PARAMS = -32602
FIXED = ["ollama://models", "ollama://status", "ollama://endpoints"]
CLIENT = {"name": "test", "version": "1"}
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": CLIENT,
    "io.modelcontextprotocol/clientCapabilities": {},
}


class Wire:
    """Sends requests as they are, where the official client would refuse to."""

    def __init__(self, read: Any, write: Any, mode: str) -> None:
        self._read, self._write, self._modern = read, write, mode != "legacy"
        self._number = 0

    async def ask(self, method: str, **params: Any) -> Any:
        """The answer: an object that has a `result` or an `error`."""
        self._number += 1
        if self._modern:
            params["_meta"] = ENVELOPE
        request = JSONRPCRequest(jsonrpc="2.0", id=self._number, method=method, params=params)
        await self._write.send(SessionMessage(request))
        while True:
            answer = (await self._read.receive()).message
            if getattr(answer, "id", None) == self._number:
                return answer

    async def greet(self) -> None:
        if not self._modern:
            await self.ask("initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo=CLIENT)
            ready = JSONRPCNotification(jsonrpc="2.0", method="notifications/initialized")
            await self._write.send(SessionMessage(ready))


@asynccontextmanager
async def wire_over(fake: FakeOllama, mode: str) -> AsyncIterator[Wire]:
    async with (
        service_over(fake) as service,
        create_client_server_memory_streams() as ((client_read, client_write), (server_read, server_write)),
        anyio.create_task_group() as tasks,
    ):
        low = create_server(service, http_endpoints("127.0.0.1", 4891, serving=False))._lowlevel_server
        tasks.start_soon(low.run, server_read, server_write, low.create_initialization_options())
        wire = Wire(client_read, client_write, mode)
        await wire.greet()
        yield wire
        tasks.cancel_scope.cancel()


@both_eras
@pytest.mark.parametrize(
    ("method", "params", "words"),
    [
        ("tools/call", {"name": "list_model", "arguments": {}}, "did you mean list_models?"),
        ("tools/call", {"name": "nothing at all"}, "list_models"),
        ("tools/call", {}, ""),
        ("tools/call", {"name": 5}, ""),
        ("tools/call", {"name": "list_models", "arguments": "text"}, ""),
        ("tools/call", {"name": "list_models", "arguments": [1]}, ""),
        ("prompts/get", {"name": "explain", "arguments": {"code": "x"}}, "explain_code"),
        ("prompts/get", {"name": "translate", "arguments": {"text": "x"}}, "target_language"),
        ("prompts/get", {"name": "translate"}, "text, target_language"),
        ("prompts/get", {"name": "summarize", "arguments": {"text": "x", "lenght": "x"}}, "did you mean length?"),
        ("prompts/get", {"name": "summarize", "arguments": {"text": 5}}, ""),
        ("prompts/get", {"name": "summarize", "arguments": "text"}, ""),
        ("prompts/get", {"name": "summarize", "arguments": 5}, ""),
        ("prompts/get", {"name": ["summarize"]}, ""),
        ("prompts/get", {}, ""),
        ("resources/read", {"uri": "ollama://nothing"}, "ollama://nothing"),
        ("resources/read", {"uri": "file:///etc/passwd"}, ""),
        ("resources/read", {"uri": "ollama://models/no-such-model"}, "no-such-model"),
        ("resources/read", {"uri": "ollama://models/..%2F..%2Fetc%2Fpasswd"}, ""),
        ("resources/read", {}, ""),
        ("resources/list", {"cursor": "made up"}, "cursor"),
        ("resources/list", {"cursor": "bWFkZSB1cA=="}, "cursor"),
        ("resources/list", {"cursor": ""}, "cursor"),
        ("resources/list", {"cursor": 5}, ""),
        ("tools/list", {"cursor": "x"}, "without a cursor"),
        ("prompts/list", {"cursor": "x"}, "without a cursor"),
        ("resources/templates/list", {"cursor": "x"}, "without a cursor"),
        ("completion/complete", {"ref": {"type": "nothing"}, "argument": {"name": "x", "value": "x"}}, ""),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": "summarize"}, "argument": "x"}, ""),
    ],
)
async def test_what_cannot_be_meant_is_invalid_params(
    mode: str, method: str, params: dict[str, Any], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with warm_ollama() as fake, wire_over(fake, mode) as wire:
        answer = await wire.ask(method, **params)
        after = await wire.ask("tools/list")
    assert answer.error.code == INVALID_PARAMS
    assert words in answer.error.message
    assert after.result["tools"]
    assert "Traceback" not in caplog.text


@both_eras
async def test_an_unknown_method_is_told_as_such(mode: str) -> None:
    async with warm_ollama() as fake, wire_over(fake, mode) as wire:
        assert (await wire.ask("no/such/method")).error.code == -32601


@both_eras
async def test_wrong_arguments_of_a_tool_are_for_the_model_to_correct(mode: str) -> None:
    async with warm_ollama() as fake, wire_over(fake, mode) as wire:
        answer = await wire.ask("tools/call", name="list_models", arguments={"all": True})
    assert answer.result["isError"] is True
    assert "all is not an argument" in answer.result["content"][0]["text"]


@both_eras
async def test_models_are_resources_a_hundred_to_a_page(mode: str) -> None:
    names = [f"model-{number:03}:latest" for number in range(230)]
    models = {name: FakeModel() for name in reversed(names)}
    async with FakeOllama(models=models) as fake, client_over(fake, mode=mode) as client:
        pages, cursor = [], None
        while cursor is not None or not pages:
            page = await client.list_resources(cursor=cursor)
            pages.append([resource.uri for resource in page.resources])
            cursor = page.next_cursor
            fake.models.pop("model-000:latest", None)  # what goes or comes in between shifts nothing
        some = await client.read_resource(pages[-1][-1])
    assert pages[0][:3] == FIXED
    assert [len(page) for page in pages] == [103, 100, 30]
    assert [*pages[0][3:], *pages[1], *pages[2]] == [f"ollama://models/{name}" for name in names]
    assert "model-229:latest" in some.contents[0].text


@both_eras
async def test_a_model_with_a_slash_in_its_name_can_be_read_as_listed(mode: str) -> None:
    async with FakeOllama(models={"user/model:tag": FakeModel()}) as fake, client_over(fake, mode=mode) as client:
        uri = (await client.list_resources()).resources[-1].uri
        read = await client.read_resource(uri)
    assert uri == "ollama://models/user%2Fmodel:tag"
    assert '"user/model:tag"' in read.contents[0].text


@both_eras
@pytest.mark.parametrize("broken", ["down", "hanging"])
async def test_without_the_engine_the_fixed_resources_are_listed_soon(mode: str, broken: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        if broken == "down":
            await fake.stop()
        else:
            fake.on("/api/tags", hang)
        with anyio.fail_after(2):
            listed = await client.list_resources()
    assert [resource.uri for resource in listed.resources] == FIXED
    assert listed.next_cursor is None


@both_eras
async def test_a_list_that_cannot_go_on_is_an_error_and_not_an_end(mode: str) -> None:
    many = {f"model-{number:03}:latest": FakeModel() for number in range(150)}
    async with FakeOllama(models=many) as fake, client_over(fake, mode=mode) as client:
        cursor = (await client.list_resources()).next_cursor
        await fake.stop()
        with pytest.raises(MCPError, match="cannot go on"):
            await client.list_resources(cursor=cursor)


@both_eras
@pytest.mark.parametrize(
    ("tool", "path"), [("list_models", "/api/tags"), ("show_model", "/api/show"), ("unload_model", "/api/chat")]
)
async def test_a_call_that_hangs_ends_at_its_deadline_with_advice(
    mode: str, tool: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ollama_mcp.protocol.MARGIN", 0.1)
    limits = {"query_timeout": 1.0, "queue_timeout": 0.1, "first_token_timeout": 0.8, "total_timeout": 1.0}
    async with warm_ollama() as fake, client_over(fake, mode=mode, **limits) as client:
        fake.on(path, hang)
        arguments = {} if tool == "list_models" else {"model": "llama3.2"}
        with anyio.fail_after(3):
            result = await client.call_tool(tool, arguments)
        await fake.wait_disconnected(within=1)
        fake.on(path, Exchange.default)
        assert not (await client.call_tool("list_models", {})).is_error
    assert result.is_error
    assert result.meta["ollama-mcp/error"]["type"] == "EngineTimeout"
    assert "time limit" in text_of(result) or "within" in text_of(result)


@both_eras
async def test_a_resource_that_hangs_ends_at_its_deadline_with_advice(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode, query_timeout=0.3) as client:
        fake.on("/api/show", hang)
        with anyio.fail_after(3), pytest.raises(MCPError, match=r"within 0\.3 s") as raised:
            await client.read_resource("ollama://models/llama3.2")
        await fake.wait_disconnected(within=1)
    assert raised.value.error.data == {"uri": "ollama://models/llama3.2"}


async def test_a_handshake_client_gets_the_log_records_it_asked_for() -> None:
    heard: list[tuple[str, str, Any]] = []
    news = anyio.Event()

    async def on_log(params: Any) -> None:
        heard.append((params.level, params.logger, params.data))
        news.set()

    logger = logging.getLogger("ollama_mcp.test")
    async with warm_ollama() as fake, service_over(fake) as service:
        server = create_server(service, http_endpoints("127.0.0.1", 4891, serving=False))
        async with Client(server, mode="legacy", logging_callback=on_log) as client:
            logger.error("before it asked")
            await client.set_logging_level("warning")
            logger.info("too little")
            await anyio.to_thread.run_sync(logger.warning, "from a thread: %s", "yes")
            with anyio.fail_after(5):
                await news.wait()
            await client.set_logging_level("critical")
            logger.error("no longer")
            await client.send_ping()
        handlers = logging.getLogger("ollama_mcp").handlers
    assert heard == [("warning", "ollama_mcp.test", "from a thread: yes")]
    assert handlers == []
