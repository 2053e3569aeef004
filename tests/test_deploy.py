"""What stands in deploy/: its nginx before two servers that share a Redis, and what its other files say."""

import itertools
import re
import signal
import string
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from benchmarks.proxy import nginx_arguments, nginx_command
from ollama_mcp.guard import MAX_BODY_WITH_IMAGES
from ollama_mcp.serve import DRAIN_SECONDS
from ollama_mcp.settings import Settings, check_bind, load

from .fake_ollama import FakeOllama, Gate, last, line, says, stream
from .forked import Parent, Served
from .harness import ERAS, WARM, text_of
from .test_rate_limit import free_port, redis

DEPLOY = Path(__file__).parent.parent / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
NGINX = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
REPLICAS = ("replica-1", "replica-2")

KEYS = [letter * 40 for letter in string.ascii_letters]
LIMIT = 20
CHAT = {"model": "llama3.2", "messages": [{"role": "user", "content": "Hi"}]}
CHAT_PATH = "/v1/chat/completions"


@dataclass
class Deployment:
    """Two servers behind nginx, and the Ollama that both ask."""

    url: str
    replicas: list[str]
    served: list[Served]
    fake: FakeOllama


@contextmanager
def deployed(forks: Parent, folder: Path, fake: FakeOllama, storage: str) -> Iterator[Deployment]:
    command = nginx_command()
    if command is None:
        pytest.skip("nginx is not installed")
    (folder / "keys").write_text("\n".join(KEYS))
    settings = {
        "OLLAMA_MCP_OLLAMA_HOST": fake.url,
        "OLLAMA_MCP_HOST": "127.1",  # loopback, in a spelling that the server does not take for it
        "OLLAMA_MCP_API_KEY_FILE": str(folder / "keys"),
        "OLLAMA_MCP_RATE_LIMIT": f"{LIMIT}/minute",
        "OLLAMA_MCP_RATE_LIMIT_STORAGE": storage,
    }
    with forks.http_server(**settings) as one, forks.http_server(**settings) as two:
        ports = [int(server.url.rpartition(":")[2]) for server in (one, two)]
        port = free_port()
        start = nginx_arguments(command, folder, port, ports)
        subprocess.run(start, check=True)  # returns once it listens
        try:
            replicas = [f"http://127.0.0.1:{port}" for port in ports]
            yield Deployment(f"http://127.0.0.1:{port}", replicas, [one, two], fake)
        finally:
            subprocess.run([*start, "-s", "stop"], check=True)


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeOllama]:
    with FakeOllama.in_thread(loaded=dict(WARM)) as fake:
        yield fake


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    with redis(port, tmp_path_factory.mktemp("redis")):
        yield f"redis://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def deployment(
    forks: Parent, tmp_path_factory: pytest.TempPathFactory, fake: FakeOllama, storage: str
) -> Iterator[Deployment]:
    with deployed(forks, tmp_path_factory.mktemp("deployment"), fake, storage) as deployment:
        yield deployment


@pytest.fixture(scope="module")
def keys() -> Iterator[str]:
    return iter(KEYS)


@pytest.fixture
def headers(keys: Iterator[str]) -> dict[str, str]:
    """Of a caller of its own, since calls are counted."""
    return {"Authorization": f"Bearer {next(keys)}"}


@contextmanager
def streamed(url: str, headers: dict[str, str]) -> Iterator[Iterator[str]]:
    """The events of a streamed answer, as they come."""
    with httpx.stream("POST", url + CHAT_PATH, json={**CHAT, "stream": True}, headers=headers) as answer:
        assert answer.status_code == 200
        yield (text for text in answer.iter_lines() if text)


def until(events: Iterator[str], text: str) -> list[str]:
    """The events up to the first with this text."""
    seen = []
    for event in events:
        seen.append(event)
        if text in event:
            return seen
    raise AssertionError(f"{text!r} did not come: {seen}")


