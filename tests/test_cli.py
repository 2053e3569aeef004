"""The console command as a person and a script use it."""

import json
import os
import pty
import signal
import socket
import time
from pathlib import Path
from subprocess import DEVNULL

import pytest

from ollama_mcp import errors
from ollama_mcp.exit_codes import exit_code, exit_code_of_name

from .fake_ollama import FakeModel, FakeOllama, Gate, failure, hang, last, line, says, stream
from .harness import WARM
from .processes import WITHIN, run, running


def test_chat_prints_the_answer_and_the_figures_apart() -> None:
    with FakeOllama.in_thread(loaded=dict(WARM)) as fake:
        fake.chat_script = [says("Rayleigh scattering.", prompt=12)]
        done = run("chat", "--ollama-host", fake.url, "--system", "Be brief.", "Why is the sky blue?")
    assert done.returncode == 0
    assert done.stdout == "Rayleigh scattering.\n"
    assert done.stderr == "[llama3.2:latest, 12 + 2 tokens, 8.0 tokens/s]\n"
    assert [message["role"] for message in fake.sent("/api/chat")[0]["messages"]] == ["system", "user"]


def test_chat_prints_the_text_as_it_comes() -> None:
    gate = Gate()
    with FakeOllama.in_thread(loaded=dict(WARM)) as fake:
        fake.chat_script = [stream(line("First, "), gate, line("second."), last())]
        with running("chat", "Hi", "--ollama-host", fake.url, stdin=DEVNULL) as process:
            assert process.stdout.read(7) == "First, "
            gate.open()
            assert process.stdout.read() == "second.\n"
            assert process.wait(WITHIN) == 0


def test_what_is_piped_in_is_added_to_the_prompt() -> None:
    with FakeOllama.in_thread(loaded=dict(WARM)) as fake:
        run("chat", "Summarize", "--ollama-host", fake.url, input="a long text\n")
        run("chat", "--ollama-host", fake.url, input="only this\n")
    asked = [sent["messages"][-1]["content"] for sent in fake.sent("/api/chat")]
    assert asked == ["Summarize\n\na long text", "only this"]


def test_no_stream_prints_the_whole_answer_at_the_end() -> None:
    with FakeOllama.in_thread(loaded=dict(WARM)) as fake:
        fake.chat_script = [says("All at once.")]
        done = run("chat", "Hi", "--no-stream", "--ollama-host", fake.url)
    assert done.stdout == "All at once.\n"


def test_a_conversation_on_a_terminal_remembers_and_ctrl_d_leaves() -> None:
    main, terminal = pty.openpty()
    with FakeOllama.in_thread(loaded=dict(WARM)) as fake:
        fake.chat_script = [says("Hello Ada."), says("You are Ada.")]
        with running("chat", "--ollama-host", fake.url, stdin=terminal, stderr=None) as process:
            os.write(main, b"I am Ada\n")
            fake.wait_request_sync("/api/chat", 1, within=WITHIN)
            os.write(main, b"Who am I?\n")
            fake.wait_request_sync("/api/chat", 2, within=WITHIN)
            os.write(main, b"\x04")
            said = process.stdout.read()
            assert process.wait(WITHIN) == 0
    os.close(main)
    os.close(terminal)
    assert "Hello Ada." in said
    assert "You are Ada." in said
    asked = fake.sent("/api/chat")[1]["messages"]
    assert [message["content"] for message in asked] == ["I am Ada", "Hello Ada.", "Who am I?"]


def test_ctrl_c_stops_the_answer_at_once_and_the_generation_with_it() -> None:
    with FakeOllama.in_thread(loaded=dict(WARM)) as fake:
        fake.chat_script = [stream(line("Once upon a time"), Gate(), last())]
        with running("chat", "Tell me a story", "--ollama-host", fake.url, stdin=DEVNULL) as process:
            assert process.stdout.read(4) == "Once"
            process.send_signal(signal.SIGINT)
            begun = time.monotonic()
            assert process.wait(WITHIN) == 130
            fake.wait_disconnected_sync(within=1)
            assert time.monotonic() - begun < WITHIN


