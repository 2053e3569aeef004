"""`pull_model` and `delete_model` through a real MCP client, over a fake Ollama."""

import anyio
import pytest
from mcp.types import ElicitResult

from tests.fake_ollama import FakeOllama, Gate, failure, stream
from tests.harness import ERAS, client_over, text_of

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("mode", ERAS)]


class Person:
    """Answers what the client is asked."""

    def __init__(self, action: str) -> None:
        self.action = action
        self.questions: list[str] = []

    async def __call__(self, context: object, params: object) -> ElicitResult:
        self.questions.append(params.message)
        return ElicitResult(action=self.action, content={} if self.action == "accept" else None)


async def test_neither_tool_is_there_unless_it_was_allowed(mode: str) -> None:
    async with FakeOllama() as fake:
        for allowed, expected in (
            ({}, set()),
            ({"allow_pull": True}, {"pull_model"}),
            ({"allow_delete": True}, {"delete_model"}),
        ):
            async with client_over(fake, mode=mode, **allowed) as client:
                names = {tool.name for tool in (await client.list_tools()).tools}
            assert names & {"pull_model", "delete_model"} == expected


async def test_their_annotations_are_true(mode: str) -> None:
    async with FakeOllama() as fake, client_over(fake, mode=mode, allow_pull=True, allow_delete=True) as client:
        tools = {tool.name: tool.annotations for tool in (await client.list_tools()).tools}
    pull, delete = tools["pull_model"], tools["delete_model"]
    assert (pull.read_only_hint, pull.destructive_hint, pull.open_world_hint) == (False, False, True)
    assert (delete.read_only_hint, delete.destructive_hint, delete.open_world_hint) == (False, True, False)


async def test_a_model_is_downloaded_with_progress_in_bytes(mode: str) -> None:
    told: list[tuple[float, float | None, str]] = []
    heard: list[str] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message or ""))

    async with FakeOllama() as fake:
        async with client_over(fake, mode=mode, allow_pull=True, observer=heard.append) as client:
            result = await client.call_tool("pull_model", {"model": "phi4"}, progress_callback=on_progress)
        assert "phi4:latest" in fake.models
    assert result.structured_content == {
        "model": "phi4",
        "status": "installed",
        "completed": 2_000_000,
        "total": 2_000_000,
    }
    numbers = [progress for progress, _, _ in told]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == pytest.approx(2_000_000, abs=1)
    assert told[-1][1] == 2_000_000
    assert told[0][2] == "phi4: pulling manifest"
    assert told[-1][2] == "phi4: success"
    assert heard == ["models"]


async def test_the_layers_of_a_model_are_added_up(mode: str) -> None:
    steps = [
        {"status": "pulling a", "digest": "a", "total": 100, "completed": 60},
        {"status": "pulling b", "digest": "b", "total": 50, "completed": 50},
        {"status": "pulling a", "digest": "a", "total": 100, "completed": 100},
        {"status": "success"},
    ]
    async with FakeOllama() as fake, client_over(fake, mode=mode, allow_pull=True) as client:
        fake.on("/api/pull", stream(*steps))
        result = await client.call_tool("pull_model", {"model": "phi4"})
    assert (result.structured_content["completed"], result.structured_content["total"]) == (150, 150)


async def test_a_person_who_can_be_asked_is_asked_once_and_may_agree(mode: str) -> None:
    person = Person("accept")
    async with FakeOllama() as fake:
        async with client_over(
            fake, mode=mode, allow_pull=True, allow_delete=True, elicitation_callback=person
        ) as client:
            pulled = await client.call_tool("pull_model", {"model": "phi4"})
            assert "phi4:latest" in fake.models
            deleted = await client.call_tool("delete_model", {"model": "PHI4"})
        assert "phi4:latest" not in fake.models
    assert not pulled.is_error
    assert deleted.structured_content == {"model": "phi4:latest", "freed_bytes": 2019393189}
    assert person.questions == [
        f"Download the model phi4 to {fake.url}?",
        "Delete the model phi4:latest from the disk?",
    ]


@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_a_person_who_does_not_agree_is_obeyed(mode: str, action: str) -> None:
    person = Person(action)
    async with FakeOllama() as fake:
        async with client_over(
            fake, mode=mode, allow_pull=True, allow_delete=True, elicitation_callback=person
        ) as client:
            pulled = await client.call_tool("pull_model", {"model": "phi4"})
            deleted = await client.call_tool("delete_model", {"model": "llama3.2"})
        assert fake.sent("/api/pull") == fake.sent("/api/delete") == []
    assert pulled.is_error
    assert deleted.is_error
    assert "did not agree" in text_of(pulled)
    assert len(person.questions) == 2


