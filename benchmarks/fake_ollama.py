"""An Ollama that answers at once: every answer is bytes made beforehand, written token by token.

`python fake_ollama.py PORT [PROCESSES]`; the processes share the port.
"""

import asyncio
import functools
import multiprocessing
import signal
import socket
import sys
from collections.abc import Iterator
from typing import cast

import orjson

TOKEN = " token"
"""How each token of an answer begins."""
DEFAULT_TOKENS = 4
MODELS = ("llama3", "home-made")
"""One that LiteLLM's catalogue knows and one that it does not."""
CONTEXT = 8192


def _whole(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _chunk(body: bytes) -> bytes:
    return f"{len(body):x}\r\n".encode() + body + b"\r\n"


def _line(model: str, content: str, **more: object) -> dict[str, object]:
    message = {"role": "assistant", "content": content}
    return {"model": model, "created_at": "2026-01-01T00:00:00.0Z", "message": message, "done": False} | more


def _end(tokens: int) -> dict[str, object]:
    counts = {"prompt_eval_count": 12, "eval_count": tokens, "eval_duration": 1_000_000}
    return {"done": True, "done_reason": "stop", "total_duration": 2_000_000, "load_duration": 1000} | counts


@functools.cache
def _answer(model: str, tokens: int, stream: bool) -> list[bytes]:
    """The pieces of an answer, each written by itself."""
    if not stream:
        return [_whole(orjson.dumps(_line(model, TOKEN * tokens, **_end(tokens))))]
    # LiteLLM takes an answer that repeats itself for a model that has gone astray, and ends it.
    pieces = [_chunk(orjson.dumps(_line(model, f"{TOKEN}{number % 10}")) + b"\n") for number in range(tokens)]
    pieces.append(_chunk(orjson.dumps(_line(model, "", **_end(tokens))) + b"\n") + b"0\r\n\r\n")
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
    return [head + pieces[0], *pieces[1:]]


def _model(name: str) -> dict[str, object]:
    details = {"family": "llama", "parameter_size": "8.0B", "quantization_level": "Q4_0", "format": "gguf"}
    return {
        "name": f"{name}:latest",
        "model": f"{name}:latest",
        "modified_at": "2026-01-01T00:00:00Z",
        "size": 4_000_000_000,
        "digest": name * 8,
        "details": details,
    }


_INFO = {"general.architecture": "llama", "llama.context_length": CONTEXT}
FIXED = {
    b"GET /api/version ": _whole(b'{"version":"0.33.0"}'),
    b"GET /api/tags ": _whole(orjson.dumps({"models": [_model(name) for name in MODELS]})),
    b"GET /api/ps ": _whole(
        orjson.dumps({"models": [_model(n) | {"size_vram": 0, "context_length": CONTEXT} for n in MODELS]})
    ),
    b"POST /api/show ": _whole(
        orjson.dumps(
            {"details": _model("llama3")["details"], "model_info": _INFO, "template": "{{ .Prompt }}"}
            | {"capabilities": ["completion", "tools"], "modified_at": "2026-01-01T00:00:00Z"}
        )
    ),
}
HEALTH = _whole(b'"Ollama is running"')
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}"


class Connection(asyncio.Protocol):
    """One client, whose requests come one after another."""

    def __init__(self) -> None:
        self._received = b""
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # not always a subclass: uvloop has its own

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        _, _, length = head.lower().partition(b"content-length:")
        size = int(length.partition(b"\r\n")[0] or 0)
        if len(rest) < size:
            return
        self._received = rest[size:]
        self._answer(head, rest[:size])

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"POST /api/chat "):
            asked = orjson.loads(body)
            if not asked.get("messages"):  # only loads the model
                self._transport.write(_whole(orjson.dumps(_line(asked["model"], "", done=True))))
                return
            tokens = (asked.get("options") or {}).get("num_predict") or DEFAULT_TOKENS
            self._write(iter(_answer(asked["model"], tokens, asked.get("stream", True))))
            return
        for start, answer in FIXED.items():
            if head.startswith(start):
                self._transport.write(answer)
                return
        self._transport.write(HEALTH if head.startswith((b"GET / ", b"HEAD / ")) else NOT_FOUND)

    def _write(self, pieces: Iterator[bytes]) -> None:
        piece = next(pieces, None)
        if piece is not None and not self._transport.is_closing():
            self._transport.write(piece)
            self._loop.call_soon(self._write, pieces)


async def serve(port: int) -> None:
    """Serve until told to end."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", port))
    server = await asyncio.get_running_loop().create_server(Connection, sock=listener, backlog=1024)
    await server.serve_forever()


def _process(port: int) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        import uvloop

        uvloop.run(serve(port))
    except ImportError:
        asyncio.run(serve(port))


if __name__ == "__main__":
    port, processes = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    for _ in range(processes - 1):
        multiprocessing.get_context("fork").Process(target=_process, args=(port,), daemon=True).start()
    _process(port)
