"""What is installed from the wheel alone, with the newest dependencies, works."""

import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from .processes import WITHIN, clean_environment
from .test_stdio import HELLO, lines

ROOT = Path(__file__).parent.parent


@pytest.mark.timeout(240)
@pytest.mark.skipif(shutil.which("uv") is None, reason="uv builds the wheel and the environment")
def test_the_wheel_alone_in_an_empty_environment_lists_its_tools(tmp_path: Path) -> None:
    def uv(*arguments: str) -> None:
        done = subprocess.run(["uv", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    uv("build", "--quiet", "--wheel", "--out-dir", str(tmp_path))
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert all(name.startswith(("ollama_mcp/", "ollama_mcp-")) for name in names)
    assert "ollama_mcp/py.typed" in names

    environment = tmp_path / "environment"
    uv("venv", "--quiet", str(environment))
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    uv("pip", "install", "--quiet", "--upgrade", "--python", str(python), str(wheel))

    done = subprocess.run(
        [python.with_name("ollama-mcp")],
        input=lines(*HELLO, {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}),
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=True,
    )
    listed = json.loads(done.stdout.splitlines()[-1])
    assert "chat_completion" in [tool["name"] for tool in listed["result"]["tools"]]
