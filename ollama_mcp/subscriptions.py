"""Tells clients of both protocol eras what changed: resources that were updated, and lists of them.

Clients of the 2026 era open a stream with `subscriptions/listen`; those of the handshake era are told of
changed lists as they are, and of the resources they subscribed to. The engine is watched only while
somebody listens or is subscribed; what this server itself changes is known without that.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from urllib.parse import quote

import anyio
from mcp.server import MCPServer
from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import NotificationOptions
from mcp.server.subscriptions import InMemorySubscriptionBus, ResourcesListChanged, ResourceUpdated, ServerEvent
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INVALID_PARAMS,
    DiscoverResult,
    EmptyResult,
    NotificationParams,
    RequestParams,
    SubscribeRequestParams,
    UnsubscribeRequestParams,
)

from ollama_mcp.catalog import same_model
from ollama_mcp.resources import MODELS, STATUS
from ollama_mcp.service import ChangeKind, Service
from ollama_mcp.watch import Change, Watcher

MAX_SUBSCRIPTIONS = 1000
SEND_TIMEOUT = 5.0
"""Seconds for a client to take a notification; one that does not read must not keep it from the others."""

AnyContext = ServerRequestContext[object, object]


class Subscriptions:
    """Both eras' subscribers to one service; as a `SubscriptionBus` it counts who listens."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._bus = InMemorySubscriptionBus()
        self._listeners = 0
        self._clients: dict[Connection, set[str]] = {}
        """Clients of the handshake era, with the URIs they subscribed to."""
        self._watcher = Watcher(service, self._tell, interval=service.settings.watch_interval)
        self._sending: set[asyncio.Task[None]] = set()
        service.subscribe(self._changed_here)

    def attach(self, mcp: MCPServer) -> None:
        """Register what the SDK leaves out for the handshake era, and say in both eras which lists can change."""
        low = mcp._lowlevel_server
        low.add_notification_handler("notifications/initialized", NotificationParams, self._join)
        low.add_request_handler("resources/subscribe", SubscribeRequestParams, self._subscribe)
        low.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, self._unsubscribe)
        changes = NotificationOptions(resources_changed=True)
        low.create_initialization_options = partial(low.create_initialization_options, changes)  # type: ignore[method-assign]

        async def discover(ctx: AnyContext, params: RequestParams) -> DiscoverResult:
            result = await low._handle_discover(ctx, params)
            # The SDK promises changes of every list to whoever listens; tools and prompts stay as they are.
            for fixed in (result.capabilities.tools, result.capabilities.prompts):
                if fixed is not None:
                    fixed.list_changed = False
            return result

        low.add_request_handler("server/discover", RequestParams, discover)

    async def publish(self, event: ServerEvent) -> None:
        """Deliver an event to the streams of the 2026 era."""
        await self._bus.publish(event)

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        """Add a stream of the 2026 era; returns what ends it, which may be called again."""
        leave = self._bus.subscribe(listener)
        self._listeners += 1
        self._watch_if_wanted()
        left = False

        def unsubscribe() -> None:
            nonlocal left
            leave()
            if not left:
                left = True
                self._listeners -= 1
                self._watch_if_wanted()

        return unsubscribe

    async def _join(self, ctx: AnyContext, params: NotificationParams) -> None:
        self._uris_of(ctx)

    async def _subscribe(self, ctx: AnyContext, params: SubscribeRequestParams) -> EmptyResult:
        uris = self._uris_of(ctx)
        if len(uris) >= MAX_SUBSCRIPTIONS:
            raise MCPError(INVALID_PARAMS, f"There are {MAX_SUBSCRIPTIONS} subscriptions already; end one first")
        uris.add(params.uri)
        self._watch_if_wanted()
        return EmptyResult()

    async def _unsubscribe(self, ctx: AnyContext, params: UnsubscribeRequestParams) -> EmptyResult:
        self._uris_of(ctx).discard(params.uri)
        self._watch_if_wanted()
        return EmptyResult()

    def _uris_of(self, ctx: AnyContext) -> set[str]:
        connection = ctx.session._connection
        if connection not in self._clients:
            self._clients[connection] = set()
            connection.exit_stack.callback(self._leave, connection)
        return self._clients[connection]

    def _leave(self, connection: Connection) -> None:
        self._clients.pop(connection, None)
        self._watch_if_wanted()

    def _watch_if_wanted(self) -> None:
        if self._listeners or any(self._clients.values()):
            self._watcher.start()
        else:
            self._watcher.stop()

    def _changed_here(self, kind: ChangeKind) -> None:
        """Pass on that the list changed, to clients that are told unasked; a running watcher tells all else."""
        if kind == "models" and self._clients and not self._watcher.running:
            task = asyncio.create_task(self._tell_clients(listed=True, uris=frozenset()))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _tell(self, change: Change) -> None:
        listed = bool(change.installed) or change.reachable is not None
        uris = {STATUS}
        if change.installed or change.loaded:
            uris.add(MODELS)
        for name in change.installed:
            uris |= self._spellings(name)
        if listed:
            await self._bus.publish(ResourcesListChanged())
        for uri in sorted(uris):
            await self._bus.publish(ResourceUpdated(uri=uri))
        await self._tell_clients(listed=listed, uris=frozenset(uris))

    async def _tell_clients(self, *, listed: bool, uris: frozenset[str]) -> None:
        async def tell(client: Connection, subscribed: frozenset[str]) -> None:
            with anyio.move_on_after(SEND_TIMEOUT):
                if listed:
                    await client.send_resource_list_changed()
                for uri in sorted(subscribed & uris):
                    await client.send_resource_updated(uri)

        async with anyio.create_task_group() as tasks:
            for client, subscribed in self._clients.items():
                tasks.start_soon(tell, client, frozenset(subscribed))

    def _spellings(self, name: str) -> set[str]:
        """The URIs by which a client may know a model: with or without `:latest`, by an alias, the colon encoded."""
        names = {name, name.removesuffix(":latest")}
        names |= {alias for alias, target in self._service.settings.aliases.items() if same_model(target, name)}
        return {f"{MODELS}/{quote(each, safe=safe)}" for each in names for safe in (":", "")}
