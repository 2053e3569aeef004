"""Clients of both eras hear what changes, whoever changed it; nobody listening costs the engine nothing."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.server.subscriptions import ResourcesListChanged, ResourceUpdated
from mcp.types import ResourceListChangedNotification, ResourceUpdatedNotification

from ollama_mcp.endpoints import http_endpoints
from ollama_mcp.server import create_server

from .fake_ollama import Exchange, FakeModel, FakeOllama, failure
from .harness import ERAS, client_over, service_over, warm_ollama
from .processes import COMMAND, clean_environment, http_server

pytestmark = [
    pytest.mark.anyio,
    # The client's own methods for the handshake era.
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]

QUICK = 0.1
MODELS, STATUS = "ollama://models", "ollama://status"
LISTED = "the list"
Settle = Callable[[], Awaitable[None]]


class Ears:
    """What a client has heard: URIs that were updated, and `LISTED` for each changed list."""

    def __init__(self) -> None:
        self.heard: set[str] = set()
        self._news = anyio.Event()

    def hear(self, what: str) -> None:
        self.heard.add(what)
        self._news.set()

    async def on_message(self, message: Any) -> None:
        if isinstance(message, ResourceUpdatedNotification):
            self.hear(message.params.uri)
        elif isinstance(message, ResourceListChangedNotification):
            self.hear(LISTED)

    async def wait_for(self, *what: str) -> set[str]:
        """Wait until all of it was heard; returns everything that was, and forgets it."""
        with anyio.fail_after(5):
            while not self.heard >= set(what):
                self._news = anyio.Event()
                await self._news.wait()
        heard, self.heard = self.heard, set()
        return heard


@asynccontextmanager
async def listening(client: Client, ears: Ears, *uris: str) -> AsyncIterator[None]:
    """Subscribed in the way of the client's era."""
    if client.protocol_version < "2026":
        for uri in uris:
            await client.subscribe_resource(uri)
        yield
        for uri in uris:
            await client.unsubscribe_resource(uri)
        return

    async def follow(stream: Any) -> None:
        async for event in stream:
            if isinstance(event, ResourceUpdated):
                ears.hear(event.uri)
            elif isinstance(event, ResourcesListChanged):
                ears.hear(LISTED)

    async with (
        client.listen(resources_list_changed=True, resource_subscriptions=uris) as stream,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(follow, stream)
        yield
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def connected(fake: FakeOllama, mode: str, ears: Ears, **settings: Any) -> AsyncIterator[Client]:
    async with service_over(fake, watch_interval=QUICK, **settings) as service:
        server = create_server(service, http_endpoints("127.0.0.1", 4891, serving=False))
        async with Client(server, mode=mode, message_handler=ears.on_message) as client:
            yield client


async def looked_at(fake: FakeOllama, times: int = 2) -> None:
    """Wait until the watcher has looked that often more."""
    await fake.wait_request("/api/ps", len(fake.sent("/api/ps")) + times)


async def not_looked_at(fake: FakeOllama) -> None:
    """See that several intervals go by without a look."""
    with pytest.raises(TimeoutError):
        await fake.wait_request("/api/ps", len(fake.sent("/api/ps")) + 1, within=QUICK * 4)


@pytest.mark.parametrize("mode", ERAS)
async def test_a_model_that_somebody_else_pulls_or_deletes_is_told(mode: str) -> None:
    ears, uri = Ears(), "ollama://models/new:latest"
    async with (
        warm_ollama() as fake,
        connected(fake, mode, ears) as client,
        listening(client, ears, MODELS, STATUS, uri),
    ):
        await looked_at(fake)
        assert ears.heard == set()
        fake.models["new:latest"] = FakeModel()
        assert await ears.wait_for(LISTED, MODELS, uri) <= {LISTED, MODELS, STATUS, uri}
        del fake.models["new:latest"]
        await ears.wait_for(LISTED, MODELS, uri)


@pytest.mark.parametrize("mode", ERAS)
async def test_a_model_that_somebody_else_loads_or_unloads_is_told_and_the_list_stays(mode: str) -> None:
    ears = Ears()
    async with (
        warm_ollama(loaded={}) as fake,
        connected(fake, mode, ears) as client,
        listening(client, ears, MODELS, STATUS),
    ):
        await looked_at(fake)
        fake.loaded["qwen3:8b"] = 4096
        assert await ears.wait_for(MODELS, STATUS) == {MODELS, STATUS}
        del fake.loaded["qwen3:8b"]
        assert await ears.wait_for(MODELS, STATUS) == {MODELS, STATUS}


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize(
    "uri",
    [
        "ollama://models/mistral",
        "ollama://models/mistral:latest",
        "ollama://models/mistral%3Alatest",
        "ollama://models/gpt-4o",
    ],
)
async def test_a_model_may_be_named_in_any_way(mode: str, uri: str) -> None:
    ears = Ears()
    async with (
        warm_ollama() as fake,
        connected(fake, mode, ears, aliases={"gpt-4o": "mistral"}) as client,
        listening(client, ears, uri),
    ):
        await looked_at(fake)
        fake.models["mistral:latest"] = FakeModel()
        assert await ears.wait_for(LISTED, uri) == {LISTED, uri}


@pytest.mark.parametrize("mode", ERAS)
async def test_what_this_server_changes_is_told_at_once(mode: str) -> None:
    ears = Ears()
    async with warm_ollama(loaded={}) as fake, service_over(fake, watch_interval=3600.0) as service:
        server = create_server(service, http_endpoints("127.0.0.1", 4891, serving=False))
        async with (
            Client(server, mode=mode, message_handler=ears.on_message) as client,
            listening(client, ears, STATUS),
        ):
            await fake.wait_request("/api/ps")
            await client.call_tool("chat_completion", {"model": "llama3.2", "prompt": "Hi"})
            await ears.wait_for(STATUS)


async def test_a_handshake_client_hears_of_a_changed_list_without_subscribing() -> None:
    ears = Ears()
    async with warm_ollama() as fake, service_over(fake) as service:
        server = create_server(service, http_endpoints("127.0.0.1", 4891, serving=False))
        async with Client(server, mode="legacy", message_handler=ears.on_message):
            async for _ in service.pull("mistral"):
                pass
            assert await ears.wait_for(LISTED) == {LISTED}
    assert fake.sent("/api/ps") == []


@pytest.mark.parametrize("mode", ERAS)
async def test_an_engine_that_goes_and_comes_back_is_told(mode: str) -> None:
    ears = Ears()
    async with warm_ollama() as fake, connected(fake, mode, ears) as client, listening(client, ears, STATUS, MODELS):
        await looked_at(fake)
        fake.on("/api/tags", failure(500, "broken"))
        assert await ears.wait_for(LISTED, STATUS) == {LISTED, STATUS}
        await fake.stop()
        async with fake:
            fake.on("/api/tags", Exchange.default)
            assert await ears.wait_for(LISTED, STATUS) == {LISTED, STATUS}


@pytest.mark.parametrize("mode", ERAS)
async def test_the_engine_is_looked_at_only_while_somebody_listens(mode: str) -> None:
    ears = Ears()
    async with warm_ollama() as fake, connected(fake, mode, ears) as client:
        await not_looked_at(fake)
        async with listening(client, ears, STATUS):
            await looked_at(fake)
        await client.list_tools()
        await not_looked_at(fake)


@pytest.mark.parametrize("mode", ERAS)
async def test_a_client_that_leaves_without_a_word_listens_no_more(mode: str) -> None:
    async with warm_ollama() as fake, service_over(fake, watch_interval=QUICK) as service:
        server = create_server(service, http_endpoints("127.0.0.1", 4891, serving=False))
        ears = Ears()
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(Client(server, mode=mode))
            if mode == "legacy":
                await client.subscribe_resource(STATUS)
            else:
                await stack.enter_async_context(listening(client, ears, STATUS))
            await looked_at(fake)
        await not_looked_at(fake)


async def test_two_listeners_share_one_watcher() -> None:
    one, two = Ears(), Ears()
    async with warm_ollama() as fake, service_over(fake, watch_interval=QUICK) as service:
        server = create_server(service, http_endpoints("127.0.0.1", 4891, serving=False))
        async with (
            Client(server, mode="legacy", message_handler=one.on_message) as old,
            Client(server, mode="2026-07-28") as new,
            listening(old, one, STATUS),
            listening(new, two, STATUS),
        ):
            await looked_at(fake)
            with pytest.raises(TimeoutError):
                await fake.wait_request("/api/ps", 20, within=QUICK * 10)
            fake.loaded.clear()
            await one.wait_for(STATUS)
            await two.wait_for(STATUS)


async def test_an_ended_subscription_is_not_told_while_others_are() -> None:
    ears = Ears()
    async with (
        warm_ollama() as fake,
        connected(fake, "legacy", ears) as client,
        listening(client, ears, MODELS, STATUS),
    ):
        await client.unsubscribe_resource(STATUS)
        await looked_at(fake)
        fake.loaded.clear()
        assert await ears.wait_for(MODELS) == {MODELS}


@pytest.mark.parametrize("era", ERAS)
async def test_capabilities_say_which_changes_are_told(era: str) -> None:
    mode = "legacy" if era == "legacy" else "auto"
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        said = client.server_capabilities
    assert said.resources.subscribe is True
    assert said.resources.list_changed is True
    assert said.tools.list_changed is said.prompts.list_changed is False
    assert said.completions is not None


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_changes_are_told_over_a_real_transport(mode: str, transport: str) -> None:
    ears = Ears()
    environment = {"OLLAMA_MCP_WATCH_INTERVAL": str(QUICK)}
    async with AsyncExitStack() as stack:
        fake = stack.enter_context(FakeOllama.in_thread())
        if transport == "http":
            url, _ = stack.enter_context(http_server("--ollama-host", fake.url, env=environment))
            target: Any = f"{url}/mcp"
        else:
            arguments = ["stdio", "--ollama-host", fake.url]
            target = StdioServerParameters(command=COMMAND, args=arguments, env=clean_environment(**environment))
        client = await stack.enter_async_context(Client(target, mode=mode, message_handler=ears.on_message))
        async with listening(client, ears, MODELS):
            await anyio.to_thread.run_sync(fake.wait_request_sync, "/api/ps", 2)
            fake.models["new:latest"] = FakeModel()
            assert await ears.wait_for(LISTED, MODELS) == {LISTED, MODELS}
