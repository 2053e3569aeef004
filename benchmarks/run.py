# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "ollama-mcp[embedded,redis]",
#     "fastapi>=0.115",       # the relay
#     "fastmcp>=3",           # an MCP server to compare with
#     "litellm[proxy]>=1.80", # the proxy to compare with
#     "psutil>=7",            # CPU time and memory
# ]
#
# [tool.uv]
# override-dependencies = ["llama-cpp-python ; sys_platform == 'never'", "llm ; sys_platform == 'never'"]
#
# [tool.uv.sources]
# ollama-mcp = { path = "..", editable = true }
# ///
"""Compares this project with others in one run and prints the figures: `uv run benchmarks/run.py`.

All servers are up at once and take turns within each round, so that whatever else the machine does hits
all of them. Ratios are taken within a round; the table has their medians and ranges.
"""

import argparse
import asyncio
import contextlib
import platform
import signal
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import uvloop
from fake_ollama import MODELS
from load import Result, ask_once, post, run
from scale import scale
from servers import (
    INITIALIZE,
    INITIALIZED,
    Process,
    StdioServer,
    beside_python,
    free_port,
    start_fake,
    start_litellm,
    start_mcp,
    start_ours,
    start_relay,
    stdio_commands,
)
from table import Row, markdown, ratios

OURS, DIRECT, RELAY, MINIMAL = "this project", "direct", "FastAPI relay", "minimal MCPServer"
CATALOGUED, UNCATALOGUED = "LiteLLM, catalogued model", "LiteLLM, other model"
STREAMS, TOKENS = 50, 200
STARTS = 15
SESSIONS = 4
UNWANTED = ("ollama", "httpx", "openai")

Numbers = dict[str, list[float]]


class Benchmark:
    """What has been measured; each name has a value per round."""

    def __init__(self, rounds: int, scale: float, folder: Path, stack: contextlib.ExitStack) -> None:
        self.rounds = rounds
        self.scale = scale
        self._folder = folder
        self._stack = stack
        self.rows: list[Row] = []
        self.plain: list[list[str]] = []
        port = free_port()
        self.fake_port = port
        self.ollama = f"http://127.0.0.1:{port}"
        self.fake = self.up(start_fake, port, log="fake")

    def log(self, name: str) -> Path:
        """Where a process writes."""
        return self._folder / f"{name.replace(' ', '-')}.log"

    def up(self, start: Callable[..., Process], *arguments: Any, log: str) -> Process:
        """A server that runs until the end."""
        process = start(*arguments, self.log(log))
        self._stack.callback(process.end)
        return process

    def count(self, number: int) -> int:
        """A count of requests, by the scale asked for."""
        return max(10, int(number * self.scale))

    def tell(self, what: str, numbers: Numbers, unit: str) -> None:
        """Keep the numbers of each for the table of absolute figures."""
        for name, values in numbers.items():
            self.plain.append([what, *Row(name, values, unit=f" {unit}").cells()[:2]])


def chat_request(port: int, path: str, model: str, tokens: int = 0) -> bytes:
    """A chat request in OpenAI's form or Ollama's; a stream if a number of tokens is asked for."""
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "Why is the sky blue?"}]}
    if path.startswith("/api"):
        body |= {"stream": bool(tokens)} | ({"options": {"num_predict": tokens}} if tokens else {})
    elif tokens:
        body |= {"stream": True, "max_tokens": tokens}
    return post(port, path, body)


