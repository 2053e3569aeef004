"""How often each caller may call, counted in memory or, for several servers together, in Redis."""

import logging
import math
import time
from typing import Any

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError

from ollama_mcp.errors import ConfigurationError

REDIS_SECONDS = 0.5
"""How long one exchange with Redis may take, which every request waits for."""
PAUSE_SECONDS = 5.0
"""How long a Redis that failed is left alone."""

logger = logging.getLogger(__name__)


class RateLimiter:
    """Counts the calls of each caller in a window that moves with time.

    While Redis cannot be reached nothing is counted and every call is let through, with a warning in the log: an
    outage of the counter must not be one of the models, which the queue before the engine still protects.
    """

    def __init__(self, limit: str, redis_url: str | None = None) -> None:
        self._item: RateLimitItem = parse(limit)
        self._storage = MemoryStorage() if redis_url is None else _redis_storage(redis_url)
        self._window = MovingWindowRateLimiter(self._storage)
        self._paused_until = -math.inf

    async def wait_for(self, caller: str) -> int | None:
        """Count a call; the whole seconds after which to try again if it was one too many."""
        if time.monotonic() < self._paused_until:
            return None
        try:
            if await self._window.hit(self._item, caller):
                return None
            stats = await self._window.get_window_stats(self._item, caller)
        except StorageError as error:
            self._paused_until = time.monotonic() + PAUSE_SECONDS
            cause = error.__cause__
            logger.warning(
                "rate limits are off for %g s, since Redis failed with %s", PAUSE_SECONDS, type(cause).__name__
            )
            return None
        return max(1, math.ceil(stats.reset_time - time.time()))

    @property
    def limit(self) -> str:
        """The limit in words."""
        return f"{self._item.amount} requests a {self._item.GRANULARITY.name}"


def _redis_storage(url: str) -> RedisStorage:
    try:
        from redis.asyncio import ConnectionPool
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ImportError as error:
        raise ConfigurationError(
            "OLLAMA_MCP_RATE_LIMIT_STORAGE needs the Redis client: install ollama-mcp[redis]"
        ) from error
    pool: Any = ConnectionPool.from_url(
        url, socket_timeout=REDIS_SECONDS, socket_connect_timeout=REDIS_SECONDS, retry=Retry(NoBackoff(), 1)
    )
    return RedisStorage(
        f"async+{url}",
        wrap_exceptions=True,
        implementation="redispy",
        key_prefix="ollama-mcp",
        connection_pool=pool,
    )