@asynccontextmanager
async def mcp_client(deployment: Deployment, headers: dict[str, str], mode: str) -> AsyncIterator[Client]:
    async with (
        create_mcp_http_client(headers=headers) as http,
        Client(streamable_http_client(f"{deployment.url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


def test_a_whole_answer_comes_by_whatever_name_the_server_is_called(
    deployment: Deployment, headers: dict[str, str]
) -> None:
    deployment.fake.chat_script = [says("Hello.")]
    answer = httpx.post(deployment.url + CHAT_PATH, json=CHAT, headers={**headers, "Host": "models.example"})
    assert answer.json()["choices"][0]["message"]["content"] == "Hello."
    assert "content-encoding" not in answer.headers


def test_streams_come_piece_by_piece_each_from_another_replica(
    deployment: Deployment, headers: dict[str, str]
) -> None:
    gate = Gate()
    deployment.fake.chat_script = [stream(line("Hel"), gate, line("lo"), last()) for _ in range(2)]
    with streamed(deployment.url, headers) as one, streamed(deployment.url, headers) as two:
        for events in (one, two):
            until(events, '"Hel"')
        running = [httpx.get(f"{replica}/metrics", headers=headers).text for replica in deployment.replicas]
        gate.open()
        for events in (one, two):
            assert any('"lo"' in event for event in until(events, "[DONE]"))
    assert all("\nollama_mcp_requests_running 1.0\n" in metrics for metrics in running)


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ERAS)
async def test_an_mcp_client_of_either_era_sees_progress_as_it_comes(
    deployment: Deployment, headers: dict[str, str], mode: str
) -> None:
    gate = Gate()
    deployment.fake.chat_script = [stream(line("Hel"), gate, line("lo"), last())]
    said: list[str | None] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        said.append(message)
        gate.open()

    async with mcp_client(deployment, headers, mode) as client:
        for _ in range(4):  # in one session, which a single replica knows
            await client.list_tools(cache_mode="bypass")
        arguments = {"prompt": "Hi", "model": "llama3.2"}
        result = await client.call_tool("chat_completion", arguments, progress_callback=on_progress)
    assert said[0] == "Hel"
    assert text_of(result) == "Hello"


def test_a_client_that_leaves_stops_the_generation(deployment: Deployment, headers: dict[str, str]) -> None:
    deployment.fake.chat_script = [stream(line("Hel"), Gate(), last())]
    before = deployment.fake.disconnects
    with streamed(deployment.url, headers) as events:
        until(events, '"Hel"')
    deployment.fake.wait_disconnected_sync(before + 1)


def test_a_rate_limit_counts_over_both_replicas(deployment: Deployment, headers: dict[str, str]) -> None:
    places = [deployment.url, *deployment.replicas]

    def ask(url: str) -> int:
        return httpx.get(f"{url}/v1/models", headers=headers).status_code

    assert [ask(place) for place in itertools.islice(itertools.cycle(places), LIMIT)] == [200] * LIMIT
    assert [ask(place) for place in places] == [429] * 3


def test_a_body_that_is_too_large_and_a_wrong_key_are_refused_in_the_form_of_the_api(
    deployment: Deployment, headers: dict[str, str]
) -> None:
    json = {"Content-Type": "application/json"}
    body = b"x" * (MAX_BODY_WITH_IMAGES + 1)
    large = httpx.post(deployment.url + CHAT_PATH, content=body, headers={**headers, **json})
    wrong = httpx.post(deployment.url + CHAT_PATH, content=body[:-1], headers=json)
    assert (large.status_code, large.json()["error"]["code"]) == (413, "request_too_large")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (401, "invalid_api_key")


def test_without_one_replica_the_other_answers_and_without_both_the_caller_is_told(
    forks: Parent, tmp_path: Path, fake: FakeOllama, storage: str, headers: dict[str, str]
) -> None:
    with deployed(forks, tmp_path, fake, storage) as deployment:
        answers = []
        for served in deployment.served:
            served.end(signal.SIGKILL)
            answers += [httpx.post(deployment.url + CHAT_PATH, json=CHAT, headers=headers) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200] * 4 + [502] * 4
    assert "No ollama-mcp behind this address answers" in answers[-1].json()["error"]["message"]


def settings_of(service: dict[str, Any], folder: Path) -> Settings:
    (folder / "keys").write_text(KEYS[0])
    environment = dict(service["environment"])
    assert environment["OLLAMA_MCP_API_KEY_FILE"] == f"/run/secrets/{service['secrets'][0]}"
    return load({}, environment | {"OLLAMA_MCP_API_KEY_FILE": str(folder / "keys")}, folder)


@pytest.mark.parametrize("name", REPLICAS)
def test_the_replicas_of_the_compose_file_have_settings_that_a_server_starts_with(name: str, tmp_path: Path) -> None:
    service = COMPOSE["services"][name]
    settings = settings_of(service, tmp_path)
    check_bind(settings)
    assert settings.host == "0.0.0.0"
    assert settings.rate_limit is not None
    assert settings.rate_limit_storage == "redis://redis:6379"
    assert "redis" in COMPOSE["services"]
    assert float(service["stop_grace_period"].removesuffix("s")) > DRAIN_SECONDS


def test_nginx_knows_the_replicas_of_the_compose_file_and_waits_longer_than_they_do() -> None:
    assert COMPOSE["services"]["nginx"]["depends_on"].keys() == set(REPLICAS)
    assert re.findall(r"server (.*);", NGINX) == [f"{name}:{Settings().port}" for name in REPLICAS] * 2
    waits = re.search(r"proxy_read_timeout (\d+)s", NGINX)
    assert waits is not None
    assert int(waits[1]) > Settings().queue_timeout + Settings().total_timeout


def test_the_image_holds_what_the_build_needs() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    copied = [
        Path(part) for text in re.findall(r"^COPY (.*) \S+$", dockerfile, re.MULTILINE) for part in text.split()
    ]
    assert copied
    for path in copied:
        assert (DEPLOY.parent / path).exists(), path
