"""The console command as a real process."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

COMMAND = str(Path(sys.executable).with_name("ollama-mcp"))
WITHIN = 20.0


def clean_environment(**extra: str) -> dict[str, str]:
    """This environment without what would set anything up."""
    names = ("OLLAMA", "PORT", "MCP_", "HTTP_PROXY", "http_proxy")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(names)}
    return {**kept, "PYTHONWARNINGS": "error", **extra}


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    environment = clean_environment(**options.pop("env", {}))
    return subprocess.run(
        [COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=WITHIN * 2,
        env=environment,
        check=False,
        **options,
    )


@contextmanager
def running(*arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """The command while it runs; killed if the test leaves it running."""
    environment = clean_environment(**options.pop("env", {}))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(
        [COMMAND, *arguments], env=environment, **{"text": True, "bufsize": 1, **pipes, **options}
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def http_server(*arguments: str, **options: Any) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`ollama-mcp http` on a free port, and its address."""
    with running("http", "--port", "0", *arguments, **options) as process:
        for line in process.stderr:
            if " /mcp" in line or "/mcp " in line:
                yield line.split()[1].removesuffix("/mcp"), process
                return
        raise AssertionError(f"the server ended with {process.wait()}")