def test_on_a_terminal_a_silence_is_told_until_it_is_given_up() -> None:
    main, terminal = pty.openpty()
    limits = {"OLLAMA_MCP_FIRST_TOKEN_TIMEOUT": "1", "OLLAMA_MCP_HEARTBEAT": "0.2"}
    with FakeOllama.in_thread(loaded=dict(WARM)) as fake:
        fake.on("/api/chat", hang)
        with running("chat", "Hi", "--ollama-host", fake.url, stdin=DEVNULL, stderr=terminal, env=limits) as process:
            assert process.wait(WITHIN) == 4
    told = os.read(main, 100_000).decode()
    os.close(main)
    os.close(terminal)
    status, _, end = told.rpartition("\r\x1b[K")
    assert "is loading or reading the prompt (" in status
    assert "did not begin to answer" in end


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ServiceError("x"), 1),
        (errors.InvalidRequest("x"), 5),
        (errors.ContextLengthExceeded("x"), 5),
        (errors.Unsupported("x"), 5),
        (errors.ModelNotFound("x"), 5),
        (errors.EngineUnavailable("x"), 3),
        (errors.EngineBusy("x"), 7),
        (errors.QueueFull("x"), 7),
        (errors.EngineTimeout("x"), 4),
        (errors.EngineRejected("x"), 5),
        (errors.EngineFailed("x"), 5),
        (errors.MalformedAnswer("x"), 6),
        (errors.ServerEnding(), 1),
        (errors.GenerationBroken("x"), 6),
        (errors.PromptTruncated("x"), 6),
    ],
)
def test_each_error_has_its_exit_code_by_its_class_and_by_its_name(error: errors.ServiceError, code: int) -> None:
    assert exit_code(error) == exit_code_of_name(type(error).__name__) == code


def test_an_error_of_an_unknown_name_is_exit_code_1() -> None:
    assert exit_code_of_name("") == exit_code_of_name("NoSuchError") == 1


@pytest.mark.parametrize(
    ("responder", "code", "words"),
    [
        (failure(404, "model 'x' not found"), 5, "ollama pull"),
        (failure(500, "out of memory"), 5, "out of memory"),
        (stream(line("half")), 6, "end"),
        (failure(503, "server busy, please try again.  maximum pending requests exceeded"), 7, "busy"),
    ],
    ids=["not found", "failed", "broken off", "busy"],
)
def test_each_cause_of_failure_has_its_exit_code_and_one_line(responder, code: int, words: str) -> None:
    with FakeOllama.in_thread(loaded=dict(WARM)) as fake:
        fake.chat_script = [responder, responder]
        done = run("chat", "Hi", "--model", "x", "--ollama-host", fake.url)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_engine_that_is_not_there_is_exit_code_3_and_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    for command in (("chat", "Hi"), ("models",), ("health",), ("pull", "llama3.2")):
        done = run(*command, "--ollama-host", address)
        assert done.returncode == 3, command
        assert address in done.stdout + done.stderr
        assert "ollama serve" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def test_models_are_a_table_for_a_person_and_json_for_a_script() -> None:
    with FakeOllama.in_thread(loaded={"qwen3:8b": 4096}) as fake:
        table = run("models", "--ollama-host", fake.url)
        listed = json.loads(run("models", "--json", "--ollama-host", fake.url).stdout)
    assert table.stdout.splitlines()[0].split() == [
        "NAME",
        "SIZE",
        "WEIGHTS",
        "QUANTIZATION",
        "CONTEXT",
        "CAPABILITIES",
    ]
    assert any("qwen3:8b" in row and row.endswith("loaded") for row in table.stdout.splitlines())
    assert {model["name"]: model["loaded"] for model in listed["models"]} == {
        "llama3.2:latest": False,
        "qwen3:8b": True,
        "llava:7b": False,
        "nomic-embed-text:latest": False,
    }


def test_no_model_at_all_is_said_with_the_command_that_gets_one() -> None:
    with FakeOllama.in_thread(models={}) as fake:
        assert "ollama-mcp pull" in run("models", "--ollama-host", fake.url).stderr


