"""Whether two servers behind nginx do twice what one does, with rate limits counted in one Redis.

On machines of their own each server would have processors of its own; here all share a few with nginx, Redis, the
fake Ollama and the load. So a control group keeps each server to the same fifth of a core, whether one serves or
both: that is what runs out, as it would there, and the CPU that each part has used is told beside the figures. One
nginx has both servers behind it, two more have one each. In a round one server, both, the other and both again take
turns, each for a second or two.
"""

import contextlib
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cpu_budget import can_budget, cpu_budget
from fake_ollama import MODELS
from load import ask_once, post, run
from proxy import nginx_arguments, nginx_command
from servers import Process, free_port, start_ours
from table import Row, ratios

if TYPE_CHECKING:
    from run import Benchmark

ONE, TWO = "one server", "two servers"
DONE, SECONDS, SERVERS = "done", "seconds", "servers"
SHARE = 0.2
"""Of a core, for each server."""
AT_ONCE = 16
"""Connections for each server, as many as it has requests at Ollama at once."""
TOKENS = 100
KEY = "benchmark" * 4
WANTED = ">= 1.8x"
VERSION = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientInfo": {"name": "benchmark", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
ANSWERS, CHUNKS, CALLS = "OpenAI answers/s", "OpenAI streamed chunks/s", f"MCP {VERSION} tool calls/s"
COUNTS = {ANSWERS: 200, CHUNKS: 64, CALLS: 80}
"""How often one server is asked in a turn; two are asked twice as often, so that both take as long."""

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
        ANSWERS: (post(port, "/v1/chat/completions", chat, key), 0),
        CHUNKS: (post(port, "/v1/chat/completions", stream, key), TOKENS),
        CALLS: (post(port, "/mcp", mcp, modern), 0),
    }


def start_redis(command: str, port: int, log: Path) -> Process:
    """A Redis that keeps nothing."""
    argv = [command, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    return Process([*argv, "--dir", str(log.parent)], log).wait_for(port)


def start_nginx(command: str, port: int, replicas: Sequence[int], log: Path) -> Process:
    """The nginx of deploy/ before these servers."""
    folder = log.with_suffix("")
    folder.mkdir()
    return Process([*nginx_arguments(command, folder, port, replicas), "-g", "daemon off;"], log).wait_for(port)


async def scale(bench: "Benchmark") -> None:
    """Two servers behind nginx against one, each with the same share of a core."""
    nginx, redis_server = nginx_command(), shutil.which("redis-server")
    if nginx is None or redis_server is None or not can_budget():
        print("scale is left out: it needs nginx, redis-server, root and Linux's control groups", file=sys.stderr)
        return
    redis_port, ports = free_port(), [free_port(), free_port()]
    redis = bench.up(start_redis, redis_server, redis_port, log="redis")
    settings = {
        "OLLAMA_MCP_API_KEY": KEY,
        "OLLAMA_MCP_MODEL": MODELS[0],
        "OLLAMA_MCP_RATE_LIMIT": "100000000/minute",
        "OLLAMA_MCP_RATE_LIMIT_STORAGE": f"redis://127.0.0.1:{redis_port}",
    }
    logs = [f"replica {number}" for number, _ in enumerate(ports)]
    servers = [
        bench.up(lambda log, port=port: start_ours(port, bench.ollama, log, **settings), log=name)
        for port, name in zip(ports, logs, strict=True)
    ]
    *alone, both = fronts = [free_port() for _ in range(3)]
    nginxes = [
        bench.up(start_nginx, nginx, port, behind, log=f"nginx {port}")
        for port, behind in zip(fronts, (ports[:1], ports[1:], ports), strict=True)
    ]
    parts = {SERVERS: servers, "nginx": nginxes, "Redis": [redis], "fake Ollama": [bench.fake]}

    def used() -> dict[str, float]:
        """Seconds of CPU time of each part so far."""
        spent = {name: sum(process.cpu() for process in part) for name, part in parts.items()}
        return spent | {"load": time.process_time()}

    async def measure(what: str, port: int, count: int, sums: dict[str, float]) -> None:
        """Add what was answered, in how many seconds, and what each part used."""
        request, tokens = requests(port)[what]
        total = bench.count(COUNTS[what]) * count
        before = used()
        result = await run(port, request, connections=AT_ONCE * count, total=total, tokens=tokens)
        sums[DONE] += result.chunks if tokens else total
        sums[SECONDS] += result.seconds
        for part, seconds in used().items():
            sums[part] += seconds - before[part]

    rates, of_budget = (defaultdict[str, Numbers](lambda: defaultdict(list)) for _ in range(2))
    beside: Numbers = defaultdict(list)
    with contextlib.ExitStack() as budgets:
        for port, server in zip(ports, servers, strict=True):
            for request, _ in requests(port).values():  # connections, caches and code that is loaded on first use
                await ask_once(port, request)
            budgets.enter_context(cpu_budget(str(port), server.popen.pid, SHARE))
        for round_ in range(-1, bench.rounds):
            print(f"scale: round {round_ + 1} of {bench.rounds}", file=sys.stderr)
            for what in COUNTS:
                sums: dict[str, dict[str, float]] = {ONE: defaultdict(float), TWO: defaultdict(float)}
                for one in alone:
                    await measure(what, one, 1, sums[ONE])
                    await measure(what, both, 2, sums[TWO])
                if round_ < 0:  # to warm up
                    continue
                for count, (name, spent) in enumerate(sums.items(), 1):
                    rates[what][name].append(spent[DONE] / spent[SECONDS])
                    of_budget[what][name].append(100 * spent[SERVERS] / spent[SECONDS] / SHARE / count)
                for part, seconds in sums[TWO].items():
                    if part not in (DONE, SECONDS, SERVERS):
                        beside[part].append(100 * seconds / sums[TWO][SECONDS])
    for name in logs:
        if "rate limits are off" in (said := bench.log(name).read_text()):
            raise RuntimeError(f"not all was counted:\n{said[-1000:]}")
    for what, numbers in rates.items():
        bench.tell(f"{what}, behind nginx", numbers, "/s")
        bench.rows.append(Row(f"{what}: {TWO} over {ONE}, behind nginx", ratios(numbers[TWO], numbers[ONE]), WANTED))
    for what, numbers in of_budget.items():
        bench.tell(f"CPU of the servers during {what}", numbers, "% of what they may use")
    bench.tell("CPU of the rest while both serve", beside, "% of a core")
