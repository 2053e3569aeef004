"""A small Ollama on a loopback port that does what a script says; without one it answers like the real thing.

    async with FakeOllama() as fake:                  # or: with FakeOllama.in_thread() as fake:
        fake.chat_script = [stream(line("Hel"), gate, line("lo"), last())]
        ...
        await fake.wait_disconnected()                # or: fake.wait_disconnected_sync()

A responder is an `async (Exchange) -> None`. `fake.chat_script` holds responders for the next calls of
/api/chat, one each; `fake.on(path, responder)` answers every call of a path. Tokens are words.
"""

import asyncio
import concurrent.futures
import hashlib
import json
import math
import re
import socket
import struct
import threading
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

WITHIN = 5.0
"""How long, in seconds, the waits below wait before they fail."""

NOW = "2026-01-02T03:04:05.678901234Z"
MILLISECOND = 1_000_000
VERSION = "0.33.0"


class Gate:
    """A point at which an answer pauses until a test opens it, from whichever thread."""

    def __init__(self) -> None:
        self._future: concurrent.futures.Future[None] = concurrent.futures.Future()

    def open(self) -> None:
        if not self._future.done():
            self._future.set_result(None)

    @property
    def is_open(self) -> bool:
        return self._future.done()

    async def wait(self, within: float | None = WITHIN) -> None:
        await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._future)), within)

    def wait_sync(self, within: float = WITHIN) -> None:
        self._future.result(within)


