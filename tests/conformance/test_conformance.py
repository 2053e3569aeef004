"""The protocol's own conformance suite, against the HTTP server over a fake Ollama."""

import json
import re
from pathlib import Path

import pytest

from tests.fake_ollama import FakeOllama
from tests.harness import WARM
from tests.processes import http_server

from .conftest import Run

HERE = Path(__file__).parent
REVISIONS = ("2025-11-25", "2026-07-28")
PASSED = {
    "2025-11-25": {
        *("server-initialize", "server-session-lifecycle", "ping", "tools-list", "resources-list", "prompts-list"),
        *("dns-rebinding-protection", "server-sse-multiple-streams", "completion-complete", "logging-set-level"),
        *("resources-subscribe", "resources-unsubscribe"),
    },
    "2026-07-28": {
        *("caching", "http-header-validation", "sep-2164-resource-not-found", "tools-list", "resources-list"),
        *("prompts-list", "dns-rebinding-protection", "completion-complete", "server-sse-multiple-streams"),
    },
}
"""The scenarios that need nothing of the suite's own."""


@pytest.mark.parametrize("revision", REVISIONS)
def test_every_scenario_of_the_suite_comes_out_as_expected(run: Run, revision: str, tmp_path: Path) -> None:
    expected = HERE / f"expected-failures-{revision}.yaml"
    with FakeOllama.in_thread(loaded=dict(WARM)) as fake, http_server("--ollama-host", fake.url) as (url, _):
        target = ("--url", f"{url}/mcp", "--requirements", revision)
        done = run("conformance", "server", *target, "--expected-failures", str(expected), "-o", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    failed: dict[str, set[str]] = {}
    for checks in tmp_path.glob("*/checks.json"):
        scenario = re.sub(r"^server-(.*)-20\d\d-\d\d-\d\dT.*$", r"\1", checks.parent.name)
        outcomes = json.loads(checks.read_text())
        assert outcomes, scenario
        failed[scenario] = {check["id"] for check in outcomes if check["status"] == "FAILURE"}
    assert len(failed) > 20
    assert {scenario for scenario in PASSED[revision] if failed[scenario]} == set()


@pytest.mark.parametrize("revision", REVISIONS)
def test_each_expected_failure_wants_something_of_the_suites_own(revision: str) -> None:
    text = (HERE / f"expected-failures-{revision}.yaml").read_text()
    lines = [line for line in text.splitlines() if line.startswith("  ")]
    assert lines
    for line in lines:
        assert re.fullmatch(r"  - [\w-]+:[\w-]+ # wants the (tool test_|prompt test_|resource test:)\S+", line), line
