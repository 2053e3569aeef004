"""Each caller may call so often; what counts may be this process or a Redis for several."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import httpx
import pytest

from ollama_mcp import rate_limit
from ollama_mcp.errors import ConfigurationError
from ollama_mcp.rate_limit import RateLimiter

from .fake_ollama import FakeOllama
from .harness import WARM
from .processes import http_server, run

KEYS = ["a" * 40, "b" * 40]


def headers(key: str | None = None) -> dict[str, str]:
    return {} if key is None else {"Authorization": f"Bearer {key}"}


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    file = tmp_path / "keys"
    file.write_text("\n".join(KEYS))
    return str(file)


@contextmanager
def redis(port: int, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A Redis of its own that keeps nothing."""
    command = shutil.which("redis-server")
    if command is None:
        pytest.skip("redis-server is not installed")
    options = [
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
        str(directory),
    ]
    with subprocess.Popen([command, *options], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if b"Ready to accept connections" in line:
                    break
            else:
                raise AssertionError(f"Redis ended with {process.wait()}")
            yield process
        finally:
            process.terminate()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_one_call_too_many_is_told_when_to_come_again() -> None:
    with (
        FakeOllama.in_thread(loaded=dict(WARM)) as fake,
        http_server("--ollama-host", fake.url, env={"OLLAMA_MCP_RATE_LIMIT": "3/minute"}) as (url, _),
    ):
        answers = [httpx.get(f"{url}/v1/models") for _ in range(3)]
        refused = httpx.post(f"{url}/v1/chat/completions", json={})
        mcp = httpx.post(f"{url}/mcp", json={})
        free = [httpx.get(f"{url}{path}").status_code for path in ("/health", "/health/live", "/docs")]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert refused.status_code == mcp.status_code == 429
    assert free == [200] * 3
    assert 50 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["x-request-id"]
    error = refused.json()["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert "3 requests a minute" in error["message"]


def test_each_key_has_its_own_count_and_a_wrong_key_none(key_file: str) -> None:
    settings = {"OLLAMA_MCP_RATE_LIMIT": "2/hour", "OLLAMA_MCP_API_KEY_FILE": key_file}
    with (
        FakeOllama.in_thread(loaded=dict(WARM)) as fake,
        http_server("--ollama-host", fake.url, env=settings) as (url, _),
    ):
        for _ in range(3):
            assert httpx.get(f"{url}/v1/models", headers=headers("wrong")).status_code == 401
        for key in KEYS:
            asked = [httpx.get(f"{url}/v1/models", headers=headers(key)).status_code for _ in range(3)]
            assert asked == [200, 200, 429]
        # The same key in another spelling is the same caller.
        assert httpx.get(f"{url}/v1/models", headers={"X-API-Key": KEYS[0]}).status_code == 429


@pytest.mark.anyio
async def test_callers_are_counted_apart_and_told_when_their_window_has_moved_on() -> None:
    limiter = RateLimiter("2/hour")
    assert limiter.limit == "2 requests a hour"
    assert [await limiter.wait_for("a") for _ in range(2)] == [None, None]
    seconds = await limiter.wait_for("a")
    assert seconds is not None
    assert 3500 < seconds <= 3600
    assert await limiter.wait_for("b") is None


@pytest.mark.anyio
async def test_a_redis_that_failed_is_left_alone_for_a_while(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    limiter = RateLimiter("1/hour", f"redis://user:hidden-word@127.0.0.1:{free_port()}")
    assert [await limiter.wait_for("a") for _ in range(3)] == [None] * 3
    [told] = caplog.messages
    assert told == "rate limits are off for 5 s, since Redis failed with ConnectionError"
    monkeypatch.setattr(rate_limit, "PAUSE_SECONDS", 0.0)
    limiter = RateLimiter("1/hour", f"redis://127.0.0.1:{free_port()}")
    assert [await limiter.wait_for("a") for _ in range(2)] == [None] * 2
    assert len(caplog.messages) == 3, "it is tried again after the pause"


@pytest.mark.anyio
async def test_a_redis_that_says_nothing_holds_no_call_up(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limit, "REDIS_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent, anyio.fail_after(5):
        limiter = RateLimiter("1/hour", f"redis://127.0.0.1:{silent.getsockname()[1]}")
        assert await limiter.wait_for("a") is None
    assert caplog.messages == ["rate limits are off for 5 s, since Redis failed with TimeoutError"]


def test_without_the_client_of_redis_the_start_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(ConfigurationError, match=r"install ollama-mcp\[redis\]"):
        RateLimiter("1/hour", "redis://localhost")


def test_two_servers_count_together_in_redis(tmp_path: Path, key_file: str) -> None:
    port = free_port()
    settings = {
        "OLLAMA_MCP_RATE_LIMIT": "3/minute",
        "OLLAMA_MCP_RATE_LIMIT_STORAGE": f"redis://127.0.0.1:{port}/1",
        "OLLAMA_MCP_API_KEY_FILE": key_file,
    }
    with (
        redis(port, tmp_path),
        FakeOllama.in_thread(loaded=dict(WARM)) as fake,
        http_server("--ollama-host", fake.url, env=settings) as (first, _),
        http_server("--ollama-host", fake.url, env=settings) as (second, _),
    ):
        asked = [
            httpx.get(f"{url}/v1/models", headers=headers(KEYS[0])).status_code
            for url in (first, second, first, second)
        ]
        assert asked == [200, 200, 200, 429]
        assert httpx.get(f"{first}/v1/models", headers=headers(KEYS[1])).status_code == 200


def test_a_redis_that_is_down_lets_calls_through_and_is_told_of(tmp_path: Path) -> None:
    port = free_port()
    settings = {
        "OLLAMA_MCP_RATE_LIMIT": "1/minute",
        "OLLAMA_MCP_RATE_LIMIT_STORAGE": f"redis://user:hidden-word@127.0.0.1:{port}",
    }
    with (
        FakeOllama.in_thread(loaded=dict(WARM)) as fake,
        http_server("--ollama-host", fake.url, env=settings) as (url, process),
    ):
        asked = [httpx.get(f"{url}/v1/models").status_code for _ in range(3)]
        process.terminate()
        assert process.stderr is not None
        told = process.stderr.read()
    assert asked == [200] * 3
    assert told.count("rate limits are off for 5 s, since Redis failed with ConnectionError") == 1
    assert "hidden-word" not in told


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"OLLAMA_MCP_RATE_LIMIT": "often"}, "such as 60/minute"),
        ({"OLLAMA_MCP_RATE_LIMIT": "0/minute"}, "such as 60/minute"),
        ({"OLLAMA_MCP_RATE_LIMIT_STORAGE": "redis://localhost"}, "no limit is set"),
        ({"OLLAMA_MCP_RATE_LIMIT": "1/day", "OLLAMA_MCP_RATE_LIMIT_STORAGE": "memory"}, "redis://localhost:6379"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused_at_start(settings: dict[str, str], says: str) -> None:
    ended = run("http", "--port", "0", env=settings)
    assert ended.returncode == 2
    assert says in ended.stderr
