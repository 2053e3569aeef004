"""How each setting is read from its text.

Every reader raises a `ValueError` that continues a sentence such as "OLLAMA_MCP_PORT ...", and shows no
text that may hold a password.
"""

import ipaddress
import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

DURATION = re.compile(r"-?(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+")
_SECONDS = re.compile(r"-?\d+(\.\d+)?")
_HOST_NAME = re.compile(r"[\w.-]+", re.ASCII)  # a name in other letters has its form in these, xn--...
_HOST_AND_PORT = re.compile(r"(\[[^\]]*\]|[^:]*)(?::([^:]*))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_DAY = 86400.0
_SWITCH = dict.fromkeys(("true", "1", "yes", "on"), True) | dict.fromkeys(("false", "0", "no", "off"), False)


def ollama_host(text: str) -> str:
    """OLLAMA_HOST as Ollama itself reads it, as a URL that a client can connect to.

    Two differences: a bad port is a `ValueError` where Ollama takes its default with a warning, and the
    addresses that mean "every interface" to a server become loopback ones.
    """
    text = text.strip().strip("\"'").strip()
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "http", text
    scheme = scheme.lower()
    authority, _, path = rest.partition("/")
    if "@" in authority:
        raise ValueError("must not hold a user name or password; use OLLAMA_API_KEY for a key")
    if scheme not in _DEFAULT_PORTS:
        raise ValueError(f"must begin with http:// or https://, not {scheme}://")
    if re.search(r"[\s?#]", path):
        raise ValueError(f"must be an address such as http://127.0.0.1:11434, not {text!r}")
    if separator:
        default_port = _DEFAULT_PORTS[scheme]
    elif authority == "ollama.com":
        scheme, default_port = "https", 443
    else:
        default_port = 11434
    host, port = _split_authority(authority, default_port)
    path = path.rstrip("/")
    return f"{scheme}://{host}:{port}" + (f"/{path}" if path else "")


def _split_authority(text: str, default_port: int) -> tuple[str, int]:
    match = _HOST_AND_PORT.fullmatch(text)
    host, port = (match[1], match[2]) if match else (text, None)
    if port is None:
        port = str(default_port)
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"must have a port from 1 to 65535, not {port!r}")
    host = host.strip("[]") or "127.0.0.1"
    if ":" not in host:
        if not _HOST_NAME.fullmatch(host):
            raise ValueError(f"must name a host, not {host!r}")
        return "127.0.0.1" if host == "0.0.0.0" else host, int(port)  # noqa: S104 - not bound, replaced
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        raise ValueError(f"must name a host, not {host!r}") from None
    if address.scope_id is not None:
        raise ValueError(f"must be an address without a zone, not {host!r}")
    return "[::1]" if address.is_unspecified else f"[{address}]", int(port)


def url(text: str) -> str:
    """The address of an API, as it stands but for a slash at its end."""
    if "@" in text.partition("://")[2].partition("/")[0]:
        raise ValueError("must not hold a user name or password; use OLLAMA_MCP_API_KEY_UPSTREAM for a key")
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - reading it checks it
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or re.search(r"[\s?#]", text):
        raise ValueError(f"must be a URL such as http://127.0.0.1:8000/v1, not {text!r}")
    return text.rstrip("/")


def origins(text: str) -> tuple[str, ...]:
    """Web origins, separated by commas."""
    return tuple(_origin(part) for part in text.split(",") if part.strip())


def _origin(text: str) -> str:
    """An origin in the spelling that a browser sends, to be compared as it stands."""
    text = text.strip().rstrip("/").lower()
    if "*" in text:
        raise ValueError("must list each origin; * would let every web page use the models")
    scheme, separator, authority = text.partition("://")
    if not (separator and scheme and authority) or re.search(r"[\s/?#@]", authority):
        raise ValueError(f"must hold origins such as http://localhost:3000, not {text!r}")
    return f"{scheme}://{authority.removesuffix(f':{_DEFAULT_PORTS.get(scheme)}')}"


