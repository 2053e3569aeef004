"""Jobs of real processes: they outlive their client's connection, and with a state directory the process."""

import sqlite3
import stat
import sys
from pathlib import Path

import anyio
import pytest
from mcp import Client, StdioServerParameters

from .fake_ollama import FakeOllama, Gate, last, line, says, stream
from .harness import ERAS, WARM, text_of
from .processes import COMMAND, clean_environment, http_server, run

pytestmark = pytest.mark.anyio

ASK = {"model": "llama3.2", "prompt": "?"}


@pytest.mark.parametrize("mode", ERAS)
async def test_a_job_survives_the_reconnect_of_its_client_over_http(mode: str) -> None:
    gate = Gate()
    with FakeOllama.in_thread(loaded=dict(WARM)) as fake:
        fake.chat_script = [stream(line("Before, "), gate, line("after"), last())]
        with http_server("--ollama-host", fake.url, "--soft-deadline", "2") as (url, _):
            async with Client(f"{url}/mcp", mode=mode) as first:
                asked = await first.call_tool("chat_completion", ASK)
            job_id = asked.structured_content["job_id"]
            assert asked.content[0].text == "Before, "
            assert fake.disconnects == 0
            async with Client(f"{url}/mcp", mode=mode) as second:
                listed = await second.call_tool("job", {"action": "list"})
                gate.open()
                whole = await second.call_tool("job", {"action": "wait", "id": job_id})
    assert [told["id"] for told in listed.structured_content["jobs"]] == [job_id]
    assert text_of(whole) == "Before, after"


async def test_with_a_state_directory_jobs_survive_the_process(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with FakeOllama.in_thread(loaded=dict(WARM)) as fake:
        arguments = ("--ollama-host", fake.url, "--state-dir", str(state))
        with http_server(*arguments, "--soft-deadline", "2") as (url, process):
            async with Client(f"{url}/mcp") as client:
                fake.chat_script = [says("kept"), stream(line("Half"), Gate(), last())]
                done = await client.call_tool("chat_completion", {**ASK, "background": True})
                await client.call_tool("job", {"action": "wait", "id": done.structured_content["job_id"]})
                half = await client.call_tool("chat_completion", ASK)
                await saved(state, "Half")
            process.kill()
            process.wait()
        with http_server(*arguments) as (url, _):
            async with Client(f"{url}/mcp") as client:
                kept = await client.call_tool("job", {"action": "read", "id": done.structured_content["job_id"]})
                lost = await client.call_tool("job", {"action": "wait", "id": half.structured_content["job_id"]})
                listed = await client.call_tool("job", {"action": "list"})
    assert text_of(kept) == "kept"
    assert lost.is_error
    assert "Half" in text_of(lost)
    assert lost.meta["ollama-mcp/error"] == {"type": "JobLost", "retryable": True}
    assert [told["state"] for told in listed.structured_content["jobs"]] == ["lost", "done"]
    if sys.platform != "win32":
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [state, *state.iterdir()]}
        assert modes.pop("state") == 0o700
        assert set(modes.values()) == {0o600}, modes


async def test_processes_that_share_a_state_directory_leave_each_others_jobs_alone(tmp_path: Path) -> None:
    def server(fake: FakeOllama) -> StdioServerParameters:
        arguments = ["stdio", "--ollama-host", fake.url, "--state-dir", str(tmp_path)]
        return StdioServerParameters(command=COMMAND, args=arguments, env=clean_environment())

    with FakeOllama.in_thread(loaded=dict(WARM)) as fake:
        fake.chat_script = [stream(line("Half"), Gate(), last())]
        async with Client(server(fake)) as one:
            job_id = (await one.call_tool("chat_completion", {**ASK, "background": True})).structured_content[
                "job_id"
            ]
            await saved(tmp_path, "Half")
            async with Client(server(fake)) as other:
                read = await other.call_tool("job", {"action": "wait", "id": job_id})
                cancelled = await other.call_tool("job", {"action": "cancel", "id": job_id})
            assert read.structured_content["jobs"][0]["state"] == "running"
            assert read.content[0].text == "Half"
            assert "another process" in text_of(cancelled)
            assert fake.disconnects == 0
        await anyio.to_thread.run_sync(fake.wait_disconnected_sync)
        async with Client(server(fake)) as later:
            lost = await later.call_tool("job", {"action": "read", "id": job_id})
    assert "The server ended while the job ran" in text_of(lost)


def test_a_state_directory_that_cannot_be_used_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").write_text("This is not SQLite, and long enough to be seen as that at once. " * 20)
    done = run("stdio", "--state-dir", str(tmp_path), input="")
    assert done.returncode == 2
    assert str(tmp_path) in done.stderr
    file = run("stdio", "--state-dir", str(tmp_path / "jobs.db"), input="")
    assert file.returncode == 2
    assert "not a directory" in file.stderr


def test_a_newer_file_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "jobs.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    done = run("stdio", "--state-dir", str(tmp_path), input="")
    assert done.returncode == 2
    assert "newer ollama-mcp" in done.stderr


async def saved(state: Path, text: str) -> None:
    """Wait until the file holds a running job with this text."""
    connection = sqlite3.connect(state / "jobs.db")
    try:
        with anyio.fail_after(5):
            query = "SELECT count(*) FROM jobs WHERE state = 'running' AND json_extract(record, '$.content') = ?"
            while connection.execute(query, (text,)).fetchone() == (0,):  # noqa: ASYNC110 - another process writes
                await anyio.sleep(0.02)
    finally:
        connection.close()