def test_health_says_how_the_engine_is() -> None:
    with FakeOllama.in_thread(loaded=dict(WARM)) as fake:
        told = run("health", "--ollama-host", fake.url)
        health = json.loads(run("health", "--json", "--ollama-host", fake.url).stdout)
    assert told.returncode == 0
    assert told.stdout.startswith(f"ok: ollama {health['version']} at {fake.url}")
    assert health["status"] == "ok"


def test_pull_downloads_and_tells_how_far_it_is() -> None:
    with FakeOllama.in_thread(loaded=dict(WARM)) as fake:
        told = run("pull", "gemma3:1b", "--ollama-host", fake.url)
        steps = run("pull", "gemma3:1b", "--json", "--ollama-host", fake.url).stdout.splitlines()
    assert told.returncode == 0
    assert "success" in told.stderr
    assert json.loads(steps[-1])["status"] == "success"
    assert isinstance(fake.models["gemma3:1b"], FakeModel)


def test_pull_on_a_terminal_draws_a_bar() -> None:
    main, terminal = pty.openpty()
    with (
        FakeOllama.in_thread(loaded=dict(WARM)) as fake,
        running("pull", "gemma3:1b", "--ollama-host", fake.url, stderr=terminal) as process,
    ):
        assert process.wait(WITHIN) == 0
    drawn = os.read(main, 100_000).decode()
    os.close(main)
    os.close(terminal)
    assert "█" in drawn
    assert "100%" in drawn


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["chat", "Hi", "--engine", "openai"], "--base-url"),
        (["chat", "Hi", "--base-url", "http://127.0.0.1:1/v1"], "--engine openai"),
        (["chat", "Hi", "--model-file", "/nowhere.gguf", "--engine", "embedded"], "/nowhere.gguf"),
        (["http", "--host", "0.0.0.0"], "OLLAMA_MCP_API_KEY"),
        (["http", "--port", "99999"], "--port"),
        (["serve"], "invalid choice"),
        (["chat"], "no prompt"),
        (["--log-level", "loud"], "--log-level"),
    ],
)
def test_contradictions_fail_at_start_with_one_clear_line(arguments: list[str], words: str) -> None:
    done = run(*arguments, input="")
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_port_in_use_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("http", "--port", str(port))
    assert done.returncode == 2
    assert str(port) in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_flags_work_before_and_after_the_command() -> None:
    with FakeOllama.in_thread(loaded=dict(WARM)) as fake:
        for arguments in (["--ollama-host", fake.url, "models"], ["models", "--ollama-host", fake.url]):
            assert "llama3.2" in run(*arguments).stdout


def test_the_environment_is_read_as_ollama_reads_it() -> None:
    with FakeOllama.in_thread(loaded=dict(WARM)) as fake:
        assert "llama3.2" in run("models", env={"OLLAMA_HOST": f' "127.0.0.1:{fake.port}" '}).stdout
        assert "llama3.2" in run("models", env={"OLLAMA_HOST": f"0.0.0.0:{fake.port}"}).stdout


def test_chat_reads_the_files_it_is_given(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "todo.txt").write_text("buy milk")
    (tmp_path / "here.txt").write_text("I am here")
    files = ["--file", "here.txt", "--file", "todo.txt", "--allow-dir", "notes"]
    with FakeOllama.in_thread(loaded=dict(WARM)) as fake:
        done = run("chat", "Sum up", *files, "--ollama-host", fake.url, cwd=tmp_path, input="")
        missing = run("chat", "Sum up", "--file", "none.txt", "--ollama-host", fake.url, cwd=tmp_path, input="")
    assert done.returncode == 0
    [sent] = fake.sent("/api/chat")
    assert sent["messages"][0]["content"] == (
        "Sum up\n\nFile here.txt:\n```txt\nI am here\n```\n\nFile todo.txt:\n```txt\nbuy milk\n```"
    )
    assert missing.returncode == 5
    assert "none.txt' is not there" in missing.stderr