def bind_host(text: str) -> str:
    """An address or a host name to listen on, without the brackets an IPv6 address may come in."""
    host = text.removeprefix("[").removesuffix("]")
    if not re.fullmatch(r"[\w.:%-]+", host):
        raise ValueError(f"must be an address or a host name alone, not {text!r}")
    return host


def file(text: str) -> Path:
    """The path of a file that is there."""
    path = Path(text).expanduser()
    if not path.is_file():
        raise ValueError(f"names a file that is not there: {text}")
    return path


def directories(text: str) -> tuple[Path, ...]:
    """The real paths of directories that are there, separated as in PATH."""
    found = []
    for part in filter(None, text.split(os.pathsep)):
        path = Path(part).expanduser()
        if not path.is_dir():
            raise ValueError(f"names a directory that is not there: {part}")
        found.append(path.resolve())
    return tuple(found)


def state_directory(text: str) -> Path:
    """The path of a directory, which need not be there yet."""
    path = Path(text).expanduser()
    if path.exists() and not path.is_dir():
        raise ValueError(f"names what is not a directory: {text}")
    return path


def switch(text: str) -> bool:
    """Whether something is on."""
    word = text.lower()
    if word not in _SWITCH:
        raise ValueError(f"must be true or false, not {text!r}")
    return _SWITCH[word]


def secret(text: str) -> str:
    """A key that an HTTP header can carry."""
    if not re.fullmatch(r"[!-~]+", text):
        raise ValueError("must be a key of printable ASCII without spaces")
    return text


def secrets_in_file(text: str) -> tuple[str, ...]:
    """The keys in a file, one on each line."""
    try:
        lines = file(text).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"names a file that cannot be read: {text}: {error}") from error
    keys = tuple(secret(line.strip()) for line in lines if line.strip())
    if not keys:
        raise ValueError(f"names a file that holds no key: {text}")
    return keys


def rate_limit(text: str) -> str:
    """So many requests in so long."""
    count, _, unit = text.replace(" ", "").lower().partition("/")
    if not re.fullmatch(r"[1-9][0-9]{0,8}", count) or unit not in ("second", "minute", "hour", "day"):
        raise ValueError(f"must be a number for a second, minute, hour or day, such as 60/minute, not {text!r}")
    return f"{count}/{unit}"


def redis_url(text: str) -> str:
    """The address of a Redis, which may hold its password."""
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - reading it checks it
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("redis", "rediss") or not parts.hostname or re.search(r"\s", text):
        raise ValueError("must be an address such as redis://localhost:6379")
    return text


def keep_alive(text: str) -> str:
    """A Go duration; a bare number is given its unit, without which Ollama would refuse it."""
    if _SECONDS.fullmatch(text):
        return text + "s"
    if not DURATION.fullmatch(text):
        raise ValueError(f'must be seconds, or a duration such as "5m", "1h30m" or "-1m", not {text!r}')
    return text


def aliases(text: str) -> Mapping[str, str]:
    """Alias to model, from `alias=model` pairs separated by commas."""
    models: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        alias, _, model = (part.strip() for part in pair.partition("="))
        if not alias or not model:
            raise ValueError(f"must be pairs such as gpt-4o-mini=llama3.2, not {pair!r}")
        if alias in models:
            raise ValueError(f"names the alias {alias!r} twice")
        models[alias] = model
    return MappingProxyType(models)


def one_of(*choices: str) -> Callable[[str], str]:
    """A reader of one of some words, in any case."""

    def parse(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}, not {text!r}")
        return text.lower()

    return parse


def whole(low: int, high: int) -> Callable[[str], int]:
    """A reader of whole numbers in a range, both ends included."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", text) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}, not {text!r}")
        return int(text)

    return parse


def seconds(low: float) -> Callable[[str], float]:
    """A reader of seconds from `low` to a day."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= _DAY:  # also refuses NaN
            raise ValueError(f"must be seconds from {low:g} to {_DAY:g}, not {text!r}")
        return value

    return parse
