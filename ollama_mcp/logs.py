"""Logging: to stderr, one line a record, capped, and never a word of what was asked or answered."""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from types import TracebackType

from ollama_mcp import request_id
from ollama_mcp.settings import LogFormat

MAX_MESSAGE = 500
FOREIGN_LEVEL = logging.WARNING
"""Below it, other packages write whole messages."""

_OURS = "ollama_mcp"


class CappedFormatter(logging.Formatter):
    """One line a record of at most 500 characters; a longer one says how much was left out.

    Of an error its type and place are told and not its message, which may quote what a user wrote; of what
    other packages log there is the first line alone, for the same reason.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Name the time, the level, the logger and the request, then what happened."""
        moment = self.formatTime(record)
        within = f" [{current}]" if (current := request_id.current()) else ""
        return _capped(f"{moment} {record.levelname} {record.name}{within}: {_message(record)}")


class JSONFormatter(logging.Formatter):
    """The same as an object of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Name the same things."""
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "request_id": request_id.current(),
            "message": _capped(_message(record)),
        }
        return json.dumps({name: value for name, value in told.items() if value is not None})


def _message(record: logging.LogRecord) -> str:
    text = record.getMessage()
    if not record.name.startswith(_OURS):
        text = text.partition("\n")[0]
    if record.exc_info and (error := record.exc_info[1]) is not None:
        text += f" | {type(error).__name__} at {_places(error.__traceback__)}"
    return text


def _places(trace: TracebackType | None) -> str:
    frames = traceback.extract_tb(trace)[-4:]
    return " < ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in reversed(frames))


def _capped(text: str) -> str:
    line = text.replace("\n", " | ").replace("\r", " ")
    if len(line) <= MAX_MESSAGE:
        return line
    return f"{line[:MAX_MESSAGE]}… ({len(line) - MAX_MESSAGE} characters more)"


def configure(level: str, form: LogFormat = "text") -> None:
    """Send all logs to stderr; before `MCPServer` is made, which would else install a handler of its own."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JSONFormatter() if form == "json" else CappedFormatter())
    logging.basicConfig(level=max(FOREIGN_LEVEL, logging.getLevelName(level.upper())), handlers=[handler], force=True)
    logging.getLogger(_OURS).setLevel(level.upper())
