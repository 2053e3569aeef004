"""One frozen `Settings`, read from flags, the environment and a `.env` file, in that order.

`SETTINGS` is the only list of what can be set: `.env.example` and the README's table are checked against
it. Only the standard library is imported, since this runs before anything heavy.
"""

import difflib
import ipaddress
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_args

from ollama_mcp import setting_values as values
from ollama_mcp.errors import ConfigurationError

EngineName = Literal["ollama", "openai", "embedded"]
Protocol = Literal["auto", "legacy"]
LogFormat = Literal["text", "json"]
PREFIX = "OLLAMA_MCP_"
MIN_KEY_LENGTH = 32

_LOG_LEVELS = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set; see `SETTINGS` for what each means. Times are in seconds."""

    engine: EngineName = "ollama"
    ollama_host: str = "http://127.0.0.1:11434"
    ollama_api_key: str | None = field(default=None, repr=False)
    base_url: str | None = None
    upstream_api_key: str | None = field(default=None, repr=False)
    model_file: Path | None = None
    default_model: str | None = None
    num_ctx: int | None = None
    max_num_ctx: int = 32768
    keep_alive: str | None = None
    first_token_timeout: float = 330.0
    idle_timeout: float = 60.0
    total_timeout: float = 1800.0
    query_timeout: float = 30.0
    soft_deadline: float = 50.0
    heartbeat: float = 10.0
    max_concurrency: int | None = None
    max_queue: int = 128
    queue_timeout: float = 60.0
    max_jobs: int = 8
    state_dir: Path | None = None
    watch_interval: float = 5.0
    protocol: Protocol = "auto"
    aliases: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    allow_dirs: tuple[Path, ...] = ()
    allow_pull: bool = False
    allow_delete: bool = False
    host: str = "127.0.0.1"
    port: int = 4891
    max_sessions: int = 256
    session_idle_timeout: float = 1800.0
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    cors_origins: tuple[str, ...] = ()
    rate_limit: str | None = None
    rate_limit_storage: str | None = field(default=None, repr=False)
    log_level: str = "warning"
    log_format: LogFormat = "text"


class Setting(NamedTuple):
    """One thing that can be set, and how.

    `environment` holds its variables, the first that is set wins; `parse` raises a `ValueError` that
    continues the sentence "OLLAMA_MCP_X ...".
    """

    field: str
    environment: tuple[str, ...]
    parse: Callable[[str], object]
    description: str

    @property
    def flag(self) -> str:
        """The flag of the command line; not every setting is offered there, keys never are."""
        return "--allow-dir" if self.field == "allow_dirs" else "--" + self.field.replace("_", "-")


def parse_ollama_host(text: str) -> str:
    """OLLAMA_HOST in any spelling that Ollama itself reads, as a full URL; `ConfigurationError` if it is bad."""
    try:
        return values.ollama_host(text)
    except ValueError as error:
        raise ConfigurationError(f"The address of Ollama {error}") from error


_context = values.whole(256, 2**24)

SETTINGS: tuple[Setting, ...] = (
    Setting(
        "engine",
        (PREFIX + "ENGINE",),
        values.one_of(*get_args(EngineName)),
        "What runs the models: ollama, openai (any OpenAI-compatible server) or embedded (llama.cpp inside).",
    ),
    Setting(
        "ollama_host",
        (PREFIX + "OLLAMA_HOST", "OLLAMA_HOST", "OLLAMA_BASE_URL"),
        values.ollama_host,
        "Where Ollama is.",
    ),
    Setting(
        "ollama_api_key",
        (PREFIX + "OLLAMA_API_KEY", "OLLAMA_API_KEY"),
        values.secret,
        "The key that Ollama wants; a local Ollama wants none.",
    ),
    Setting(
        "base_url",
        (PREFIX + "BASE_URL",),
        values.url,
        "Where the OpenAI-compatible server is, such as http://127.0.0.1:8000/v1; needs the engine openai.",
    ),
    Setting(
        "upstream_api_key",
        (PREFIX + "API_KEY_UPSTREAM",),
        values.secret,
        "The key that the OpenAI-compatible server wants.",
    ),
    Setting(
        "model_file",
        (PREFIX + "MODEL_FILE",),
        values.file,
        "A GGUF file to run in place of the model that comes along; needs the engine embedded.",
    ),
    Setting(
        "default_model",
        (PREFIX + "MODEL",),
        str,
        "The model for requests that name none; unset, one that is loaded, else the newest.",
    ),
    Setting(
        "num_ctx",
        (PREFIX + "NUM_CTX",),
        _context,
        "A fixed context length for every model, in tokens.",
    ),
    Setting(
        "max_num_ctx",
        (PREFIX + "MAX_NUM_CTX",),
        _context,
        "How far the context may grow to hold a long prompt, in tokens.",
    ),
    Setting(
        "keep_alive",
        (PREFIX + "KEEP_ALIVE",),
        values.keep_alive,
        'How long a model stays loaded when idle: seconds, or a duration such as "30m"; "-1" is for ever.',
    ),
    Setting(
        "first_token_timeout",
        (PREFIX + "FIRST_TOKEN_TIMEOUT",),
        values.seconds(0.1),
        "How many seconds the first piece of an answer may take, loading the model included.",
    ),
    Setting(
        "idle_timeout",
        (PREFIX + "IDLE_TIMEOUT",),
        values.seconds(0.1),
        "How many seconds may pass between two pieces of an answer.",
    ),
    Setting(
        "total_timeout",
        (PREFIX + "TOTAL_TIMEOUT",),
        values.seconds(0.1),
        "How many seconds a whole answer may take.",
    ),
    Setting(
        "query_timeout",
        (PREFIX + "QUERY_TIMEOUT",),
        values.seconds(0.1),
        "How many seconds an MCP call may take that only asks the engine something, such as list_models.",
    ),
    Setting(
        "soft_deadline",
        (PREFIX + "SOFT_DEADLINE",),
        values.seconds(0),
        "After how many seconds an MCP call returns the text it has, if the client takes no progress; 0 is never.",
    ),
    Setting(
        "heartbeat",
        (PREFIX + "HEARTBEAT",),
        values.seconds(0.1),
        "Every how many seconds a waiting client is told that its request is still under way.",
    ),
    Setting(
        "watch_interval",
        (PREFIX + "WATCH_INTERVAL",),
        values.seconds(0.1),
        "Every how many seconds the engine's models are looked at, while an MCP client is subscribed to changes.",
    ),
    Setting(
        "protocol",
        (PREFIX + "PROTOCOL",),
        values.one_of(*get_args(Protocol)),
        "Which MCP is spoken over stdio: auto, or legacy for clients that mix its eras (error -32022).",
    ),
    Setting(
        "max_concurrency",
        (PREFIX + "MAX_CONCURRENCY",),
        values.whole(1, 100_000),
        "How many requests the engine is given at once; unset, 256 for the engine openai and 16 for the others.",
    ),
    Setting(
        "max_queue",
        (PREFIX + "MAX_QUEUE",),
        values.whole(0, 100_000),
        "How many more may wait for that; the next is refused at once (HTTP 429).",
    ),
    Setting(
        "queue_timeout",
        (PREFIX + "QUEUE_TIMEOUT",),
        values.seconds(0),
        "How many seconds they may wait before they are refused (HTTP 503).",
    ),
    Setting(
        "max_jobs",
        (PREFIX + "MAX_JOBS",),
        values.whole(1, 10_000),
        "How many answers may go on as jobs at once.",
    ),
    Setting(
        "state_dir",
        (PREFIX + "STATE_DIR",),
        values.state_directory,
        "A directory in which jobs and their answers are kept across restarts; unset, they are kept in memory.",
    ),
    Setting(
        "aliases",
        (PREFIX + "ALIASES",),
        values.aliases,
        "Other names for models, such as gpt-4o-mini=llama3.2,gpt-4o=qwen3:8b.",
    ),
    Setting(
        "allow_dirs",
        (PREFIX + "ALLOW_DIRS",),
        values.directories,
        "The directories whose files a model may be given by MCP tools, separated as in PATH; no others are read.",
    ),
    Setting(
        "allow_pull",
        (PREFIX + "ALLOW_PULL",),
        values.switch,
        "Whether MCP clients may download models: true or false.",
    ),
    Setting(
        "allow_delete",
        (PREFIX + "ALLOW_DELETE",),
        values.switch,
        "Whether MCP clients may delete models: true or false.",
    ),
    Setting(
        "host",
        (PREFIX + "HOST",),
        values.bind_host,
        f"The address the HTTP server listens on; beyond this machine it needs a key of {MIN_KEY_LENGTH} characters.",
    ),
    Setting(
        "port",
        (PREFIX + "PORT", "MCP_SERVER_PORT", "PORT"),
        values.whole(0, 65535),
        "The port the HTTP server listens on; 0 is any free one.",
    ),
    Setting(
        "max_sessions",
        (PREFIX + "MAX_SESSIONS",),
        values.whole(1, 100_000),
        "How many MCP sessions of the handshake era the HTTP server holds at once.",
    ),
    Setting(
        "session_idle_timeout",
        (PREFIX + "SESSION_IDLE_TIMEOUT",),
        values.seconds(0.1),
        "After how many seconds without a request such a session ends.",
    ),
    Setting(
        "api_keys",
        (PREFIX + "API_KEY",),
        lambda text: (values.secret(text),),
        "The key that callers of the HTTP server must send.",
    ),
    Setting(
        "api_keys",
        (PREFIX + "API_KEY_FILE",),
        values.secrets_in_file,
        "A file of such keys, one on each line; in place of the single key.",
    ),
    Setting(
        "cors_origins",
        (PREFIX + "CORS_ORIGINS",),
        values.origins,
        "The web origins that may call the HTTP server from a browser, such as http://localhost:3000.",
    ),
    Setting(
        "rate_limit",
        (PREFIX + "RATE_LIMIT",),
        values.rate_limit,
        "How often each key, or each address where there are no keys, may call /v1 and /mcp, such as 60/minute.",
    ),
    Setting(
        "rate_limit_storage",
        (PREFIX + "RATE_LIMIT_STORAGE",),
        values.redis_url,
        "A Redis to count in for several servers together, such as redis://localhost:6379; unset, memory.",
    ),
    Setting(
        "log_level",
        (PREFIX + "LOG_LEVEL",),
        values.one_of(*_LOG_LEVELS),
        f"How much is logged to standard error: {', '.join(_LOG_LEVELS)}.",
    ),
    Setting(
        "log_format",
        (PREFIX + "LOG_FORMAT",),
        values.one_of(*get_args(LogFormat)),
        "How: text, or json for an object on each line.",
    ),
)

_SECRET_FIELDS = {"ollama_api_key", "upstream_api_key", "api_keys", "rate_limit_storage"}


class _Found(NamedTuple):
    value: Any
    source: str  # the flag or the variable, for messages
    rank: int  # 0 for a flag, 1 for the environment, 2 for .env


def load(flags: Mapping[str, object], environ: Mapping[str, str], directory: Path) -> Settings:
    """The settings; `ConfigurationError` if a value is bad or two of them contradict each other.

    `flags` are by field name, None where not given; other names, and keys, are not taken from it. A list
    holds the paths of a flag that may be given several times.
    """
    given = {
        setting.flag: os.pathsep.join(value) if isinstance(value, list) else str(value)
        for setting in SETTINGS
        if setting.field not in _SECRET_FIELDS and (value := flags.get(setting.field)) is not None
    }
    dotenv = _read_dotenv(directory / ".env")
    found: dict[str, _Found] = {}
    for rank, (texts, place) in enumerate(((given, ""), (environ, ""), (dotenv, " in .env"))):
        _refuse_unknown(texts, place)
        for setting in SETTINGS:
            _look_up(setting, texts, place, rank, found)
    _refuse_contradictions(found)
    return Settings(**{name: item.value for name, item in found.items()})


def _read_dotenv(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    from dotenv import dotenv_values

    try:
        # utf-8-sig: editors on Windows may put a byte order mark before the first name.
        texts = dotenv_values(path, encoding="utf-8-sig", interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    # A PORT in the .env of somebody else's project is not meant for this server.
    return {name: value or "" for name, value in texts.items() if name.startswith("OLLAMA")}


def _refuse_unknown(texts: Mapping[str, str], place: str) -> None:
    known = [name for setting in SETTINGS for name in setting.environment]
    for name in texts:
        if name.startswith(PREFIX) and name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else "; the README lists the ones there are"
            raise ConfigurationError(f"{name}{place} is not a setting{hint}")


def _look_up(setting: Setting, texts: Mapping[str, str], place: str, rank: int, found: dict[str, _Found]) -> None:
    name = next((n for n in (setting.flag, *setting.environment) if texts.get(n, "").strip()), None)
    if name is None:
        return
    if (earlier := found.get(setting.field)) is not None:
        if earlier.rank == rank:
            raise ConfigurationError(f"{earlier.source} and {name}{place} are both set; keep one of them")
        return
    try:
        value = setting.parse(texts[name].strip())
    except ValueError as error:
        raise ConfigurationError(f"{name}{place} {error}") from error
    found[setting.field] = _Found(value, name + place, rank)


_UNSET = _Found(None, "", 3)


def _refuse_contradictions(found: Mapping[str, _Found]) -> None:
    engine = found.get("engine", _Found(Settings().engine, "", _UNSET.rank))
    for name, owner in (("base_url", "openai"), ("model_file", "embedded"), ("ollama_host", "ollama")):
        item = found.get(name, _UNSET)
        # What ranks below the choice of the engine is overridden with it, and OLLAMA_HOST is there for
        # other programs too.
        unused = item.rank > engine.rank or (name == "ollama_host" and item.rank > 0)
        if item is not _UNSET and engine.value != owner and not unused:
            chosen = f", but {engine.source} chose {engine.value}" if engine.source else ""
            raise ConfigurationError(f"{item.source} needs {_engine_words(item, owner)}{chosen}")
    if engine.value == "openai" and "base_url" not in found:
        raise ConfigurationError(
            f"{engine.source} openai needs the server's address: set --base-url or {PREFIX}BASE_URL"
        )
    num_ctx, cap = found.get("num_ctx", _UNSET), found.get("max_num_ctx", _UNSET)
    if num_ctx is not _UNSET and cap is not _UNSET and num_ctx.value > cap.value:
        raise ConfigurationError(
            f"{num_ctx.source} is {num_ctx.value}, above the {cap.value} that {cap.source} allows"
        )
    if "rate_limit_storage" in found and "rate_limit" not in found:
        raise ConfigurationError(
            f"{found['rate_limit_storage'].source} is there to count in, but no limit is set: set {PREFIX}RATE_LIMIT"
        )


def _engine_words(item: _Found, owner: str) -> str:
    return f"--engine {owner}" if item.rank == 0 else f"{PREFIX}ENGINE={owner}"


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_bind(settings: Settings) -> None:
    """Refuse to listen beyond this machine without keys that cannot be guessed."""
    if is_loopback(settings.host):
        return
    if not settings.api_keys or min(map(len, settings.api_keys)) < MIN_KEY_LENGTH:
        raise ConfigurationError(
            f"Listening on {settings.host} opens the models to other machines: set {PREFIX}API_KEY or "
            f"{PREFIX}API_KEY_FILE to keys of at least {MIN_KEY_LENGTH} characters, or use --host 127.0.0.1"
        )
