"""Whether two servers behind nginx do twice what one does, with rate limits counted in one Redis.

On machines of their own each server would have processors of its own; here all share a few with nginx, Redis, the
fake Ollama and the load. So a control group keeps each server to the same fifth of a core, whether one serves or
both: that is what runs out, as it would there, and the CPU that each part has used is told beside the figures. One
nginx has one server behind it and another both, the first of the two among them; they take turns in each round.
"""

import contextlib
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cpu_budget import cpu_budget
from fake_ollama import MODELS
from load import ask_once, post, run
from proxy import nginx_arguments, nginx_command
from servers import Process, free_port, start_ours
from table import Row, ratios

if TYPE_CHECKING:
    from run import Benchmark

ONE, TWO = "one server", "two servers"
SHARE = 0.2
"""Of a core, for each server."""
CONNECTIONS = 32
TOKENS = 100
KEY = "benchmark" * 4
WANTED = ">= 1.8x"
VERSION = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientInfo": {"name": "benchmark", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}

Numbers = dict[str, list[float]]


def requests(port: int) -> dict[str, tuple[bytes, int]]:
    """What is asked, by name: the request, and how many pieces its streamed answer must have."""
    key = {"Authorization": f"Bearer {KEY}"}
    chat = {"model": MODELS[0], "messages": [{"role": "user", "content": "Why is the sky blue?"}]}
    tool = "chat_completion"
    call = {"name": tool, "arguments": {"prompt": "Why is the sky blue?"}, "_meta": META}
    mcp = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
    modern = {**key, "MCP-Protocol-Version": VERSION, "Mcp-Method": "tools/call", "Mcp-Name": tool}
    stream = {**chat, "stream": True, "max_tokens": TOKENS}
    return {
        "OpenAI answers/s": (post(port, "/v1/chat/completions", chat, key), 0),
        "OpenAI streamed chunks/s": (post(port, "/v1/chat/completions", stream, key), TOKENS),
        f"MCP {VERSION} tool calls/s": (post(port, "/mcp", mcp, modern), 0),
    }


COUNTS = {"OpenAI answers/s": 400, "OpenAI streamed chunks/s": 128, f"MCP {VERSION} tool calls/s": 160}
"""How often one server is asked; two are asked twice as often, so that both take as long."""


def start_redis(port: int, log: Path) -> Process:
    """A Redis that keeps nothing."""
    command = shutil.which("redis-server")
    if command is None:
        raise FileNotFoundError("redis-server is not installed: apt-get install redis-server")
    argv = [command, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    return Process([*argv, "--dir", str(log.parent)], log).wait_for(port)


def start_nginx(port: int, replicas: Sequence[int], log: Path) -> Process:
    """The nginx of deploy/ before these servers."""
    command = nginx_command()
    if command is None:
        raise FileNotFoundError("nginx is not installed: apt-get install nginx")
    folder = log.with_suffix("")
    folder.mkdir()
    return Process([*nginx_arguments(command, folder, port, replicas), "-g", "daemon off;"], log).wait_for(port)


async def scale(bench: "Benchmark") -> None:
    """Two servers behind nginx against one, each with the same share of a core."""
    redis_port, ports = free_port(), [free_port(), free_port()]
    redis = bench.up(lambda log: start_redis(redis_port, log), log="redis")
    settings = {
        "OLLAMA_MCP_API_KEY": KEY,
        "OLLAMA_MCP_MODEL": MODELS[0],
        "OLLAMA_MCP_RATE_LIMIT": "100000000/minute",
        "OLLAMA_MCP_RATE_LIMIT_STORAGE": f"redis://127.0.0.1:{redis_port}",
    }
    servers = [
        bench.up(lambda log, port=port: start_ours(port, bench.ollama, log, **settings), log=f"ours-{port}")
        for port in ports
    ]
    fronts = {ONE: (free_port(), ports[:1]), TWO: (free_port(), ports)}
    nginxes = [
        bench.up(lambda log, port=port, behind=behind: start_nginx(port, behind, log), log=name)
        for name, (port, behind) in fronts.items()
    ]
    parts = {"servers": servers, "nginx": nginxes, "Redis": [redis], "fake Ollama": [bench.fake]}

    def used() -> dict[str, float]:
        """Seconds of CPU time of each part so far."""
        spent = {name: sum(process.cpu() for process in part) for name, part in parts.items()}
        return spent | {"load": time.process_time()}

    rates: dict[str, Numbers] = defaultdict(lambda: defaultdict(list))
    cpu: dict[str, Numbers] = defaultdict(lambda: defaultdict(list))
    with contextlib.ExitStack() as budgets:
        for port, server in zip(ports, servers, strict=True):
            for request, _ in requests(port).values():  # connections, caches and code that is loaded on first use
                await ask_once(port, request)
            budgets.enter_context(cpu_budget(str(port), server.popen.pid, SHARE))
        for turn in range(-1, bench.rounds):
            print(f"scale: round {turn + 1} of {bench.rounds}", file=sys.stderr)
            for name, (port, behind) in fronts.items():
                for what, (request, tokens) in requests(port).items():
                    total = bench.count(COUNTS[what]) * len(behind)
                    before = used()
                    result = await run(port, request, connections=CONNECTIONS, total=total, tokens=tokens)
                    after = used()
                    if turn < 0:  # to warm up
                        continue
                    rates[what][name].append((result.chunks if tokens else total) / result.seconds)
                    for part in after:
                        percent = 100 * (after[part] - before[part]) / result.seconds
                        cpu[f"CPU while {name} serve: {what}"][part].append(percent)
    for what, numbers in rates.items():
        bench.tell(f"{what}, behind nginx", numbers, "/s")
        bench.rows.append(Row(f"{what}: {TWO} behind nginx over {ONE}", ratios(numbers[TWO], numbers[ONE]), WANTED))
    for what, numbers in cpu.items():
        bench.tell(what, numbers, "% of a core")