class _Counters:
    """Counts what happens, by name; `gate` is open once a name has happened that often."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._gates: defaultdict[tuple[str, int], Gate] = defaultdict(Gate)

    def add(self, name: str) -> None:
        with self._lock:
            self._counts[name] += 1
            self._gates[name, self._counts[name]].open()

    def count(self, name: str) -> int:
        return self._counts[name]

    def gate(self, name: str, count: int) -> Gate:
        with self._lock:
            return self._gates[name, count]


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    raw: bytes
    body: Any
    """The body as JSON, or None."""


class _CloseConnection(Exception):
    pass


class _Connection(asyncio.StreamReaderProtocol):
    """Tells when the client has left, without reading ahead of it."""

    def __init__(self, serve: Callable[..., Awaitable[None]]) -> None:
        super().__init__(asyncio.StreamReader(), lambda reader, writer: serve(reader, writer, self.left))
        self.left = asyncio.Event()

    def eof_received(self) -> bool | None:
        self.left.set()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.left.set()
        super().connection_lost(exc)


class Exchange:
    """One request, and the means to answer it in any way; nothing is sent unasked."""

    def __init__(
        self, fake: "FakeOllama", request: Request, writer: asyncio.StreamWriter, *, reused: bool = False
    ) -> None:
        self.fake = fake
        self.request = request
        self.reused = reused
        """Whether the connection has served a request before."""
        self._writer = writer

    async def raw(self, data: bytes) -> None:
        """Bytes onto the wire, as they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def head(self, status: int = 200, headers: dict[str, str] | None = None) -> None:
        """The status line and the headers; by default of a chunked answer."""
        fields = headers or {"Content-Type": "application/x-ndjson", "Transfer-Encoding": "chunked"}
        lines = [f"HTTP/1.1 {status} Scripted", *(f"{name}: {value}" for name, value in fields.items())]
        await self.raw("\r\n".join(lines).encode() + b"\r\n\r\n")

    async def chunk(self, data: bytes) -> None:
        """One chunk of a chunked answer; an empty one ends it."""
        await self.raw(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    async def whole(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        """A whole answer."""
        fields = {"Content-Type": "application/json", **(headers or {}), "Content-Length": str(len(body))}
        await self.head(status, fields)
        await self.raw(body)

    async def json(self, body: Any, status: int = 200) -> None:
        await self.whole(status, json.dumps(body).encode())

    async def error(self, status: int, message: str) -> None:
        """A failure in Ollama's form."""
        await self.json({"error": message}, status)

    async def default(self) -> None:
        """Answer as without a script."""
        await _ROUTES.get(self.request.path, _no_such_page)(self)

    async def close(self) -> None:
        """Hang up as things stand."""
        raise _CloseConnection

    async def reset(self) -> None:
        """Hang up with a RST."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise _CloseConnection

    async def hang(self) -> None:
        """Say nothing more, for ever."""
        await asyncio.Event().wait()


Responder = Callable[[Exchange], Awaitable[None]]
CLOSE, RESET, HANG = "close", "reset", "hang"
"""Steps of a `stream` that end it badly."""


def stream(*steps: "dict[str, Any] | bytes | Gate | str", headers: dict[str, str] | None = None) -> Responder:
    """A streamed answer: dicts become lines, bytes go as they are, a Gate pauses. Ends well after the last step."""

    async def respond(exchange: Exchange) -> None:
        fields = {"Content-Type": "application/x-ndjson", "Transfer-Encoding": "chunked", **(headers or {})}
        await exchange.head(200, fields)
        for step in steps:
            if isinstance(step, dict):
                await exchange.chunk(json.dumps(step, ensure_ascii=False).encode() + b"\n")
            elif isinstance(step, bytes):
                await exchange.chunk(step)
            elif isinstance(step, Gate):
                await step.wait(within=None)
            else:
                await {CLOSE: exchange.close, RESET: exchange.reset, HANG: exchange.hang}[step]()
        await exchange.chunk(b"")

    return respond


def answer(status: int, body: Any, headers: dict[str, str] | None = None) -> Responder:
    """A whole answer; bytes and text go as they are, anything else as JSON."""
    data = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()

    async def respond(exchange: Exchange) -> None:
        await exchange.whole(status, data, headers)

    return respond


def failure(status: int, message: str) -> Responder:
    """A failure in Ollama's form."""
    return answer(status, {"error": message})


async def hang(exchange: Exchange) -> None:
    """Never answer."""
    await exchange.hang()


async def reset(exchange: Exchange) -> None:
    """Reset the connection instead of answering."""
    await exchange.reset()


async def close(exchange: Exchange) -> None:
    """Close the connection instead of answering."""
    await exchange.close()


def line(content: str = "", *, model: str = "llama3.2:latest", **more: Any) -> dict[str, Any]:
    """A line of a chat; `thinking` and `tool_calls` go into the message, anything else beside it."""
    message = {"role": "assistant", "content": content}
    message |= {name: more.pop(name) for name in ("thinking", "tool_calls") if name in more}
    return {"model": model, "created_at": NOW, "message": message, "done": False, **more}


def last(
    content: str = "", *, reason: str = "stop", prompt: int = 11, tokens: int = 7, **more: Any
) -> dict[str, Any]:
    """The last line of a chat."""
    counts = {
        "total_duration": 500 * MILLISECOND,
        "load_duration": 100 * MILLISECOND,
        "prompt_eval_count": prompt,
        "prompt_eval_duration": 150 * MILLISECOND,
        "eval_count": tokens,
        "eval_duration": 250 * MILLISECOND,
    }
    return line(content, **more) | {"done": True, "done_reason": reason} | counts


def says(text: str, **more: Any) -> Responder:
    """An ordinary answer with this text, a word a line."""
    words = _tokens(text)
    return stream(*(line(word) for word in words), last(tokens=len(words), **more))


@dataclass
class FakeModel:
    family: str = "llama"
    parameter_size: str = "3.2B"
    context_length: int = 131072
    capabilities: tuple[str, ...] = ("completion", "tools")
    parameters: str = 'stop                           "<|eot_id|>"'
    modified_at: str = NOW
    embedding_length: int = 64

    @property
    def details(self) -> dict[str, Any]:
        return {
            "parent_model": "",
            "format": "gguf",
            "family": self.family,
            "families": [self.family],
            "parameter_size": self.parameter_size,
            "quantization_level": "Q4_K_M",
        }


def small_ollama() -> dict[str, FakeModel]:
    return {
        "llama3.2:latest": FakeModel(modified_at="2026-01-04T00:00:00Z"),
        "qwen3:8b": FakeModel(
            "qwen3", "8.2B", 40960, ("completion", "tools", "thinking"), modified_at="2026-01-03T00:00:00Z"
        ),
        "llava:7b": FakeModel("llama", "7.2B", 32768, ("completion", "vision"), modified_at="2026-01-02T00:00:00Z"),
        "nomic-embed-text:latest": FakeModel(
            "nomic-bert", "137M", 2048, ("embedding",), "num_ctx                        8192", "2026-01-01T00:00:00Z"
        ),
    }


@dataclass
class FakeOllama:
    port: int = 0
    models: dict[str, FakeModel] = field(default_factory=small_ollama)
    loaded: dict[str, int] = field(default_factory=dict)
    """The loaded models, each with its num_ctx."""
    default_num_ctx: int = 4096
    cuts_silently: bool = False
    """Whether `truncate` is not heeded, as by old servers."""
    chat_script: list[Responder] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    """How many connections have been accepted."""
    mistakes: list[Exception] = field(default_factory=list)
    """What responders raised, other than by hanging up; the first is raised when the server has stopped."""

    def __post_init__(self) -> None:
        self._counters = _Counters()
        self._responders: dict[str, Responder] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    # Life

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self._serve), "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, *_: object) -> None:
        await self.stop()
        self._tell_mistakes(error)

    async def stop(self) -> None:
        """Close every connection and listen no more; `async with` can start it again on the same port."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @classmethod
    @contextmanager
    def in_thread(cls, **settings: Any) -> "Iterator[FakeOllama]":
        """The same in a thread of its own, for tests that are not asynchronous or drive processes."""
        fake = cls(**settings)
        started, stop = Gate(), Gate()

        async def run() -> None:
            await fake.__aenter__()
            started.open()
            await stop.wait(within=None)
            await fake.stop()

        thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
        thread.start()
        try:
            started.wait_sync()
            yield fake
        except BaseException as error:
            fake._tell_mistakes(error)
            raise
        finally:
            stop.open()
            thread.join(WITHIN)
        fake._tell_mistakes(None)

    def _tell_mistakes(self, error: BaseException | None) -> None:
        if error is not None:
            for mistake in self.mistakes:
                error.add_note(f"A responder of the fake Ollama failed: {mistake!r}")
        elif self.mistakes:
            raise self.mistakes[0]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # What a test says and asks

    def on(self, path: str, responder: Responder) -> None:
        """Answer every call of a path so."""
        self._responders[path] = responder

    def sent(self, path: str) -> list[Any]:
        """The JSON bodies received at a path."""
        return [request.body for request in self.requests if request.path == path]

    @property
    def disconnects(self) -> int:
        """How often a client has left before its answer was complete."""
        return self._counters.count("disconnect")

    async def wait_disconnected(self, count: int = 1, within: float = WITHIN) -> None:
        await self._counters.gate("disconnect", count).wait(within)

    def wait_disconnected_sync(self, count: int = 1, within: float = WITHIN) -> None:
        self._counters.gate("disconnect", count).wait_sync(within)

    async def wait_request(self, path: str, count: int = 1, within: float = WITHIN) -> None:
        await self._counters.gate(path, count).wait(within)

    def wait_request_sync(self, path: str, count: int = 1, within: float = WITHIN) -> None:
        self._counters.gate(path, count).wait_sync(within)

    # HTTP

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: asyncio.Event) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        reused = False
        try:
            while (request := await _read_request(reader)) is not None:
                self.requests.append(request)
                self._counters.add(request.path)
                if not await self._respond(Exchange(self, request, writer, reused=reused), left):
                    break
                reused = True
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client is gone, or the test is over
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _respond(self, exchange: Exchange, left: asyncio.Event) -> bool:
        """Answer, unless the client leaves first; whether the connection can serve another request."""
        answering = asyncio.create_task(self._answer(exchange))
        leaving = asyncio.create_task(left.wait())
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                self._counters.add("disconnect")
                return False
            await answering
        except _CloseConnection:
            return False
        except ConnectionError:
            self._counters.add("disconnect")
            return False
        except Exception as error:  # noqa: BLE001 - kept, and raised when the server stops
            self.mistakes.append(error)
            return False
        else:
            return True
        finally:
            for task in (answering, leaving):
                task.cancel()
            await asyncio.gather(answering, leaving, return_exceptions=True)

    async def _answer(self, exchange: Exchange) -> None:
        path = exchange.request.path
        if path == "/api/chat" and self.chat_script:
            await self.chat_script.pop(0)(exchange)
        elif responder := self._responders.get(path):
            await responder(exchange)
        else:
            await exchange.default()

    # What the routes share

    def find(self, name: str) -> str | None:
        """The full name of an installed model; `latest` may be left out, and case does not matter."""
        full = _full_name(name).lower()
        return next((known for known in self.models if known.lower() == full), None)

    async def model_of(self, exchange: Exchange) -> tuple[str, FakeModel] | None:
        """The model that a request names, loaded with the context it asks for; None once a 404 is sent."""
        body = exchange.request.body
        name = self.find(body.get("model", ""))
        if name is None:
            await exchange.error(404, f"model '{body.get('model', '')}' not found")
            return None
        asked = (body.get("options") or {}).get("num_ctx") or self.loaded.get(name, self.default_num_ctx)
        self.loaded[name] = min(asked, self.models[name].context_length)
        return name, self.models[name]


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode().rstrip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in lines)}
    raw = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, path.partition("?")[0], headers, raw, json.loads(raw) if raw else None)


def _full_name(name: str) -> str:
    return name if ":" in name.rsplit("/", 1)[-1] else f"{name}:latest"


def _tokens(text: str) -> list[str]:
    """Words, each with the space before it."""
    return re.findall(r"\s*\S+", text)


def _sample(schema: dict[str, Any], root: dict[str, Any] | None = None) -> Any:
    """The plainest value that a JSON schema allows."""
    root = root or schema
    if ref := schema.get("$ref"):
        found: Any = root
        for key in ref.removeprefix("#/").split("/"):
            found = found[int(key)] if isinstance(found, list) else found[key]
        return _sample(found, root)
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return _sample(schema[key][0], root)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "object" or "properties" in schema:
        wanted = schema.get("required", ())
        return {name: _sample(part, root) for name, part in schema.get("properties", {}).items() if name in wanted}
    if kind == "array":
        return [_sample(schema.get("items", {}), root)] * schema.get("minItems", 0)
    return {"string": "text", "integer": 1, "number": 1.5, "boolean": True}.get(kind or "")


async def _no_such_page(exchange: Exchange) -> None:
    await exchange.whole(404, b"404 page not found", {"Content-Type": "text/plain"})


async def _version(exchange: Exchange) -> None:
    await exchange.json({"version": VERSION})


async def _root(exchange: Exchange) -> None:
    await exchange.whole(200, b"Ollama is running", {"Content-Type": "text/plain"})


def _entry(name: str, model: FakeModel) -> dict[str, Any]:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return {"name": name, "model": name, "size": 2019393189, "digest": digest, "details": model.details}


async def _tags(exchange: Exchange) -> None:
    models = exchange.fake.models.items()
    await exchange.json(
        {
            "models": [
                _entry(name, model)
                | {"modified_at": model.modified_at, "capabilities": list(model.capabilities)}
                | {"details": model.details | {"context_length": model.context_length}}
                for name, model in models
            ]
        }
    )


async def _ps(exchange: Exchange) -> None:
    fake = exchange.fake
    await exchange.json(
        {
            "models": [
                _entry(name, fake.models[name])
                | {"expires_at": NOW, "size_vram": 1019393189, "context_length": length}
                for name, length in fake.loaded.items()
            ]
        }
    )


async def _show(exchange: Exchange) -> None:
    asked = exchange.request.body.get("model", "")
    name = exchange.fake.find(asked)
    if name is None:
        await exchange.error(404, f"model '{asked}' not found")
        return
    model = exchange.fake.models[name]
    await exchange.json(
        {
            "license": "The license",
            "modelfile": f"FROM {name}",
            "parameters": model.parameters,
            "template": "{{ .Prompt }}",
            "system": "",
            "details": model.details,
            "model_info": {
                "general.architecture": model.family,
                "general.parameter_count": 3212749888,
                f"{model.family}.context_length": model.context_length,
                f"{model.family}.embedding_length": model.embedding_length,
            },
            "capabilities": list(model.capabilities),
            "modified_at": model.modified_at,
        }
    )


async def _load(exchange: Exchange, name: str, **shape: Any) -> None:
    reason = "unload" if exchange.request.body.get("keep_alive") == 0 else "load"
    if reason == "unload":
        del exchange.fake.loaded[name]
    await exchange.json({"model": name, "created_at": NOW, **shape, "done": True, "done_reason": reason})


async def _generate(exchange: Exchange) -> None:
    if (found := await exchange.fake.model_of(exchange)) is not None:
        await _load(exchange, found[0], response="")


async def _chat(exchange: Exchange) -> None:
    fake, body = exchange.fake, exchange.request.body
    found = await fake.model_of(exchange)
    if found is None:
        return
    name, model = found
    shown = body["model"]
    if not body.get("messages") and body.get("keep_alive") == 0:  # before it is asked what the model can do
        await _load(exchange, name, message={"role": "assistant", "content": ""})
        return
    if "completion" not in model.capabilities:
        await exchange.error(400, f'"{shown}" does not support chat')
        return
    if body.get("think") and "thinking" not in model.capabilities:
        await exchange.error(400, f'"{shown}" does not support thinking')
        return
    if body.get("tools") and "tools" not in model.capabilities:
        await exchange.error(400, f"registry.ollama.ai/library/{name} does not support tools")
        return
    if not body.get("messages"):
        await _load(exchange, name, message={"role": "assistant", "content": ""})
        return
    prompt = sum(len(_tokens(message.get("content") or "")) for message in body["messages"])
    limit = fake.loaded[name]
    if prompt > limit and body.get("truncate") is False and not fake.cuts_silently:
        await exchange.error(400, _too_long(prompt, limit))
        return
    options = body.get("options") or {}
    words = _tokens(_text_of_answer(body))
    kept = words[: options["num_predict"]] if options.get("num_predict", -1) > 0 else words
    lines = [line(word, model=shown, **_logprobs(word, body)) for word in kept]
    if "thinking" in model.capabilities and body.get("think") is not False:
        lines[:0] = [line(model=shown, thinking=word) for word in _tokens("Let me think.")]
    reason = "length" if len(kept) < len(words) else "stop"
    end = last(model=shown, reason=reason, prompt=min(prompt, limit), tokens=len(lines))
    await stream(*lines, end)(exchange)


def _too_long(prompt: int, limit: int) -> str:
    """Ollama passes on what llama.cpp said, JSON within JSON."""
    message = f"request ({prompt} tokens) exceeds the available context size ({limit} tokens), try increasing it"
    numbers = {"n_prompt_tokens": prompt, "n_ctx": limit}
    return json.dumps({"error": {"code": 400, "message": message, "type": "exceed_context_size_error", **numbers}})


def _text_of_answer(body: dict[str, Any]) -> str:
    wanted = body.get("format")
    if wanted:
        return json.dumps(_sample(wanted) if isinstance(wanted, dict) else {"answer": "text"})
    asked = next((m.get("content") or "" for m in reversed(body["messages"]) if m["role"] == "user"), "")
    return f"You said: {asked}"


def _logprobs(word: str, body: dict[str, Any]) -> dict[str, Any]:
    if not body.get("logprobs"):
        return {}
    token = {"token": word, "logprob": -0.25, "bytes": list(word.encode())}
    top = [token, {"token": " other", "logprob": -1.5}][: body.get("top_logprobs") or 0]
    return {"logprobs": [token | ({"top_logprobs": top} if top else {})]}


async def _embed(exchange: Exchange) -> None:
    body = exchange.request.body
    found = await exchange.fake.model_of(exchange)
    if found is None:
        return
    name, model = found
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    counts = [len(_tokens(text)) for text in texts]
    if body.get("truncate") is False and max(counts, default=0) > exchange.fake.loaded[name]:
        await exchange.error(400, "the input length exceeds the context length")
        return
    size = min(body.get("dimensions") or model.embedding_length, model.embedding_length)
    vectors = [_vector(text, model.embedding_length, size) for text in texts]
    counted = {"total_duration": 20 * MILLISECOND, "load_duration": MILLISECOND, "prompt_eval_count": sum(counts)}
    await exchange.json({"model": body["model"], "embeddings": vectors, **counted})


def _vector(text: str, length: int, size: int) -> list[float]:
    """A vector of length 1 that depends on nothing but the text; a shorter one is the beginning of the longer."""
    values = [hashlib.sha256(f"{index} {text}".encode()).digest()[0] - 127.5 for index in range(length)][:size]
    norm = math.sqrt(sum(value * value for value in values))
    return [value / norm for value in values]


async def _pull(exchange: Exchange) -> None:
    name = exchange.request.body["model"]
    digest, size = "sha256:" + hashlib.sha256(name.encode()).hexdigest(), 2_000_000
    layer = {"status": f"pulling {digest[7:19]}", "digest": digest, "total": size}
    steps: list[dict[str, Any]] = [{"status": "pulling manifest"}, layer]
    steps += [{**layer, "completed": size // 4 * quarter} for quarter in range(1, 5)]
    steps += [{"status": text} for text in ("verifying sha256 digest", "writing manifest", "success")]
    await exchange.head()
    for step in steps:
        if step["status"] == "success":
            exchange.fake.models[_full_name(name)] = FakeModel()
        await exchange.chunk(json.dumps(step).encode() + b"\n")
    await exchange.chunk(b"")


async def _delete(exchange: Exchange) -> None:
    fake, asked = exchange.fake, exchange.request.body["model"]
    name = fake.find(asked)
    if name is None:
        await exchange.error(404, f"model '{asked}' not found")
        return
    del fake.models[name]
    fake.loaded.pop(name, None)
    await exchange.whole(200, b"")


_ROUTES: dict[str, Responder] = {
    "/": _root,
    "/api/version": _version,
    "/api/tags": _tags,
    "/api/ps": _ps,
    "/api/show": _show,
    "/api/generate": _generate,
    "/api/chat": _chat,
    "/api/embed": _embed,
    "/api/pull": _pull,
    "/api/delete": _delete,
}
