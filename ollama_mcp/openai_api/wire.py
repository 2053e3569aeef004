"""JSON as it leaves: on one line and in ASCII, so that no proxy or line reader can misread it."""

import json
import secrets
from typing import Any

import orjson
from starlette.responses import Response


def dumps(value: Any) -> bytes:
    """JSON in ASCII."""
    data = orjson.dumps(value)
    if data.isascii():
        return data
    # Read back first: a NaN has become null by then, and would be no JSON otherwise.
    return json.dumps(orjson.loads(data), separators=(",", ":")).encode("ascii")


def new_id(kind: str) -> str:
    """An id such as OpenAI's: what it is of, and chance."""
    return kind + secrets.token_hex(14)


class JSON(Response):
    """A JSON answer."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Encode the content."""
        return dumps(content)