async def http(bench: Benchmark) -> None:
    """Chat over HTTP: throughput, latency, CPU, streams."""
    ports = {name: free_port() for name in (OURS, RELAY, CATALOGUED)}
    ours = bench.up(lambda log: start_ours(ports[OURS], bench.ollama, log), log="ours")
    bench.up(lambda log: start_relay(ports[RELAY], bench.ollama, log), log="relay")
    bench.up(lambda log: start_litellm(ports[CATALOGUED], bench.ollama, log, MODELS), log="litellm")
    known, unknown = MODELS
    openai = "/v1/chat/completions"
    subjects = {
        DIRECT: (bench.fake_port, "/api/chat", known),
        OURS: (ports[OURS], openai, unknown),
        RELAY: (ports[RELAY], openai, unknown),
        CATALOGUED: (ports[CATALOGUED], openai, known),
        UNCATALOGUED: (ports[CATALOGUED], openai, unknown),
    }
    plain = {name: (port, chat_request(port, path, model)) for name, (port, path, model) in subjects.items()}
    streams = {
        name: (port, chat_request(port, path, model, TOKENS)) for name, (port, path, model) in subjects.items()
    }
    short = {name: (port, chat_request(port, path, model, 4)) for name, (port, path, model) in subjects.items()}
    counts = {DIRECT: 4000, OURS: 2000, RELAY: 300, CATALOGUED: 150, UNCATALOGUED: 100}
    for port, request in [*plain.values(), *short.values()]:
        for _ in range(5):  # connections, caches and code that is loaded on first use
            await ask_once(port, request)

    rates, waits, firsts, chunks = (defaultdict[str, list[float]](list) for _ in range(4))
    cpu: Numbers = defaultdict(list)
    for turn in range(bench.rounds):
        print(f"http: round {turn + 1} of {bench.rounds}", file=sys.stderr)
        for name, (port, request) in plain.items():
            total = bench.count(counts[name])
            rates[name].append((await run(port, request, connections=10, total=total)).rate)
            single = await run(port, request, connections=1, total=max(10, total // 4))
            waits[name].append(_median(single.latencies) * 1e3)
            port, request = short[name]
            begun = await run(port, request, connections=1, total=max(10, total // 8), tokens=4)
            firsts[name].append(_median(begun.firsts) * 1e3)
            port, request = streams[name]
            stream = await run(port, request, connections=STREAMS, total=STREAMS, tokens=TOKENS)
            chunks[name].append(stream.chunks / stream.seconds)
        for connections in (1, 100):
            port, request = plain[OURS]
            total = bench.count(2000)
            used = ours.cpu()
            await run(port, request, connections=connections, total=total)
            cpu[f"{OURS}, {connections} connections"].append((ours.cpu() - used) / total * 1e3)

    bench.tell("answers per second, 10 connections", rates, "/s")
    bench.tell("latency, 1 connection", waits, "ms")
    bench.tell("first token, 1 connection", firsts, "ms")
    bench.tell(f"chunks per second, {STREAMS} streams of {TOKENS}", chunks, "/s")
    bench.tell("CPU per request", cpu, "ms")

    def added(numbers: Numbers, name: str) -> list[float]:
        return [value - direct for value, direct in zip(numbers[name], numbers[DIRECT], strict=True)]

    alone, many = cpu.values()
    wait, first = (ratios(added(numbers, OURS), added(numbers, CATALOGUED)) for numbers in (waits, firsts))
    streamed = f"chunks/s, {STREAMS} streams of {TOKENS}"
    bench.rows += [
        Row(f"answers/s, 10 connections: {CATALOGUED}", ratios(rates[OURS], rates[CATALOGUED]), ">= 15x"),
        Row(f"answers/s, 10 connections: {UNCATALOGUED}", ratios(rates[OURS], rates[UNCATALOGUED]), ">= 30x"),
        Row(f"answers/s, 10 connections: {RELAY}", ratios(rates[OURS], rates[RELAY])),
        Row(f"latency added, 1 connection: {CATALOGUED}", wait, "<= 0.08x"),
        Row(f"first token added: {CATALOGUED}", first, "<= 0.12x"),
        Row(f"{streamed}: {CATALOGUED}", ratios(chunks[OURS], chunks[CATALOGUED]), ">= 50x"),
        Row(f"{streamed}: {RELAY}", ratios(chunks[OURS], chunks[RELAY])),
        Row("CPU per request, 100 connections: the same at 1", ratios(many, alone), "<= 1.3x"),
    ]


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


async def mcp_request(port: int, tool: str, arguments: dict[str, Any]) -> bytes:
    """A tool call in a session of its own."""
    answer = await ask_once(port, post(port, "/mcp", INITIALIZE))
    head = answer.partition(b"\r\n\r\n")[0].decode()
    headers = {"Mcp-Protocol-Version": str(INITIALIZE["params"]["protocolVersion"])}  # type: ignore[index]
    for line in head.splitlines():
        name, _, value = line.partition(": ")
        if name.lower() == "mcp-session-id":
            headers["Mcp-Session-Id"] = value
    with contextlib.suppress(RuntimeError):  # 202, which is no answer
        await ask_once(port, post(port, "/mcp", INITIALIZED, headers))
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}
    return post(port, "/mcp", call, headers)


async def mcp(bench: Benchmark) -> None:
    """Tool calls over HTTP."""
    ports = {name: free_port() for name in (MINIMAL, "fastmcp", OURS)}
    for name in (MINIMAL, "fastmcp"):
        bench.up(start_mcp, name, ports[name], log=f"{name}-http")
    bench.up(lambda log: start_ours(ports[OURS], bench.ollama, log), log="ours-mcp")
    hello = {"name": "world"}
    calls = {
        MINIMAL: (ports[MINIMAL], "hello", hello),
        "fastmcp": (ports["fastmcp"], "hello", hello),
        OURS: (ports[OURS], "job", {"action": "list"}),
        f"{OURS}, chat_completion": (ports[OURS], "chat_completion", {"prompt": "Why is the sky blue?"}),
    }
    requests = {
        name: (port, [await mcp_request(port, tool, given) for _ in range(SESSIONS)])
        for name, (port, tool, given) in calls.items()
    }
    rates: Numbers = defaultdict(list)
    for turn in range(-1, bench.rounds):
        print(f"mcp: round {turn + 1} of {bench.rounds}", file=sys.stderr)
        for name, (port, request) in requests.items():
            result: Result = await run(port, request, connections=SESSIONS, total=bench.count(400))
            if turn >= 0:  # the first is to warm up
                rates[name].append(result.rate)
    bench.tell(f"MCP tool calls per second over HTTP, {SESSIONS} sessions", rates, "/s")
    bench.rows += [
        Row(f"MCP tool calls/s over HTTP (`job`): {MINIMAL}", ratios(rates[OURS], rates[MINIMAL]), ">= 0.8x"),
        Row("MCP tool calls/s over HTTP (`job`): fastmcp", ratios(rates[OURS], rates["fastmcp"])),
    ]


async def cold(bench: Benchmark) -> None:
    """The start over stdio: time and CPU to the list of tools, memory, what has been imported."""
    commands = stdio_commands(bench.ollama)
    seconds, cpu, memory = (defaultdict[str, list[float]](list) for _ in range(3))
    for turn in range(-1, bench.count(STARTS) if bench.scale > 1 else STARTS):
        print(f"cold start: round {turn + 1}", file=sys.stderr)
        for name, (argv, env) in commands.items():
            server = StdioServer(argv, bench.log(name), **env)
            try:
                if turn >= 0:
                    seconds[name].append(server.start_seconds * 1e3)
                    cpu[name].append(server.cpu() * 1e3)
                    await asyncio.sleep(0.3)
                    memory[name].append(server.memory())
            finally:
                server.end()
    bench.tell("from the start to tools/list over stdio", seconds, "ms")
    bench.tell("CPU to tools/list", cpu, "ms")
    bench.tell("memory, idle", memory, "MiB")
    bench.rows += [
        Row(f"cold start to tools/list: {MINIMAL}", ratios(seconds[OURS], seconds[MINIMAL]), "<= 1.0x"),
        Row(f"memory, idle: {MINIMAL}", ratios(memory[OURS], memory[MINIMAL]), "<= 1.1x"),
    ]
    for name in commands:
        if name not in (OURS, MINIMAL):
            bench.rows.append(Row(f"cold start to tools/list: {name}", ratios(seconds[OURS], seconds[name])))
            bench.rows.append(Row(f"memory, idle: {name}", ratios(memory[OURS], memory[name])))
    log = bench.log("imports")
    argv, env = [sys.executable, "-X", "importtime", "-m", "ollama_mcp"], {"OLLAMA_HOST": bench.ollama}
    server = StdioServer(argv, log, **env)
    imported = {line.rpartition("|")[2].strip() for line in log.read_text().splitlines()}
    server.end()
    found = [name for name in UNWANTED if name in imported]
    bench.rows.append(Row("of ollama, httpx, openai imported at tools/list", [len(found)], "<= 0", ""))


async def embedded(bench: Benchmark) -> None:
    """Tokens per second of the tool against llama.cpp's own server, the same process arguments and prompts."""
    from ollama_mcp.engines import embedded as engine

    direct = await engine._start(engine.EmbeddedEngine()._model, dead=None)
    ours = StdioServer([beside_python("ollama-mcp"), "--engine", "embedded"], bench.log("embedded"))
    rates: Numbers = defaultdict(list)
    loop = asyncio.get_running_loop()
    try:
        for turn in range(-1, bench.rounds):
            print(f"embedded: round {turn + 1} of {bench.rounds}", file=sys.stderr)
            prompt = f"Write a long story about {turn + 2} ships."
            limits = {"max_tokens": bench.count(200), "temperature": 0}
            started = loop.time()
            body = {"messages": [{"role": "user", "content": prompt}], **limits}
            usage = (await direct._client.ask("POST", f"{direct._base_url}/chat/completions", body))["usage"]
            spent = loop.time() - started
            began = loop.time()
            result = ours.call("tools/call", {"name": "chat_completion", "arguments": {"prompt": prompt, **limits}})
            took = loop.time() - began
            if turn >= 0:
                rates["llama.cpp"].append(usage["completion_tokens"] / spent)
                rates[OURS].append(result["structuredContent"]["usage"]["completion_tokens"] / took)
    finally:
        ours.end()
        await direct.aclose()
    bench.tell("tokens per second, embedded engine", rates, "/s")
    bench.rows.append(
        Row("chat_completion tokens/s: llama.cpp itself", ratios(rates[OURS], rates["llama.cpp"]), ">= 0.97x")
    )


GROUPS = {"cold": cold, "mcp": mcp, "embedded": embedded, "http": http, "scale": scale}


def machine() -> str:
    """What it ran on."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("mcp", "litellm", "fastapi", "fastmcp", "uvicorn"))
    load = psutil.getloadavg()[0]
    return f"Python {platform.python_version()}, {psutil.cpu_count()} CPUs, load {load:.1f} before; {versions}"


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)}; all without any")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the counts of requests")
    parsed = parser.parse_args()
    current = asyncio.current_task()
    assert current is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, current.cancel)  # so that all servers end too
    where = machine()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        bench = Benchmark(parsed.rounds, parsed.scale, Path(folder), stack)
        for name in parsed.groups or GROUPS:
            with contextlib.ExitStack() as servers:
                bench._stack = servers
                await GROUPS[name](bench)
    print(f"{where}; {bench.rounds} rounds, median (range)\n")
    print(markdown(["this project against", "ratio", "wanted"], [row.cells() for row in bench.rows]))
    print()
    print(markdown(["figure", "of", "value"], bench.plain))


if __name__ == "__main__":
    uvloop.run(main())  # so that what asks takes less of the machine than what answers
