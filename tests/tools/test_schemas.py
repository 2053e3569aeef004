"""The schemas that are written down are those of the models; `python -m tests.tools.test_schemas` writes them."""

import json
from pathlib import Path
from typing import Any

import pytest

from ollama_mcp.engines.ollama import OllamaEngine
from ollama_mcp.service import Service
from ollama_mcp.settings import Settings
from ollama_mcp.tools import create_tools
from ollama_mcp.tools.schemas import WRITTEN, make_schemas, written_schemas


def made() -> dict[str, Any]:
    settings = Settings(allow_pull=True, allow_delete=True, allow_dirs=(Path("/"),))
    tools = create_tools(Service(OllamaEngine("http://127.0.0.1:1"), settings))
    return {tool.name: make_schemas(tool.arguments, tool.fn_metadata.output_model) for tool in tools}


def text_of(schemas: dict[str, Any]) -> str:
    return json.dumps(schemas, indent=1, ensure_ascii=False) + "\n"


def test_the_schemas_that_are_written_down_are_those_of_the_models() -> None:
    if text_of(written_schemas()) != text_of(made()):
        pytest.fail("models have changed: write their schemas with `python -m tests.tools.test_schemas`")


if __name__ == "__main__":
    WRITTEN.write_text(text_of(made()), encoding="utf-8")
