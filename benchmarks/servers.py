"""The programs that are compared, each a process with its children: starting, waiting, CPU time, memory, ending."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import psutil

HERE = Path(__file__).parent
SUBJECTS = HERE / "subjects"
NPM_PACKAGE = "ollama-mcp@2.1.0"
READY_SECONDS = 90.0

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "benchmark", "version": "1"},
    },
}
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def beside_python(name: str) -> str:
    """A console command of this environment."""
    return str(Path(sys.executable).with_name(name))


class Process:
    """A process and its children."""

    def __init__(self, argv: Sequence[str], log: Path, *, pipes: bool = False, **env: str) -> None:
        self.argv = list(argv)
        pipe = subprocess.PIPE if pipes else subprocess.DEVNULL
        with log.open("ab") as errors:
            self.popen = subprocess.Popen(
                argv,
                stdin=pipe,
                stdout=subprocess.PIPE if pipes else errors,
                stderr=errors,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", **env},  # compiled once, as for whoever installs it
                start_new_session=True,
                bufsize=0,
            )
        self._log = log

    def _family(self) -> list[psutil.Process]:
        first = psutil.Process(self.popen.pid)
        return [first, *first.children(recursive=True)]

    def cpu(self) -> float:
        """Seconds of CPU time so far."""
        return sum(sum(process.cpu_times()[:2]) for process in self._family())

    def memory(self) -> float:
        """MiB that would be free without it."""
        return float(sum(process.memory_full_info().uss for process in self._family())) / 2**20

    def failure(self) -> RuntimeError:
        """What the process said last."""
        return RuntimeError(f"{' '.join(self.argv)} failed:\n{self._log.read_text(errors='replace')[-3000:]}")

    def wait_for(self, port: int) -> Self:
        """Wait until it takes connections."""
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end:
            if self.popen.poll() is not None:
                break
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return self
            time.sleep(0.05)
        raise self.failure()

    def end(self) -> None:
        """End it and its children."""
        if self.popen.poll() is None:
            family = self._family()
            for process in reversed(family):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.terminate()
            _, alive = psutil.wait_procs(family, timeout=10)
            for process in alive:
                process.kill()
            self.popen.wait()
        for stream in (self.popen.stdin, self.popen.stdout):
            if stream is not None:
                stream.close()


class StdioServer(Process):
    """An MCP server over stdin and stdout, which has listed its tools once this is made."""

    def __init__(self, argv: Sequence[str], log: Path, **env: str) -> None:
        started = time.perf_counter()
        super().__init__(argv, log, pipes=True, **env)
        self._received = b""
        self._last = 0
        self._send(INITIALIZE, INITIALIZED)
        self._answer(0)
        self.tools = self.call("tools/list", {})["tools"]
        self.start_seconds = time.perf_counter() - started
        """From the start of the process to its tools."""

    def call(self, method: str, params: dict[str, Any]) -> Any:
        """The result of a request."""
        self._last += 1
        self._send({"jsonrpc": "2.0", "id": self._last, "method": method, "params": params})
        return self._answer(self._last)

    def _send(self, *messages: dict[str, Any]) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write(b"".join(json.dumps(message).encode() + b"\n" for message in messages))

    def _answer(self, number: int) -> Any:
        assert self.popen.stdout is not None
        while True:
            while b"\n" not in self._received:
                piece = os.read(self.popen.stdout.fileno(), 65536)
                if not piece:
                    raise self.failure()
                self._received += piece
            line, _, self._received = self._received.partition(b"\n")
            found = json.loads(line)
            if found.get("id") == number and "method" not in found:
                if "result" not in found or found["result"].get("isError"):
                    raise RuntimeError(f"{self.argv}: {found}")
                return found["result"]


def stdio_commands(ollama: str) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Each MCP server over stdio: command and environment."""
    env = {"OLLAMA_HOST": ollama, "FASTMCP_CHECK_FOR_UPDATES": "off"}
    found = {
        "minimal MCPServer": [sys.executable, str(SUBJECTS / "minimal_mcp.py")],
        "this project": [beside_python("ollama-mcp")],
        "fastmcp": [sys.executable, str(SUBJECTS / "fastmcp_server.py")],
    }
    if npx := shutil.which("npx"):
        found["npm ollama-mcp"] = [npx, "--yes", NPM_PACKAGE]
    return {name: (argv, env) for name, argv in found.items()}


def start_fake(port: int, log: Path) -> Process:
    """The upstream."""
    return Process([sys.executable, str(HERE / "fake_ollama.py"), str(port), "2"], log).wait_for(port)


def start_ours(port: int, ollama: str, log: Path, *flags: str, **env: str) -> Process:
    """This project over HTTP."""
    argv = [beside_python("ollama-mcp"), "http", "--port", str(port), *flags]
    return Process(argv, log, OLLAMA_HOST=ollama, **env).wait_for(port)


def start_relay(port: int, ollama: str, log: Path) -> Process:
    """The FastAPI relay."""
    argv = [sys.executable, "-m", "uvicorn", "--app-dir", str(SUBJECTS), "relay:app", "--port", str(port)]
    return Process([*argv, "--no-access-log", "--log-level", "warning"], log, OLLAMA_HOST=ollama).wait_for(port)


def start_litellm(port: int, ollama: str, log: Path, models: Sequence[str]) -> Process:
    """LiteLLM's proxy with its own settings, but for what it would write to the log."""
    config = log.with_suffix(".yaml")
    params = [{"model_name": m, "litellm_params": {"model": f"ollama_chat/{m}", "api_base": ollama}} for m in models]
    config.write_text(json.dumps({"model_list": params}))
    argv = [beside_python("litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    return Process(
        [*argv, "--num_workers", "1"],
        log,
        LITELLM_LOCAL_MODEL_COST_MAP="True",
        LITELLM_LOG="ERROR",
        LITELLM_TELEMETRY="False",
        LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY="true",  # none of the others checks a key here
        OLLAMA_API_BASE=ollama,  # where the provider asks about a model that the catalogue lacks
    ).wait_for(port)


def start_mcp(name: str, port: int, log: Path) -> Process:
    """A trivial MCP server over HTTP."""
    script = {"minimal MCPServer": "minimal_mcp.py", "fastmcp": "fastmcp_server.py"}[name]
    argv = [sys.executable, str(SUBJECTS / script), str(port)]
    return Process(argv, log, FASTMCP_CHECK_FOR_UPDATES="off").wait_for(port)
