"""What the README says is so."""

import dataclasses
import json
import re
import subprocess
from pathlib import Path

import pytest

from ollama_mcp.cli import EXIT_CODES
from ollama_mcp.settings import SETTINGS, Settings

from .fake_ollama import FakeOllama
from .harness import client_over
from .processes import http_server

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def settings_table() -> str:
    """What stands between the markers of the README, made from the settings themselves."""
    defaults = dataclasses.asdict(Settings(aliases={}))
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for setting in SETTINGS:
        default = defaults[setting.field]
        text = "" if not default else f"`{default:g}`" if isinstance(default, float) else f"`{default}`"
        names = "<br>".join(f"`{name}`" for name in setting.environment)
        rows.append(f"| {names} | {text} | {setting.description} |")
    return "\n".join(rows)


def test_the_settings_table_is_the_settings() -> None:
    written = re.search(r"<!-- settings -->\n(.*)\n<!-- /settings -->", README, re.DOTALL)
    assert written is not None
    assert written[1] == settings_table()


def test_every_exit_code_is_told() -> None:
    for code in re.findall(r"\b(\d+)  ", EXIT_CODES):
        assert re.search(rf"^\| {code}\b", README, re.MULTILINE), code


def test_the_curl_lines_run_as_printed() -> None:
    commands = re.findall(r"^curl (?:.*\\\n)*.*", README, re.MULTILINE)
    assert len(commands) >= 6
    with FakeOllama.in_thread() as fake, http_server("--ollama-host", fake.url) as (url, _):
        for command in commands:
            here = command.replace("http://127.0.0.1:4891", url).replace("curl ", "curl -sS --fail-with-body ", 1)
            done = subprocess.run(["sh", "-c", here], capture_output=True, text=True, timeout=20, check=False)
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
            if "-N" in command:
                assert done.stdout.rstrip().endswith("data: [DONE]")
            else:
                assert json.loads(done.stdout).get("error") is None


@pytest.mark.anyio
async def test_every_tool_resource_and_prompt_is_told() -> None:
    async with FakeOllama() as fake, client_over(fake) as client:
        tools = (await client.list_tools()).tools
        prompts = (await client.list_prompts()).prompts
        templates = (await client.list_resource_templates()).resource_templates
    for tool in tools:
        assert f"### {tool.name}\n" in README, tool.name
    for name in [prompt.name for prompt in prompts] + [template.uri_template for template in templates]:
        assert f"`{name}`" in README, name
