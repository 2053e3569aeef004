"""The programs of package.json, installed once for each version of it, in the user's cache."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

PACKAGE = Path(__file__).with_name("package.json")
NODE = 22
"""The oldest Node that the programs run on."""

Run = Callable[..., subprocess.CompletedProcess[str]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.timeout(300))  # the installation may fall into any of them


@pytest.fixture(scope="session")
def programs() -> Path:
    """The directory of the installed programs, a Node of a version that they run on among them."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed, and the conformance suite and the Inspector come by it")
    version = hashlib.sha256(PACKAGE.read_bytes()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ollama-mcp-tests"
    place = cache / version
    if not place.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        growing = cache / f"{version}.{os.getpid()}"
        growing.mkdir()
        shutil.copy(PACKAGE, growing)
        options = ("--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
        done = subprocess.run([npm, "install", *options], cwd=growing, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        try:
            growing.rename(place)
        except OSError:  # another run was faster
            shutil.rmtree(growing)
    return place / "node_modules"


@pytest.fixture(scope="session")
def run(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs one of the programs to its end, in a home of its own."""
    own_node = next((path.parent for path in programs.glob("node-*/bin/node")), None)
    places = [*([str(own_node)] if own_node else []), str(programs / ".bin"), os.environ["PATH"]]
    home = tmp_path_factory.mktemp("home")
    environment = {**os.environ, "PATH": os.pathsep.join(places), "HOME": str(home)}
    node = subprocess.run(["node", "--version"], env=environment, capture_output=True, text=True, check=True).stdout
    if int(node.removeprefix("v").partition(".")[0]) < NODE:
        pytest.skip(f"Node is {node.strip()}, and the conformance suite and the Inspector need {NODE}")

    def run_program(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=environment, cwd=home, capture_output=True, text=True, timeout=120, check=False
        )

    return run_program
