"""What tools need of a real transport: files of the server's machine, and questions to the person."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters
from mcp.types import ElicitResult

from tests.fake_ollama import FakeOllama
from tests.harness import ERAS, WARM, text_of
from tests.processes import COMMAND, clean_environment, http_server

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("mode", ERAS)]


@asynccontextmanager
async def client_over(transport: str, mode: str, *arguments: str, **options: object) -> AsyncIterator[Client]:
    if transport == "stdio":
        server = StdioServerParameters(command=COMMAND, args=["stdio", *arguments], env=clean_environment())
        async with Client(server, mode=mode, **options) as client:
            yield client
    else:
        with http_server(*arguments) as (url, _):
            async with Client(f"{url}/mcp", mode=mode, **options) as client:
                yield client


async def test_files_are_read_by_the_server_and_not_by_the_client(mode: str, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.txt").write_text(f"text of {name}")
    (tmp_path / "secret.txt").write_text("secret")
    opened = ["--allow-dir", str(tmp_path / "one"), "--allow-dir", str(tmp_path / "two")]
    with FakeOllama.in_thread(loaded=dict(WARM)) as fake:
        async with client_over("stdio", mode, "--ollama-host", fake.url, *opened) as client:
            arguments = {"prompt": "Sum up.", "files": ["one.txt", str(tmp_path / "two" / "two.txt")]}
            read = await client.call_tool("chat_completion", arguments)
            refused = await client.call_tool("chat_completion", {"prompt": "?", "files": ["../secret.txt"]})
    assert not read.is_error
    [sent] = fake.sent("/api/chat")
    assert "text of one" in sent["messages"][0]["content"]
    assert "text of two" in sent["messages"][0]["content"]
    assert refused.is_error


@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_the_person_is_asked_before_a_model_is_deleted(mode: str, transport: str) -> None:
    questions: list[str] = []

    async def person(context: object, params: object) -> ElicitResult:
        questions.append(params.message)
        return ElicitResult(action="accept")

    with FakeOllama.in_thread() as fake:
        arguments = ["--ollama-host", fake.url, "--allow-delete"]
        async with client_over(transport, mode, *arguments, elicitation_callback=person) as client:
            result = await client.call_tool("delete_model", {"model": "qwen3:8b"})
    assert questions == ["Delete the model qwen3:8b from the disk?"]
    assert not result.is_error, text_of(result)
    assert "qwen3:8b" not in fake.models
