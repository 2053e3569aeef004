"""What an Ollama can do wrong once a connection to it stands, and what each caller must be told."""

import json
from dataclasses import dataclass

from ollama_mcp.engines.transport import MAX_LINE
from tests.fake_ollama import (
    CLOSE,
    HANG,
    RESET,
    VERSION,
    Exchange,
    Responder,
    answer,
    close,
    failure,
    hang,
    last,
    line,
    reset,
    stream,
)

ADDRESS = "<address>"
"""Stands for the fake's own in what a caller must be told."""
TEXT = "Hello \u0085\u2028there."


@dataclass(frozen=True)
class Fault:
    """`status` is that of an OpenAI answer that has not begun, `code` the command line's exit code."""

    name: str
    responder: Responder
    error: str
    status: int
    code: int
    says: str
    partial: str = ""
    """The text that came before."""
    waits: bool = False
    """Whether callers are told in between that their request is still under way."""
    model: str = "llama3.2"

    def __str__(self) -> str:
        return self.name


def raw(*pieces: bytes, then: str = "close") -> Responder:
    """Bytes in place of an HTTP answer."""

    async def respond(exchange: Exchange) -> None:
        for piece in pieces:
            await exchange.raw(piece)
        await getattr(exchange, then)()

    return respond


def head_then(what: str) -> Responder:
    """The head of a good answer and nothing of it."""

    async def respond(exchange: Exchange) -> None:
        await exchange.head()
        await getattr(exchange, what)()

    return respond


def cut_short() -> Responder:
    """An answer that says how long it is and is not."""
    said = json.dumps(line("Hel")).encode() + b"\n"
    return raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nContent-Length: 9000\r\n\r\n" + said)


async def many_headers(exchange: Exchange) -> None:
    await exchange.raw(b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 500) for n in range(500)))
    await exchange.raw(b"Content-Length: 2\r\n\r\n{}")


async def never_loads(exchange: Exchange) -> None:
    """Take a request for ever if it is there to load the model."""
    assert exchange.request.body["messages"] == []
    await exchange.hang()


def unanswered(name: str, responder: Responder) -> Fault:
    says = f"Ollama at {ADDRESS} gave no answer: "
    return Fault(name, responder, "EngineUnavailable", 503, 3, says)


def no_answer(name: str, responder: Responder) -> Fault:
    return Fault(name, responder, "MalformedAnswer", 502, 6, "gave no valid answer")


def broken(name: str, *steps: object, says: str = "") -> Fault:
    """A fault after the first word."""
    return Fault(name, stream(line("Hel"), *steps), "GenerationBroken", 502, 6, says, partial="Hel")


def nonsense(name: str, responder: Responder, says: str = "the address") -> Fault:
    """A fault before the first word: whether there is an Ollama at all is in doubt."""
    return Fault(name, responder, "MalformedAnswer", 502, 6, says)


DEEP: object = 1
for _ in range(300):
    DEEP = {"a": DEEP}
HTML = b"<!DOCTYPE html><title>502 Bad Gateway</title><h1>nginx</h1>"
AS_HTML = {"Content-Type": "text/html"}
BUSY = "server busy, please try again.  maximum pending requests exceeded"

# What is buffered of an answer is lost with its bad end; the spaces are more than any buffer takes, so that
# the line has been read before.
SAID = json.dumps(line("Hel")).encode() + b"\n" + b" " * 2**20
BAD_CHUNK = [
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"%x\r\n%s\r\n" % (len(SAID), SAID),
    b"zz\r\n",
]

