"""JSON from outside, read strictly: what two readers could take in two ways is refused."""

import json
from typing import Any

import orjson

from ollama_mcp.errors import InvalidRequest

MAX_DEPTH = 64

_LONG_NUMBER = b"0" * 19
"""2^63 has 19 digits."""
_DIGITS_ONLY = bytes(ord("0") if chr(byte) in "0123456789" else ord(" ") for byte in range(256))
_CONTAINERS = {dict, list}


def loads(raw: bytes) -> Any:
    """The value of a JSON text; `InvalidRequest` for what the standard does not allow or readers disagree on.

    Refused beside bad syntax: NaN and Infinity, invalid UTF-8, a byte order mark, lone surrogates, names that
    occur twice in an object, integers that do not fit in 64 bits with a sign, and more than 64 levels.
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"This is not valid JSON: {error}.") from None
    # Each level needs a bracket, so most texts are known to be shallow without a look at their values.
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and _is_deep(value):
        raise InvalidRequest(f"The JSON is nested deeper than {MAX_DEPTH} levels.")
    if _may_be_ambiguous(raw, value):
        _SLOW.decode(raw.decode())
    return value


def _may_be_ambiguous(raw: bytes, value: Any) -> bool:
    """False if no name occurs twice and no integer is too large; a few passes in C over the bytes.

    orjson keeps the last of two equal names. Written anew the value then lacks the colon of the first, and no
    colon can come in its place, unless one is hidden in an escape.
    """
    if raw.count(b":") != orjson.dumps(value).count(b":"):
        return True
    if b"\\u003" in raw and (b"\\u003a" in raw or b"\\u003A" in raw):
        return True
    return _LONG_NUMBER in raw.translate(_DIGITS_ONLY)


def _object(pairs: list[tuple[str, Any]]) -> None:
    seen = set()
    for name, _ in pairs:
        if name in seen:
            raise InvalidRequest(f"The name {name[:64]!r} occurs twice in one object; keep one of them.")
        seen.add(name)


def _integer(text: str) -> None:
    if not -(2**63) <= int(text) < 2**63:
        raise InvalidRequest(
            f"The integer {text[:24]}{'…' * (len(text) > 24)} does not fit in 64 bits; send it as a string."
        )


_SLOW = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer)
"""Reads again what is suspicious, at a tenth of the speed; only its complaints matter."""


def _is_deep(value: Any) -> bool:
    level = [value] if type(value) in _CONTAINERS else []
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) in _CONTAINERS
        ]
        if not level:
            return False
    return True
