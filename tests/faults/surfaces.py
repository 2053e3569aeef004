"""One running server for each way to reach a model, all over one fake Ollama, and what a caller sees there."""

import json
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import httpx
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.fake_ollama import FakeOllama, Responder
from tests.forked import Parent, Served
from tests.harness import text_of
from tests.processes import COMMAND, clean_environment

MCP = ("stdio", "MCP over HTTP, handshake", "MCP over HTTP, 2026")
HTTP = ("OpenAI stream", "OpenAI once")
TERMINAL = "command line"
SURFACES = (*MCP, *HTTP, TERMINAL)
WITHIN = 15.0
"""Seconds in which any fault must have been told, on a busy machine too."""

SETTINGS = {
    "OLLAMA_MCP_FIRST_TOKEN_TIMEOUT": "1",
    "OLLAMA_MCP_IDLE_TIMEOUT": "1",
    "OLLAMA_MCP_HEARTBEAT": "0.2",
}
LOADED = "llama3.2:latest"
MESSAGES = [{"role": "user", "content": "Hi"}]


@dataclass
class Seen:
    """What a caller got. `said` is the model's text; `told` is what it was told of the failure, None if nothing."""

    said: str = ""
    told: str | None = None
    kind: str | None = None
    """The name of the error, or its code."""
    status: int = 0
    """The HTTP status, or the exit code."""
    signs: int = 0
    """Of life, before there was anything to say."""
    done: bool = False
    """Whether the end was marked as a good one."""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Surfaces:
    """The running servers."""

    fake: FakeOllama | None
    """None where nobody is at the address."""
    address: str
    clients: dict[str, Client]
    http: httpx.AsyncClient
    forks: Parent
    served: Served

    async def play(self, responder: Responder | None, model: str = "llama3.2") -> dict[str, Seen]:
        """Ask on every surface at once; None answers as a good Ollama does."""
        if responder is not None and self.fake is not None:
            self.fake.on("/api/chat", responder)
        asks: dict[str, Callable[[], Awaitable[Seen]]] = {
            name: lambda client=client: ask_mcp(client, model) for name, client in self.clients.items()
        }
        asks["OpenAI stream"] = lambda: ask_stream(self.http, model)
        asks["OpenAI once"] = lambda: ask_once(self.http, model)
        asks[TERMINAL] = lambda: ask_terminal(self.forks, model, self.address)
        seen: dict[str, Seen] = {}

        async def ask(name: str) -> None:
            seen[name] = await asks[name]()

        with anyio.fail_after(WITHIN):
            async with anyio.create_task_group() as tasks:
                for name in asks:
                    tasks.start_soon(ask, name)
        return seen

    async def restart(self) -> None:
        """Have Ollama end, with every connection, and begin anew."""
        assert self.fake is not None
        await self.fake.stop()
        await self.fake.__aenter__()

    async def alive(self) -> None:
        """Every server still answers."""
        with anyio.fail_after(WITHIN):
            for client in self.clients.values():
                await client.list_tools()
            assert (await self.http.get("/health/live")).status_code == 200


async def ask_mcp(client: Client, model: str) -> Seen:
    seen = Seen()

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        if len(seen.said) + len(message or "") == math.floor(progress) == progress:
            seen.said += message or ""
        else:
            seen.signs += 1

    arguments = {"messages": MESSAGES, "model": model}
    result = await client.call_tool("chat_completion", arguments, progress_callback=on_progress)
    if result.is_error:
        seen.told = text_of(result)
        seen.kind = result.meta["ollama-mcp/error"]["type"]
    else:
        seen.done = True
        assert result.structured_content["content"] == seen.said
    return seen


async def ask_once(http: httpx.AsyncClient, model: str) -> Seen:
    reply = await http.post("/v1/chat/completions", json={"model": model, "messages": MESSAGES})
    seen = Seen(status=reply.status_code, headers=dict(reply.headers))
    if reply.is_error:
        _read_error(seen, reply.json())
    else:
        seen.said, seen.done = reply.json()["choices"][0]["message"]["content"], True
    return seen


async def ask_stream(http: httpx.AsyncClient, model: str) -> Seen:
    body = {"model": model, "messages": MESSAGES, "stream": True}
    async with http.stream("POST", "/v1/chat/completions", json=body) as reply:
        text = (await reply.aread()).decode()
    seen = Seen(status=reply.status_code, headers=dict(reply.headers), signs=text.count(": ping\n"))
    if reply.is_error:
        _read_error(seen, json.loads(text))
        return seen
    for event in text.split("\n\n"):
        if event == "data: [DONE]":
            seen.done = True
        elif event.startswith("data: "):
            data = json.loads(event[6:])
            assert seen.told is None, "an error is the last event"
            if "error" in data:
                _read_error(seen, data)
            else:
                seen.said += data["choices"][0]["delta"].get("content", "")
    return seen


def _read_error(seen: Seen, body: dict[str, Any]) -> None:
    assert set(body["error"]) == {"message", "type", "param", "code"}
    seen.told, seen.kind = body["error"]["message"], body["error"]["code"]


async def ask_terminal(forks: Parent, model: str, address: str) -> Seen:
    done = await anyio.to_thread.run_sync(
        lambda: forks.run("chat", "Hi", "--model", model, "--ollama-host", address, **SETTINGS)
    )
    said, told = done.stdout.decode(), done.stderr.decode()
    good = done.returncode == 0
    return Seen(said=said.removesuffix("\n"), told=None if good else told, status=done.returncode, done=good)


def parameters(fake_url: str) -> StdioServerParameters:
    return StdioServerParameters(
        command=COMMAND, args=["stdio", "--ollama-host", fake_url], env=clean_environment(**SETTINGS)
    )


@asynccontextmanager
async def connected(
    fake: FakeOllama | None, address: str, forks: Parent, served: Served, errors: Path
) -> AsyncGenerator[Surfaces]:
    with errors.open("w") as log:
        async with (
            Client(stdio_client(parameters(address), log)) as stdio,
            Client(f"{served.url}/mcp", mode="legacy") as handshake,
            Client(f"{served.url}/mcp", mode="2026-07-28") as modern,
            httpx.AsyncClient(base_url=served.url, timeout=WITHIN, trust_env=False) as http,
        ):
            clients = dict(zip(MCP, (stdio, handshake, modern), strict=True))
            yield Surfaces(fake, address, clients, http, forks, served)


@contextmanager
def surfaces_over(
    directory: Path, forks: Parent, address: str | None = None
) -> Iterator[tuple[Surfaces, anyio.from_thread.BlockingPortal]]:
    """All surfaces, over a fake Ollama or what is at an address, and a portal to the event loop of their clients.

    No server may have written an error by the end.
    """
    log = directory / "stdio.log"
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(FakeOllama(loaded={LOADED: 4096})) as fake,
        forks.http_server("--ollama-host", address or fake.url, **SETTINGS) as served,
    ):
        there = fake if address is None else None
        with portal.wrap_async_context_manager(connected(there, address or fake.url, forks, served, log)) as surfaces:
            yield surfaces, portal
        for said in (log.read_text(), served.end()):
            assert "Traceback" not in said
            assert "rror" not in said
