"""The stdio server as a real process: nothing but JSON-RPC on stdout, and an end when one is due."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
PING = {"jsonrpc": "2.0", "id": 2, "method": "ping"}


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


@pytest.fixture(scope="module")
def talking() -> Iterator[Any]:
    """A server that has been greeted."""
    with running(text=False, bufsize=0) as process:
        process.stdin.write(lines(*HELLO).encode())
        process.stdout.readline()
        yield process


@pytest.mark.parametrize(
    ("line_sent", "says"),
    [
        (b"this is not JSON", "not valid JSON"),
        (b'{"jsonrpc": "2.0", "id": 7, "method": "ping"', "not valid JSON"),
        (b'{"jsonrpc": "2.0", "id": 7, "method": "\xff"}', "not valid JSON"),
        (b'{"jsonrpc": "2.0", "id": 7, "method": "\\ud800"}', "not valid JSON"),
        (b'{"jsonrpc": "2.0", "id": NaN, "method": "ping"}', "not valid JSON"),
        (b'\xef\xbb\xbf{"jsonrpc": "2.0", "id": 7, "method": "ping"}', "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"jsonrpc": "2.0", "id": 7, "params": {"a": ' + b"[" * 63 + b"]" * 63 + b"}}", "64 levels"),
        (b'{"jsonrpc": "2.0", "id": 7, "id": 8, "method": "ping"}', "twice"),
        (b'{"jsonrpc": "2.0", "id": 9223372036854775808, "method": "ping"}', "64 bits"),
    ],
)
def test_a_line_that_is_not_strictly_json_is_answered_with_the_reason_and_the_server_goes_on(
    talking: Any, line_sent: bytes, says: str
) -> None:
    talking.stdin.write(line_sent + b"\n\n" + lines(PING).encode())
    refused, answer = (json.loads(talking.stdout.readline()) for _ in range(2))
    assert (refused["error"]["code"], refused["id"]) == (-32700, None)
    assert says in refused["error"]["message"]
    assert answer["id"] == PING["id"]


@pytest.mark.parametrize(
    ("line_sent", "answers_to"),
    [
        (b"[]", None),
        (b'"text"', None),
        (b'{"id": 7, "method": "ping"}', 7),
        (b'{"jsonrpc": "2.0", "id": 7}', 7),
        (b'{"jsonrpc": "2.0", "id": "seven", "method": 5}', "seven"),
        (b'{"jsonrpc": "2.0", "id": 7, "method": "ping", "params": [1]}', 7),
        (b'{"jsonrpc": "2.0", "id": {}, "method": "ping"}', None),
    ],
)
def test_a_line_that_is_no_message_is_answered_with_an_error_and_the_server_goes_on(
    talking: Any, line_sent: bytes, answers_to: object
) -> None:
    talking.stdin.write(line_sent + b"\n\n" + lines(PING).encode())
    refused, answer = (json.loads(talking.stdout.readline()) for _ in range(2))
    assert (refused["error"]["code"], refused["id"]) == (-32600, answers_to)
    assert answer["id"] == PING["id"]


def test_a_line_of_more_than_16_mib_is_refused_without_being_kept() -> None:
    mebibyte = b"x" * 2**20
    with running(text=False, bufsize=0) as process:
        process.stdin.write(lines(*HELLO).encode())
        process.stdout.readline()
        before = most_memory(process.pid)
        for _ in range(96):
            process.stdin.write(mebibyte)
        process.stdin.write(b"\n" + lines(PING).encode())
        refused, answer = (json.loads(process.stdout.readline()) for _ in range(2))
        grown = most_memory(process.pid) - before
    assert refused["error"]["code"] == -32700
    assert refused["id"] is None
    assert "16 MiB" in refused["error"]["message"]
    assert answer["id"] == 2
    assert grown < 48 * 2**20


def test_a_line_of_15_mib_is_taken() -> None:
    call = {
        "name": "chat_completion",
        "arguments": {"prompt": "x" * (15 * 2**20), "model": "no/such/registry/name/x"},
    }
    with running(text=False, bufsize=0) as process:
        process.stdin.write(
            lines(*HELLO, {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": call}).encode()
        )
        answers = [json.loads(process.stdout.readline()) for _ in range(2)]
    assert answers[1]["id"] == 3
    assert answers[1]["result"]["isError"] is True


def most_memory(pid: int) -> int:
    """The most bytes that a process ever held."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