FAULTS = [
    # Connections that end before an answer
    unanswered("reset before the reply", reset),
    unanswered("closed before the reply", close),
    no_answer("closed in the head", raw(b"HTTP/1.1 200 OK\r\nContent-")),
    no_answer("no HTTP", raw(b"SSH-2.0-OpenSSH_9.6\r\n")),
    # Silence
    Fault("no headers", hang, "EngineTimeout", 504, 4, "did not begin to answer", waits=True),
    Fault("no first token", head_then("hang"), "EngineTimeout", 504, 4, "did not begin to answer", waits=True),
    Fault(
        "idle in the middle", stream(line("Hel"), HANG), "EngineTimeout", 504, 4, "stopped in the middle", "Hel", True
    ),
    Fault("slow load", never_loads, "EngineTimeout", 504, 4, "was not loaded within", waits=True, model="qwen3:8b"),
    # Statuses
    Fault("400", failure(400, "invalid options"), "InvalidRequest", 400, 5, "invalid options"),
    Fault("401", failure(401, "unauthorized"), "EngineRejected", 502, 5, "unauthorized"),
    Fault("404", failure(404, "model 'llama3.2' not found"), "ModelNotFound", 404, 5, "ollama pull llama3.2"),
    Fault("500", failure(500, "CUDA error: out of memory"), "EngineFailed", 502, 5, "out of memory"),
    Fault("502 in HTML", answer(502, HTML, AS_HTML), "EngineFailed", 502, 5, "status 502"),
    Fault("503", failure(503, BUSY), "EngineBusy", 503, 7, "maximum pending requests"),
    Fault("503 for ever", answer(503, '{"error": "no"}', {"Retry-After": "9" * 400}), "EngineBusy", 503, 7, "busy"),
    Fault("429", failure(429, "rate limited"), "EngineBusy", 503, 7, "rate limited"),
    Fault("302", answer(302, "", {"Location": "http://127.0.0.1:1/login"}), "EngineFailed", 502, 5, "/login"),
    # Death in the middle
    broken("closed in the middle", CLOSE, says="in the middle"),
    broken("reset in the middle", RESET, says="in the middle"),
    broken("half a line", b'{"model": "llama3.2", "mess', says="not valid JSON"),
    Fault("bad chunk", raw(*BAD_CHUNK), "GenerationBroken", 502, 6, "in the middle", "Hel"),
    no_answer("bad chunk at once", raw(BAD_CHUNK[0] + BAD_CHUNK[-1])),
    Fault("shorter than said", cut_short(), "GenerationBroken", 502, 6, "in the middle", "Hel"),
    broken("no last line", says="before its end"),
    # Content
    broken("malformed line", b"not JSON\n", says="not valid JSON"),
    broken("not an object", b"[1]\n", says="not a JSON object"),
    broken("no message", b'{"model": "llama3.2", "done": false}\n', says="without a message"),
    broken("error line", {"error": "llama runner process has terminated"}, says="has terminated"),
    broken("bad UTF-8", b'{"message": {"content": "\xff"}}\n', says="not valid JSON"),
    broken("text of no type", {"message": {"content": {"a": 1}}}, says="not a text"),
    broken("tool call without a name", line(tool_calls=[{"function": {}}]), says="without a name"),
    broken(
        "tool call of 300 levels",
        line(tool_calls=[{"function": {"name": "f", "arguments": DEEP}}]),
        says="too many levels",
    ),
    broken("error of 300 levels", {"error": DEEP}, says="no reason"),
    broken(
        "log probabilities of no type", line("x", logprobs=[{"token": "x", "top_logprobs": 5}]), says="not a list"
    ),
    broken("log probability of no type", line("x", logprobs=[{"token": "x", "logprob": DEEP}]), says="not a number"),
    broken("line of more than 16 MiB", *[b"x" * 2**20] * (MAX_LINE // 2**20 + 1), says="16 MiB"),
    nonsense("HTML as a success", answer(200, HTML, AS_HTML)),
    Fault("an empty success", stream(), "GenerationBroken", 502, 6, "stopped before its end"),
    nonsense("gzip", answer(200, b"\x1f\x8b\x08" + b"\0" * 50, {"Content-Encoding": "gzip"}), "gzip"),
    nonsense("huge headers", many_headers, "gave no valid answer"),
    Fault(
        "an error line alone",
        stream({"error": "model crashed"}),
        "GenerationBroken",
        502,
        6,
        "broke off before the answer: model crashed",
    ),
    nonsense("malformed at once", stream(b"not JSON\n")),
    nonsense("no object at once", stream(b"[1]\n")),
    nonsense("no message at once", stream({"done": False})),
    nonsense("bad UTF-8 at once", stream(b'{"message": {"content": "\xff"}}\n')),
    nonsense("line of more than 16 MiB at once", stream(*[b"x" * 2**20] * (MAX_LINE // 2**20 + 1)), "16 MiB"),
]


def split(size: int, data: bytes) -> Responder:
    return stream(*(data[start : start + size] for start in range(0, len(data), size)))


LINES = [line(TEXT[:8]), line(TEXT[8:]), last(tokens=2)]
WIRE = b"\n\n\r\n".join(json.dumps(each, ensure_ascii=False).encode() for each in LINES)


GOOD: dict[str, Responder] = {
    "byte by byte": split(1, WIRE),
    "split anywhere": split(37, WIRE),
    "closed without an end after the last line": stream(*LINES, CLOSE),
    "unknown fields": stream(*(each | {"news": {"version": VERSION}} for each in LINES)),
}