async def test_an_answer_to_another_question_is_no_consent(mode: str) -> None:
    if mode == "legacy":
        pytest.skip("there the question is asked within the call")
    async with FakeOllama() as fake:
        async with client_over(fake, mode=mode, allow_delete=True, elicitation_callback=Person("accept")) as client:
            asking = await client.session.call_tool("delete_model", {"model": "qwen3:8b"}, allow_input_required=True)
            answers = {key: ElicitResult(action="accept", content={}) for key in asking.input_requests}
            other = await client.session.call_tool(
                "delete_model", {"model": "llama3.2"}, input_responses=answers, allow_input_required=True
            )
            assert other.input_requests.keys().isdisjoint(answers)
            assert fake.sent("/api/delete") == []
            same = await client.session.call_tool("delete_model", {"model": "qwen3:8b"}, input_responses=answers)
        assert not same.is_error
        assert "qwen3:8b" not in fake.models


async def test_nobody_is_asked_about_a_model_that_is_missing_or_a_name_that_is_none(mode: str) -> None:
    person = Person("accept")
    async with (
        FakeOllama() as fake,
        client_over(fake, mode=mode, allow_pull=True, allow_delete=True, elicitation_callback=person) as client,
    ):
        missing = await client.call_tool("delete_model", {"model": "lama3.2"})
        hosts = ("evil.example.com", "printer")
        bad = [await client.call_tool("pull_model", {"model": f"{host}/some/model"}) for host in hosts]
    assert "Did you mean llama3.2" in text_of(missing)
    for host, told in zip(hosts, bad, strict=True):
        assert f"names the registry {host}," in text_of(told)
    assert person.questions == []
    assert fake.sent("/api/pull") == []


async def test_a_download_is_stopped_before_a_client_without_progress_gives_up(mode: str) -> None:
    layer = {"status": "pulling a", "digest": "a", "total": 100, "completed": 40}
    heard: list[str] = []
    async with (
        FakeOllama() as fake,
        client_over(fake, mode=mode, allow_pull=True, soft_deadline=0.3, observer=heard.append) as client,
    ):
        fake.on("/api/pull", stream(layer, Gate()))
        result = await client.call_tool("pull_model", {"model": "phi4"})
        await fake.wait_disconnected()
    answer = result.structured_content
    assert (answer["status"], answer["completed"], answer["total"]) == ("incomplete", 40, 100)
    assert "call again to go on from there" in answer["advice"]
    assert heard == []


async def test_cancelling_the_call_stops_the_download(mode: str) -> None:
    async with FakeOllama() as fake, client_over(fake, mode=mode, allow_pull=True) as client:
        fake.on("/api/pull", stream({"status": "pulling manifest"}, Gate()))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.call_tool, "pull_model", {"model": "phi4"})
            await fake.wait_request("/api/pull")
            tasks.cancel_scope.cancel()
        await fake.wait_disconnected()


async def test_a_download_that_goes_silent_is_an_error(mode: str) -> None:
    async with (
        FakeOllama() as fake,
        client_over(fake, mode=mode, allow_pull=True, first_token_timeout=0.1) as client,
    ):
        fake.on("/api/pull", stream({"status": "pulling manifest"}, Gate()))
        result = await client.call_tool("pull_model", {"model": "phi4"})
    assert result.is_error
    assert "start it again to go on from there" in text_of(result)


async def test_a_failed_download_or_deletion_is_an_error(mode: str) -> None:
    heard: list[str] = []
    async with (
        FakeOllama() as fake,
        client_over(fake, mode=mode, allow_pull=True, allow_delete=True, observer=heard.append) as client,
    ):
        fake.on(
            "/api/pull", stream({"status": "pulling manifest"}, {"error": "pull model manifest: file does not exist"})
        )
        fake.on("/api/delete", failure(500, "disk on fire"))
        pulled = await client.call_tool("pull_model", {"model": "phi44"})
        deleted = await client.call_tool("delete_model", {"model": "llama3.2"})
    assert pulled.is_error
    assert "phi44" in text_of(pulled)
    assert "disk on fire" in text_of(deleted)
    assert heard == []


async def test_a_deletion_is_heard_of(mode: str) -> None:
    heard: list[str] = []
    async with (
        FakeOllama() as fake,
        client_over(fake, mode=mode, allow_delete=True, observer=heard.append) as client,
    ):
        await client.call_tool("delete_model", {"model": "llama3.2"})
    assert set(heard) == {"models", "loaded"}
