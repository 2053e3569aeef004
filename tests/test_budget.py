"""What the tools cost the context of whoever lists them."""

import json

import pytest

from .harness import ERAS, client_over, warm_ollama

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("mode", ERAS)]


async def sizes(mode: str) -> dict[str, int]:
    """The bytes of each tool's name, description and input schema as compact JSON."""
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        tools = (await client.list_tools()).tools
    told = {
        tool.name: {"name": tool.name, "description": tool.description, "inputSchema": tool.input_schema}
        for tool in tools
    }
    return {
        name: len(json.dumps(tool, separators=(",", ":"), ensure_ascii=False).encode()) for name, tool in told.items()
    }


async def test_the_tools_that_are_always_there_take_10_kb_at_most(mode: str) -> None:
    found = await sizes(mode)
    assert sum(found.values()) <= 10 * 1024, found


async def test_the_three_first_tools_take_6_kb_at_most(mode: str) -> None:
    found = await sizes(mode)
    assert sum(found[name] for name in ("chat_completion", "list_models", "health_check")) <= 6 * 1024, found
