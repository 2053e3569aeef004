"""The process in which llama.cpp runs, and the connections to it.

It is a process of its own since the binding holds Python's lock while it loads a model and while it ends,
waits for ever if a connection is open then, and takes its process along when llama.cpp aborts.
"""

import asyncio
import re
import secrets
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import orjson

from ollama_mcp.engines.openai import OpenAIEngine
from ollama_mcp.errors import EngineFailed, EngineUnavailable, GenerationBroken

END_KNOWN_WITHIN = 0.5
KILLED = 9


@dataclass(frozen=True, slots=True)
class LlamaSettings:
    """What llama.cpp is started with; lengths are in tokens."""

    path: str
    name: str
    parallel: int
    """Conversations side by side."""
    context: int
    """For each of them."""
    batch: int
    cache_mib: int
    """Memory for the prompts of earlier conversations."""
    pools: bool
    """Whether the model has its own way of making one vector of a text."""


class LlamaServer(OpenAIEngine):
    """The process and the connections to it."""

    title = "llama.cpp"

    def __init__(self, process: asyncio.subprocess.Process, base_url: str, api_key: str) -> None:
        super().__init__(base_url, api_key=api_key)
        self._process = process
        self._closed = False

    @classmethod
    async def start(cls, settings: LlamaSettings) -> "LlamaServer":
        """Start the process and wait until the model is loaded."""
        key = secrets.token_urlsafe(32)  # keeps the other programs of this machine out
        script = Path(__file__).with_name("llama_server.py")
        with tempfile.TemporaryFile() as errors:
            try:
                # -P: the modules beside the script must not stand before the installed ones
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-P",
                    str(script),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=errors,
                )
            except OSError as error:
                raise EngineFailed(f"The process for llama.cpp could not be started: {error}.") from error
            try:
                report = await _report(process, asdict(settings) | {"api_key": key})
            except BaseException:
                await _end(process)
                raise
            if not report:
                raise EngineFailed(f"llama.cpp could not load {settings.path}: {await _why(process, errors)}.")
        return cls(process, orjson.loads(report)["address"] + "/v1", key)

    @property
    def lives(self) -> bool:
        """Whether the process has not ended."""
        return self._process.returncode is None

    @asynccontextmanager
    async def watched(self) -> AsyncGenerator[None]:
        """Tell a failure that comes of the process having ended as what it is."""
        try:
            yield
        except (EngineUnavailable, EngineFailed, GenerationBroken) as error:
            if isinstance(error, EngineFailed) and error.status is not None:
                raise
            try:
                # Its connections break a moment before its end is known.
                code = await asyncio.wait_for(self._process.wait(), END_KNOWN_WITHIN)
            except TimeoutError:
                raise error from None
            how = "been stopped" if self._closed else f"ended unexpectedly with {_ending(code)}"
            sentence = f"llama.cpp has {how}; the next request starts it again."
            kind = GenerationBroken if isinstance(error, GenerationBroken) else EngineUnavailable
            raise kind(sentence) from error

    async def aclose(self) -> None:
        """End the process and close the connections, in this order: whoever still reads finds a broken answer."""
        self._closed = True
        await _end(self._process)
        await super().aclose()


async def _report(process: asyncio.subprocess.Process, settings: dict[str, object]) -> bytes:
    """The line that the process writes once it is ready; empty if it ends instead."""
    assert process.stdin is not None  # noqa: S101 - both are pipes
    assert process.stdout is not None  # noqa: S101
    with suppress(ConnectionError):  # it has ended already, which the empty line tells
        process.stdin.write(orjson.dumps(settings) + b"\n")
        await process.stdin.drain()
    return await process.stdout.readline()


async def _end(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()  # it has nothing to save
    await process.wait()


async def _why(process: asyncio.subprocess.Process, errors: IO[bytes]) -> str:
    """The reason why the process ended while it loaded."""
    code = await process.wait()
    errors.seek(0)
    lines = errors.read().decode(errors="replace").splitlines()
    causes = [found[1] for line in lines if (found := re.search(r"error loading model: (.*)", line))]
    if causes:
        return causes[0].rstrip(".")
    return lines[-1].rstrip(".") if lines and code > 0 else f"it ended with {_ending(code)}"


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    return f"signal {-code}" + (", perhaps for want of memory" if code == -KILLED else "")
