"""The Inspector's command line, strict, in both eras over both transports; and under load."""

import json
from collections.abc import Iterator

import pytest

from tests.fake_ollama import FakeOllama
from tests.harness import WARM
from tests.processes import COMMAND, http_server

from .conftest import Run

TRANSPORTS = ("stdio", "http")
Targets = dict[str, list[str]]


@pytest.fixture(scope="module")
def targets() -> Iterator[Targets]:
    """How the Inspector is told of a server, for each transport."""
    with FakeOllama.in_thread(loaded=dict(WARM)) as fake, http_server("--ollama-host", fake.url) as (url, _):
        yield {
            "stdio": [COMMAND, "stdio", "--ollama-host", fake.url],
            "http": [f"{url}/mcp", "--transport", "http"],
        }


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("era", ["legacy", "modern"])
@pytest.mark.parametrize(
    ("method", "told"),
    [
        (["tools/list", "--strict"], "chat_completion"),
        (["tools/call", "--tool-name", "health_check"], '"reachable":true'),
        (["resources/list"], "ollama://models/llama3.2:latest"),
        (["resources/templates/list"], "ollama://models/{name}"),
        (["resources/read", "--uri", "ollama://status"], "application/json"),
        (["prompts/list"], "explain_code"),
        (["prompts/get", "--prompt-name", "summarize", "--prompt-args", "text=Hello"], "Hello"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_the_inspector_finds_nothing_wrong(
    run: Run, targets: Targets, transport: str, era: str, method: list[str], told: str
) -> None:
    options = ("--protocol-era", era, "--format", "json", "--method", *method)
    done = run("mcp-inspector", "--cli", *targets[transport], *options)
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert told in json.dumps(answer, separators=(",", ":")).replace("\\", "")
    assert "warning" not in done.stderr.lower()


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_two_hundred_calls_eight_at_a_time_bring_no_error(
    run: Run, targets: Targets, transport: str, era: str
) -> None:
    load = ("--load", "--load-requests", "200", "--load-concurrency", "8", "--format", "json")
    call = ("--protocol-era", era, "--method", "tools/call", "--tool-name", "health_check")
    done = run("mcp-inspector", "--cli", *targets[transport], *call, *load)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)["result"]
    assert (result["requests"], result["ok"], result["errors"], result["toolErrors"]) == (200, 200, 0, 0)
