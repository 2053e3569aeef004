"""Jobs through a real MCP client, over a fake Ollama, in one process."""

import anyio
import pytest
from jsonschema import validate

from ollama_mcp import jobs as jobs_module

from .fake_ollama import Gate, last, line, says, stream
from .harness import ERAS, client_over, text_of, warm_ollama

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("mode", ERAS)]

ASK = {"model": "llama3.2", "prompt": "?"}


async def start(client, **arguments) -> str:
    result = await client.call_tool("chat_completion", {**ASK, "background": True, **arguments})
    assert not result.is_error, text_of(result)
    return result.structured_content["job_id"]


async def test_in_the_background_the_call_returns_at_once_and_wait_gives_the_whole_answer(mode: str) -> None:
    gate = Gate()
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        fake.chat_script = [stream(line("Slow "), gate, line("answer"), last())]
        started = await client.call_tool("chat_completion", {**ASK, "background": True})
        job_id = started.structured_content["job_id"]
        gate.open()
        whole = await client.call_tool("job", {"action": "wait", "id": job_id})
        again = await client.call_tool("job", {"action": "read", "id": job_id})
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert started.structured_content["finish_reason"] == "running"
    assert job_id in text_of(started)
    assert text_of(whole) == text_of(again) == "Slow answer"
    validate(whole.structured_content, tools["job"].output_schema)
    (told,) = whole.structured_content["jobs"]
    assert told["state"] == "done"
    assert told["model"] == "llama3.2:latest"
    assert told["characters"] == 11
    assert whole.structured_content["answer"]["finish_reason"] == "stop"


async def test_a_running_job_can_be_read_and_is_listed_with_its_length(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode, soft_deadline=0.8) as client:
        fake.chat_script = [stream(line("Half"), Gate(), last())]
        job_id = await start(client)
        waited = await client.call_tool("job", {"action": "wait", "id": job_id})
        read = await client.call_tool("job", {"action": "read", "id": job_id})
        listed = await client.call_tool("job", {"action": "list"})
    for result in (waited, read):
        assert result.content[0].text == "Half"
        assert "incomplete" in result.content[1].text
        assert result.structured_content["answer"]["finish_reason"] == "running"
    (told,) = listed.structured_content["jobs"]
    assert (told["id"], told["state"], told["characters"]) == (job_id, "running", 4)


async def test_cancel_stops_the_job_and_the_generation_and_keeps_the_text(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode, soft_deadline=0.8) as client:
        fake.chat_script = [stream(line("Half"), Gate(), last())]
        job_id = (await client.call_tool("chat_completion", ASK)).structured_content["job_id"]
        cancelled = await client.call_tool("job", {"action": "cancel", "id": job_id})
        await fake.wait_disconnected(within=1)
        again = await client.call_tool("job", {"action": "cancel", "id": job_id})
    assert cancelled.content[0].text == again.content[0].text == "Half"
    assert cancelled.structured_content["jobs"][0]["state"] == "cancelled"
    assert cancelled.structured_content["answer"]["finish_reason"] == "cancelled"


async def test_cancelling_a_wait_leaves_the_job_running(mode: str) -> None:
    gate = Gate()
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        fake.chat_script = [stream(line("Half"), gate, line(" and half"), last())]
        job_id = await start(client)
        waiting = anyio.Event()

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            waiting.set()

        async with anyio.create_task_group() as tasks:
            arguments = {"action": "wait", "id": job_id}
            tasks.start_soon(lambda: client.call_tool("job", arguments, progress_callback=on_progress))
            await waiting.wait()
            tasks.cancel_scope.cancel()
        await client.call_tool("health_check", {})
        assert fake.disconnects == 0
        gate.open()
        assert text_of(await client.call_tool("job", arguments)) == "Half and half"


