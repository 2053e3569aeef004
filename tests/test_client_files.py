"""The files that people paste into their clients: they parse, agree with each other, and start what they say."""

import base64
import json
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from mcp import Client, StdioServerParameters

from ollama_mcp import __version__
from ollama_mcp.cli import build_parser
from ollama_mcp.settings import SETTINGS, load

ROOT = Path(__file__).parent.parent
SETUP = (ROOT / "MCP_SETUP.md").read_text(encoding="utf-8")
MANIFEST = json.loads((ROOT / "mcp-manifest.json").read_text(encoding="utf-8"))
VSCODE = {
    name: json.loads((ROOT / ".vscode" / f"{name}.json").read_text(encoding="utf-8"))
    for name in ("mcp", "settings", "launch", "tasks")
}
NAMES = {name for setting in SETTINGS for name in setting.environment}


def blocks(language: str, text: str = SETUP) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def section(title: str) -> str:
    return SETUP.split(f"\n## {title}\n")[1].split("\n## ")[0]


def entries(value: Any) -> Iterator[dict[str, Any]]:
    """All objects with a `command`, at any depth."""
    if isinstance(value, dict):
        if "command" in value:
            yield value
        for inner in value.values():
            yield from entries(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from entries(inner)


def server_arguments(entry: dict[str, Any]) -> list[str] | None:
    """What an entry passes to ollama-mcp; None if it starts something else."""
    words = [entry["command"], *entry.get("args", [])]
    return words[words.index("ollama-mcp") + 1 :] if "ollama-mcp" in words else None


def written_commands() -> list[str]:
    """Every `ollama-mcp ...` in the text, from shell blocks and from code in sentences."""
    lines = [line for block in blocks("sh") for line in block.replace("\\\n", " ").splitlines()]
    prose = re.sub(r"^```.*?^```$", "", SETUP, flags=re.DOTALL | re.MULTILINE)
    lines += [code for code in re.findall(r"`([^`\n]+)`", prose) if code.startswith("ollama-mcp ")]
    return [line for line in lines if "ollama-mcp" in line and "ollama-mcp" in shlex.split(line)]


DOCUMENTED = [entry for block in blocks("json") for entry in entries(json.loads(block))]


def test_every_block_of_every_client_starts_this_server() -> None:
    for title in ("VS Code", "Claude Desktop", "Claude Code", "Cursor", "Windsurf", "Zed"):
        found = [entry for block in blocks("json", section(title)) for entry in entries(json.loads(block))]
        assert found, title
        assert all(server_arguments(entry) == [] for entry in found), title


@pytest.mark.parametrize("entry", [*DOCUMENTED, *entries(VSCODE["mcp"]), *entries(MANIFEST)], ids=repr)
def test_an_entry_passes_arguments_and_settings_that_are_understood(entry: dict[str, Any], tmp_path: Path) -> None:
    arguments = server_arguments(entry)
    assert arguments is not None
    assert build_parser().parse_args(arguments).command in {None, "stdio"}
    environ = {name: value for name, value in entry.get("env", {}).items() if "${" not in value}
    load(vars(build_parser().parse_args(arguments)), environ, tmp_path)
    assert entry.get("env", {}).keys() <= NAMES


@pytest.mark.parametrize("line", written_commands())
def test_a_command_in_the_text_is_understood(line: str) -> None:
    words = shlex.split(line)
    build_parser().parse_args(words[words.index("ollama-mcp") + 1 :])


def test_every_variable_in_the_text_is_a_setting() -> None:
    mentioned = set(re.findall(r"\bOLLAMA_[A-Z_]*[A-Z]\b", SETUP))
    assert mentioned
    assert mentioned <= NAMES


def test_the_python_in_the_text_compiles() -> None:
    assert blocks("python")
    for block in blocks("python"):
        compile(block, "MCP_SETUP.md", "exec")


def test_vs_codes_links_install_the_block_beside_them() -> None:
    text = section("VS Code")
    expected = {"type": "stdio", "command": "ollama-mcp"}
    assert {"servers": {"ollama": expected}} in [json.loads(block) for block in blocks("json", text)]
    web = parse_qs(urlsplit(re.search(r"https://vscode\.dev/redirect/mcp/install\?[^)\s]+", text)[0]).query)
    assert web.pop("name") == ["ollama"]
    assert [json.loads(config) for config in web.pop("config")] == [expected]
    assert not web
    direct = json.loads(unquote(re.search(r"vscode:mcp/install\?(\S+)", text)[1]))
    command = json.loads(re.search(r"code --add-mcp '(.+)'", text)[1])
    assert direct == command == {"name": "ollama", **expected}


def test_cursors_links_install_the_block_beside_them() -> None:
    text = section("Cursor")
    expected = {"command": "ollama-mcp"}
    assert {"mcpServers": {"ollama": expected}} in [json.loads(block) for block in blocks("json", text)]
    links = re.findall(r"(?:https://cursor\.com/en/install-mcp|cursor://anysphere\S+/mcp/install)\?[^)\s]+", text)
    assert len(links) == 2
    for link in links:
        query = parse_qs(urlsplit(link).query)
        assert query.keys() == {"name", "config"}
        assert query["name"] == ["ollama"]
        assert json.loads(base64.b64decode(query["config"][0], validate=True)) == expected


def test_every_link_within_the_project_leads_somewhere() -> None:
    headings = re.findall(r"^#+ (.+)$", SETUP, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for target in re.findall(r"\]\(([^)]+)\)", SETUP):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        elif "://" not in target:
            assert (ROOT / target).is_file(), target


def test_vs_codes_tasks_and_debuggers_start_what_there_is() -> None:
    started = [task["args"][2:] for task in VSCODE["tasks"]["tasks"] if task.get("args", [])[1:2] == ["ollama-mcp"]]
    started += [run["args"] for run in VSCODE["launch"]["configurations"] if run["module"] == "ollama_mcp"]
    assert {build_parser().parse_args(arguments).command for arguments in started} == {"stdio", "http", "chat"}


def test_vs_codes_tasks_depend_on_tasks_that_are_there() -> None:
    tasks = VSCODE["tasks"]["tasks"]
    labels = {task["label"] for task in tasks}
    assert {"test", "lint", "run http", "chat"} <= labels
    assert {label for task in tasks for label in task.get("dependsOn", [])} <= labels


def test_the_manifest_is_of_this_version_and_points_at_files_that_are_there() -> None:
    assert MANIFEST["version"] == __version__
    assert (ROOT / MANIFEST["server"]["entry_point"]).is_file()


@pytest.mark.anyio
async def test_the_manifest_lists_the_tools_and_prompts_that_the_server_lists() -> None:
    started = StdioServerParameters(command=sys.executable, args=["-m", "ollama_mcp"], cwd=ROOT)
    async with Client(started) as client:
        tools = (await client.list_tools()).tools
        prompts = (await client.list_prompts()).prompts
    assert [tool["name"] for tool in MANIFEST["tools"]] == [tool.name for tool in tools]
    assert {prompt["name"]: prompt["arguments"] for prompt in MANIFEST["prompts"]} == {
        prompt.name: [argument.name for argument in prompt.arguments] for prompt in prompts
    }


def test_the_manifests_questions_all_have_an_answer_when_left_alone(tmp_path: Path) -> None:
    # A host leaves "${user_config.x}" standing as it is where there is neither an answer nor a default.
    defaults = {f"${{user_config.{name}}}": option["default"] for name, option in MANIFEST["user_config"].items()}
    env = MANIFEST["server"]["mcp_config"]["env"]
    assert set(env.values()) == defaults.keys()
    assert load({}, {name: defaults[value] for name, value in env.items()}, tmp_path) == load({}, {}, tmp_path)


def test_the_manifests_prompts_use_the_arguments_they_declare() -> None:
    for prompt in MANIFEST["prompts"]:
        used = re.findall(r"\$\{arguments\.(\w+)\}", prompt["text"])
        assert sorted(used) == sorted(prompt["arguments"]), prompt["name"]


def test_a_tool_install_leaves_out_what_a_sync_leaves_out() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    written = re.search(r'printf "(.*)" > overrides.txt', (ROOT / "MCP_SETUP.md").read_text(encoding="utf-8"))
    assert written is not None
    assert written[1].split("\\n")[:-1] == project["tool"]["uv"]["override-dependencies"]
