"""`ollama-mcp http` as a real process: MCP at /mcp for the official client, guarded."""

import json
import signal

import anyio
import httpx
import pytest
from mcp import Client

from .fake_ollama import FakeOllama, Gate, last, line, says, stream
from .harness import ERAS, WARM, text_of
from .processes import http_server

KEY = "k" * 40


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ERAS)
async def test_the_official_client_does_everything_over_http(mode: str) -> None:
    seen: list[str] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append(message or "")

    with FakeOllama.in_thread(loaded=dict(WARM)) as fake, http_server("--ollama-host", fake.url) as (url, _):
        fake.chat_script = [says("Hello from the model."), stream(line("never"), Gate(), last()), says("After.")]
        async with Client(f"{url}/mcp", mode=mode) as client:
            assert {tool.name for tool in (await client.list_tools()).tools} >= {"chat_completion", "health_check"}
            assert (await client.list_resources()).resources
            assert (await client.list_resource_templates()).resource_templates
            endpoints = json.loads((await client.read_resource("ollama://endpoints")).contents[0].text)
            assert endpoints["serving"] is True
            assert f"{url}/mcp" in [endpoint["url"] for endpoint in endpoints["endpoints"]]
            prompt = await client.get_prompt("translate", {"text": "Hello", "target_language": "German"})
            assert "German" in prompt.messages[0].content.text
            asked = await client.call_tool("chat_completion", {"prompt": "Hi"}, progress_callback=on_progress)
            assert text_of(asked) == "".join(seen) == "Hello from the model."
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.call_tool, "chat_completion", {"prompt": "Go on for ever"})
                await anyio.to_thread.run_sync(fake.wait_request_sync, "/api/chat", 2)
                tasks.cancel_scope.cancel()
            await anyio.to_thread.run_sync(fake.wait_disconnected_sync, 1, 1.0)
            assert text_of(await client.call_tool("chat_completion", {"prompt": "Still there?"})) == "After."
            assert not (await client.call_tool("list_models", {})).is_error


def test_the_server_starts_and_tells_its_health_when_ollama_is_down() -> None:
    with http_server("--ollama-host", "http://127.0.0.1:9") as (url, _):
        health = httpx.get(f"{url}/health").json()
        assert httpx.get(f"{url}/health/live").status_code == 200
    assert health["ollama_url"] == "http://127.0.0.1:9"
    assert health["status"] != "ok"


def test_the_port_comes_from_the_environment() -> None:
    with http_server(env={"MCP_SERVER_PORT": "1"}) as (url, _):
        assert httpx.get(f"{url}/health/live").status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1:1@evil.example", "localhost.evil.example", "", "127.0.0.1:99999x"]
)
def test_another_host_name_is_refused_on_every_route(host: str) -> None:
    with http_server() as (url, _), httpx.Client(base_url=url, headers={"Host": host}) as client:
        answers = [client.get(path) for path in ("/health", "/v1/models", "/mcp", "/docs", "/nowhere")]
    assert {answer.status_code for answer in answers} <= {421, 400}


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:1", "http://127.0.0.1.evil.example"]
)
def test_a_page_of_another_origin_is_refused(origin: str) -> None:
    with http_server() as (url, _):
        answers = [
            httpx.get(f"{url}/v1/models", headers={"Origin": origin}),
            httpx.post(f"{url}/mcp", headers={"Origin": origin}, json={}),
        ]
        own = httpx.get(f"{url}/health", headers={"Origin": url})
    assert [answer.status_code for answer in answers] == [403, 403]
    assert own.status_code == 200


def test_with_a_key_only_its_holder_comes_in() -> None:
    with http_server(env={"OLLAMA_MCP_API_KEY": KEY, "OLLAMA_HOST": "127.0.0.1:9"}) as (url, _):
        without = httpx.get(f"{url}/v1/models")
        wrong = httpx.get(f"{url}/v1/models", headers={"Authorization": f"Bearer {KEY[:-1]}x"})
        for header in ({"Authorization": f"Bearer {KEY}"}, {"X-API-Key": KEY}):
            assert httpx.get(f"{url}/health", headers=header).status_code == 200
        mcp = httpx.post(f"{url}/mcp", json={})
        live = httpx.get(f"{url}/health/live")
    assert without.status_code == wrong.status_code == mcp.status_code == 401
    assert without.json()["error"]["type"] == "authentication_error"
    assert live.status_code == 200


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_ends_the_server_with_a_stream_open(number: signal.Signals) -> None:
    body = {"model": "llama3.2", "messages": [{"role": "user", "content": "?"}], "stream": True}
    with FakeOllama.in_thread(loaded=dict(WARM)) as fake, http_server("--ollama-host", fake.url) as (url, process):
        fake.chat_script = [stream(line("never"), Gate(), last())]
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=body) as answer:
            assert answer.status_code == 200
            process.send_signal(number)
            assert process.wait(5) in (0, 128 + number, -number)
        fake.wait_disconnected_sync(within=1)