STRAY = """
import builtins, ctypes, os, sys

libc = ctypes.CDLL(None)
served = False


def stray(when):
    if served:
        print("STRAY print", when, flush=True)
        print("STRAY unflushed", when)
        os.write(1, b"STRAY os.write\\n")
        libc.puts(b"STRAY puts")
        libc.fflush(None)
        os.system("echo STRAY child")


original = builtins.__import__


def noisy(name, *rest):
    if name in ("mcp.server.stdio", "mcp.server.runner", "ollama_mcp.engines.ollama"):
        stray("import of " + name)
    return original(name, *rest)


builtins.__import__ = noisy
from ollama_mcp import cli, serve
from ollama_mcp.service import Service

serve_stdio, health = serve.serve_stdio, Service.health


async def noisy_health(self):
    stray("call")
    result = await health(self)
    stray("call")
    return result


def noisy_serve(settings):
    global served
    served = True
    code = serve_stdio(settings)
    stray("end")
    return code


serve.serve_stdio, Service.health = noisy_serve, noisy_health
sys.exit(cli.main(["stdio"]))
"""


def test_stray_output_of_any_kind_never_reaches_the_wire() -> None:
    call = {"name": "health_check", "arguments": {}}
    with FakeOllama.in_thread() as fake:
        done = subprocess.run(
            [sys.executable, "-c", STRAY],
            input=lines(*HELLO, {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call}),
            capture_output=True,
            text=True,
            timeout=WITHIN,
            env=clean_environment(OLLAMA_HOST=fake.url),
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert [json.loads(answer)["id"] for answer in done.stdout.splitlines()] == [1, 2]
    for kind in (
        "print import of mcp.server.stdio",
        "print call",
        "print end",
        "unflushed",
        "os.write",
        "puts",
        "child",
    ):
        assert f"STRAY {kind}" in done.stderr


@pytest.mark.parametrize("ends_by", ["signal", "end of stdin"])
def test_a_client_that_does_not_read_holds_up_nothing(ends_by: str) -> None:
    lists = [{"jsonrpc": "2.0", "id": number, "method": "tools/list"} for number in range(100)]
    with running() as process:
        process.stdin.write(lines(*HELLO))
        process.stdout.readline()
        process.stdin.write(lines(*lists))
        process.stdin.flush()
        if ends_by == "signal":
            process.send_signal(signal.SIGTERM)
            assert process.wait(2) == 128 + signal.SIGTERM
        else:
            process.stdin.close()
            assert process.wait(3) == 0
        assert process.stderr.read() == ""


def test_a_client_that_reads_no_more_ends_the_server() -> None:
    with running() as process:
        process.stdin.write(lines(*HELLO))
        process.stdout.readline()
        process.stdout.close()
        process.stdin.write(lines(PING))
        assert process.wait(2) == 0
        assert process.stderr.read() == ""


def test_with_the_legacy_protocol_a_client_may_ask_for_the_other_era_first() -> None:
    modern = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    discover = {"jsonrpc": "2.0", "id": 0, "method": "server/discover", "params": {"_meta": modern}}
    talk = lines(discover, *HELLO, {"jsonrpc": "2.0", "id": 2, "method": "tools/list"})
    answers = {}
    for arguments in ([], ["--protocol", "legacy"], ["stdio", "--protocol", "legacy"]):
        with running(*arguments) as process:
            process.stdin.write(talk)
            got = [json.loads(process.stdout.readline()) for _ in range(3)]
        answers[" ".join(arguments)] = {answer["id"]: answer for answer in got}
    assert answers[""][1]["error"]["code"] == -32022
    for chosen in ("--protocol legacy", "stdio --protocol legacy"):
        assert answers[chosen][0]["error"]["code"] == -32601
        assert answers[chosen][1]["result"]["protocolVersion"] == "2025-06-18"
        assert answers[chosen][2]["result"]["tools"]


def test_standard_streams_that_are_closed_at_the_start_harm_nothing() -> None:
    talk = lines(*HELLO, PING)
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" 2>&-', COMMAND],
        input=talk,
        stdout=subprocess.PIPE,
        text=True,
        timeout=WITHIN,
        env=clean_environment(),
        check=False,
    )
    assert done.returncode == 0
    assert [json.loads(answer)["id"] for answer in done.stdout.splitlines()] == [1, 2]


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