async def test_a_wait_tells_the_text_as_progress(mode: str) -> None:
    gate = Gate()
    seen: list[tuple[float, str]] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, message or ""))
        gate.open()

    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        fake.chat_script = [stream(line("One "), gate, line("two"), last())]
        job_id = await start(client)
        result = await client.call_tool("job", {"action": "wait", "id": job_id}, progress_callback=on_progress)
    assert "".join(message for _, message in seen) == text_of(result) == "One two"
    assert [number for number, _ in seen] == sorted({number for number, _ in seen})


async def test_two_can_wait_for_one_job(mode: str) -> None:
    gate = Gate()
    answers: list[str] = []
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        fake.chat_script = [stream(gate, line("for both"), last())]
        job_id = await start(client)

        async def wait() -> None:
            answers.append(text_of(await client.call_tool("job", {"action": "wait", "id": job_id})))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            tasks.start_soon(wait)
            await fake.wait_request("/api/chat")
            gate.open()
    assert answers == ["for both", "for both"]


async def test_a_job_that_fails_tells_so_as_its_call_would_have(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        fake.chat_script = [stream(line("Once upon"), {"error": "llama runner crashed"})]
        job_id = await start(client)
        result = await client.call_tool("job", {"action": "wait", "id": job_id})
        listed = await client.call_tool("job", {"action": "list"})
    assert result.is_error
    assert "llama runner crashed" in text_of(result)
    assert "Once upon" in text_of(result)
    assert result.meta["ollama-mcp/error"]["type"] == "GenerationBroken"
    assert listed.structured_content["jobs"][0]["state"] == "failed"


async def test_more_jobs_than_allowed_are_refused_and_room_comes_back(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode, max_jobs=1, soft_deadline=0.8) as client:
        fake.chat_script = [stream(Gate(), last()), stream(Gate(), last()), stream(line("Half"), Gate(), last())]
        job_id = await start(client)
        refused = await client.call_tool("chat_completion", {**ASK, "background": True})
        stopped = await client.call_tool("chat_completion", ASK)
        await client.call_tool("job", {"action": "cancel", "id": job_id})
        fake.chat_script = [says("after")]
        after = await client.call_tool("job", {"action": "wait", "id": await start(client)})
    assert refused.is_error
    assert refused.meta["ollama-mcp/error"] == {"type": "EngineBusy", "retryable": True}
    assert stopped.is_error
    assert "1 jobs are running" in text_of(stopped)
    assert text_of(after) == "after"


async def test_finished_jobs_are_forgotten_the_oldest_first(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "FINISHED_KEPT", 2)
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        ids = []
        for word in ("one", "two", "three"):
            fake.chat_script = [says(word)]
            ids.append(await start(client))
            await client.call_tool("job", {"action": "wait", "id": ids[-1]})
        listed = await client.call_tool("job", {"action": "list"})
        gone = await client.call_tool("job", {"action": "read", "id": ids[0]})
    assert [told["id"] for told in listed.structured_content["jobs"]] == ids[:0:-1]
    assert gone.is_error
    assert "no job" in text_of(gone)


async def test_a_long_list_says_that_there_is_more(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "LISTED", 1)
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        ids = [await start(client), await start(client)]
        for job_id in ids:
            await client.call_tool("job", {"action": "wait", "id": job_id})
        listed = await client.call_tool("job", {"action": "list"})
    assert [told["id"] for told in listed.structured_content["jobs"]] == ids[1:]
    assert listed.structured_content["more"] is True


async def test_an_answer_that_came_in_time_leaves_no_job(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        await client.call_tool("chat_completion", ASK)
        listed = await client.call_tool("job", {"action": "list"})
    assert listed.structured_content["jobs"] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"action": "wait"}, "id is required for wait"),
        ({"action": "read", "id": "job_x"}, "no job 'job_x'"),
        ({"action": "stop", "id": "x"}, "action must be"),
    ],
)
async def test_bad_arguments_are_told_in_a_sentence(mode: str, arguments: dict, words: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        result = await client.call_tool("job", arguments)
    assert result.is_error
    assert words in text_of(result)
