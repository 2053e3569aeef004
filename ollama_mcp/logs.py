"""Logging: to stderr, one line a record, capped, and never a word of what was asked or answered."""

import logging
import sys

MAX_MESSAGE = 500


class CappedFormatter(logging.Formatter):
    """One line a record of at most 500 characters; a longer one says how much was left out."""

    def format(self, record: logging.LogRecord) -> str:
        """Format, then fold and cap."""
        line = super().format(record).replace("\n", " | ").replace("\r", " ")
        if len(line) <= MAX_MESSAGE:
            return line
        return f"{line[:MAX_MESSAGE]}… ({len(line) - MAX_MESSAGE} characters more)"


def configure(level: str) -> None:
    """Send all logs to stderr; before `MCPServer` is made, which would else install a handler of its own."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(CappedFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    if level != "debug":
        for chatty in ("httpx", "httpcore", "aiohttp", "mcp", "asyncio"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
