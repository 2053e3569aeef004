"""The stdio server as a real process: nothing but JSON-RPC on stdout, and an end when one is due."""

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from mcp import Client, StdioServerParameters

from .fake_ollama import FakeOllama, Gate, last, line, says, stream
from .harness import ERAS, WARM, text_of
from .processes import COMMAND, WITHIN, clean_environment, running

HELLO = [
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    },
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
]


def lines(*messages: dict) -> str:
    return "".join(json.dumps(message) + "\n" for message in messages)


def server(fake: FakeOllama, *arguments: str) -> StdioServerParameters:
    return StdioServerParameters(
        command=COMMAND, args=["stdio", "--ollama-host", fake.url, *arguments], env=clean_environment()
    )


def test_stdout_carries_only_json_rpc() -> None:
    with (
        FakeOllama.in_thread(loaded=dict(WARM)) as fake,
        running("--ollama-host", fake.url, "--log-level", "debug") as process,
    ):
        call = {"name": "chat_completion", "arguments": {"prompt": "Hi there"}}
        process.stdin.write(
            lines(
                *HELLO,
                {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
                {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": call},
            )
        )
        answers = {}
        while 3 not in answers:
            answer = json.loads(process.stdout.readline())
            answers[answer["id"]] = answer
        process.stdin.close()
        rest = process.stdout.read()
        assert process.wait(WITHIN) == 0
    assert rest == ""
    assert answers[1]["result"]["serverInfo"]["name"] == "ollama-mcp"
    assert [tool["name"] for tool in answers[2]["result"]["tools"]][:3] == [
        "chat_completion",
        "list_models",
        "health_check",
    ]


def test_requests_piped_in_at_once_are_all_answered_before_the_end() -> None:
    done = subprocess.run(
        [COMMAND],
        input=lines(*HELLO, {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}),
        capture_output=True,
        text=True,
        timeout=WITHIN,
        env=clean_environment(OLLAMA_HOST="127.0.0.1:9"),
        check=False,
    )
    assert done.returncode == 0
    assert [json.loads(answer)["id"] for answer in done.stdout.splitlines()] == [1, 2]
    assert done.stderr == ""


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ERAS)
async def test_the_official_client_does_everything_over_stdio(mode: str) -> None:
    seen: list[str] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append(message or "")

    with FakeOllama.in_thread(loaded=dict(WARM)) as fake:
        fake.chat_script = [says("Hello from the model."), stream(line("never"), Gate(), last()), says("After.")]
        async with Client(server(fake), mode=mode) as client:
            assert {tool.name for tool in (await client.list_tools()).tools} >= {"chat_completion", "health_check"}
            assert (await client.list_resources()).resources
            assert (await client.list_resource_templates()).resource_templates
            status = await client.read_resource("ollama://status")
            assert json.loads(status.contents[0].text)["reachable"] is True
            prompt = await client.get_prompt("explain_code", {"code": "x = 1"})
            assert "x = 1" in prompt.messages[0].content.text
            asked = await client.call_tool("chat_completion", {"prompt": "Hi"}, progress_callback=on_progress)
            assert text_of(asked) == "".join(seen) == "Hello from the model."
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.call_tool, "chat_completion", {"prompt": "Go on for ever"})
                await anyio.to_thread.run_sync(fake.wait_request_sync, "/api/chat", 2)
                tasks.cancel_scope.cancel()
            await anyio.to_thread.run_sync(fake.wait_disconnected_sync, 1, 1.0)
            assert text_of(await client.call_tool("chat_completion", {"prompt": "Still there?"})) == "After."
            assert not (await client.call_tool("list_models", {})).is_error


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_one_signal_ends_the_server(number: signal.Signals, busy: bool) -> None:
    with FakeOllama.in_thread(loaded=dict(WARM)) as fake, running("--ollama-host", fake.url) as process:
        fake.chat_script = [stream(line("never"), Gate(), last())]
        process.stdin.write(lines(*HELLO))
        process.stdout.readline()
        if busy:
            call = {"name": "chat_completion", "arguments": {"prompt": "Go on"}}
            process.stdin.write(lines({"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": call}))
            fake.wait_request_sync("/api/chat")
        process.send_signal(number)
        assert process.wait(2) == 128 + number
        assert process.stderr.read() == ""
        if busy:
            fake.wait_disconnected_sync(within=1)


def test_the_end_of_stdin_ends_a_busy_server_and_stops_the_generation() -> None:
    with FakeOllama.in_thread(loaded=dict(WARM)) as fake, running("--ollama-host", fake.url) as process:
        fake.chat_script = [stream(line("never"), Gate(), last())]
        call = {"name": "chat_completion", "arguments": {"prompt": "Go on"}}
        process.stdin.write(lines(*HELLO, {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": call}))
        fake.wait_request_sync("/api/chat")
        process.stdin.close()
        assert process.wait(2) == 0
        fake.wait_disconnected_sync(within=1)


def test_a_line_that_is_not_json_does_not_end_the_server() -> None:
    with running() as process:
        process.stdin.write("this is not JSON\n" + lines(*HELLO, {"jsonrpc": "2.0", "id": 2, "method": "ping"}))
        ids = []
        while 2 not in ids:
            ids.append(json.loads(process.stdout.readline()).get("id"))


def test_on_a_terminal_it_says_what_it_is_and_waits() -> None:
    main, terminal = pty.openpty()
    with running(stdin=terminal) as process:
        said = process.stderr.readline()
        assert "ollama-mcp speaks MCP" in said
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(2) == 130
    os.close(main)
    os.close(terminal)


def test_it_starts_from_any_directory_as_a_module(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ollama_mcp", "--version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=True,
    )
    assert done.stdout.startswith("ollama-mcp ")
