"""One guard before everything: what it lets in, what it refuses, and that it does so before anything is read."""

import itertools
import json
from collections.abc import Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from ollama_mcp.guard import Guard

pytestmark = pytest.mark.anyio

KEYS = ("k" * 40, "other-key-" + "0" * 30)
HOST = (b"host", b"localhost:4891")
JSON = (b"content-type", b"application/json")
Header = tuple[bytes, bytes]


class App:
    """Reads the body it is given and answers with its length."""

    def __init__(self) -> None:
        self.read: list[bytes] = []
        self.called = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.called = True
        more = scope["method"] == "POST"
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            self.read.append(message["body"])
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%d" % len(b"".join(self.read))})


def guard(app: Any, **changes: Any) -> Guard:
    return Guard(app, **{"hosts": ["localhost", "127.0.0.1", "[::1]"], "origins": (), "keys": (), **changes})


async def ask(
    guarded: Guard,
    *headers: Header,
    method: str = "GET",
    path: str = "/v1/models",
    body: Iterator[bytes] | list[bytes] | None = None,
    host: tuple[Header, ...] = (HOST,),
    **scope: Any,
) -> tuple[int, dict[str, Any], dict[str, str]]:
    """The status, the body as JSON, the headers; what is sent is a whole answer as ASGI has it."""
    whole = [b""] if body is None else body
    left = None if isinstance(whole, Iterator) else len(whole)
    parts = iter(whole)
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        nonlocal left
        await anyio.lowlevel.checkpoint()  # as on a network, nothing is there at once
        part = next(parts, None)
        if part is None:
            return await anyio.sleep_forever()
        if left is not None:
            left -= 1
        return {"type": "http.request", "body": part, "more_body": left != 0}

    async def send(message: Any) -> None:
        sent.append(message)

    wanted = {"type": "http", "method": method, "path": path, "http_version": "1.1", "client": ("10.0.0.9", 5)}
    await guarded({**wanted, "headers": [*host, *headers], **scope}, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    start, rest = sent
    text = rest["body"]
    told = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], json.loads(text), told


BEARER = {"www-authenticate": "Bearer"}
REFUSALS = [
    ({"headers": [], "host": ()}, 421, "misdirected_request", "address it was started with", {}),
    ({"headers": [(b"origin", b"http://x.test")]}, 403, "forbidden", "OLLAMA_MCP_CORS_ORIGINS", {}),
    ({"headers": []}, 401, "invalid_api_key", "Authorization: Bearer KEY", BEARER),
    ({"method": "POST"}, 415, "unsupported_media_type", "Content-Type: application/json, not ''", {}),
    (
        {"headers": [(b"content-type", b"x/" + b"y" * 100)], "method": "POST"},
        415,
        "unsupported_media_type",
        f"not 'x/{'y' * 62}'.",
        {},
    ),
    ({"headers": [(b"content-encoding", b"br")]}, 415, "unsupported_media_type", "without a Content-Encoding", {}),
    ({"headers": [(b"content-length", b"4194305")]}, 413, "request_too_large", "larger than 4 MiB.", {}),
    ({"headers": [(b"x", b"v" * 2**15)]}, 431, "headers_too_large", "larger than 32 KiB.", {}),
    ({"headers": [(b"content-length", b"2")] * 2}, 400, "invalid_request", "Content-Length once", {}),
    (
        {"headers": [(b"transfer-encoding", b"chunked")], "http_version": "1.0"},
        400,
        "invalid_request",
        "either Content-Length or",
        {},
    ),
    ({"http_version": "2"}, 505, "http_version_not_supported", "HTTP/1.1", {}),
]


@pytest.mark.parametrize(("asked", "status", "code", "says", "beside"), REFUSALS)
async def test_each_refusal_has_its_code_and_says_what_to_do(
    asked: dict[str, Any], status: int, code: str, says: str, beside: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "ollama_mcp.guard")
    key = [] if status == 401 else [(b"x-api-key", KEYS[0].encode())]
    headers = [*asked.get("headers", []), *key]
    scope = {name: value for name, value in asked.items() if name != "headers"}
    got, answer, told = await ask(guard(App(), keys=KEYS), *headers, **scope)
    kind = "authentication_error" if status == 401 else "invalid_request_error"
    message = answer["detail"]
    assert (got, answer["error"]) == (status, {"message": message, "type": kind, "param": None, "code": code})
    assert says in message
    assert f"refused with {status}" in caplog.text
    length = str(len(json.dumps(answer)))
    assert told == {"content-type": "application/json", "content-length": length} | beside


class Limiter:
    """Lets each caller call once."""

    limit = "1 requests a day"

    def __init__(self) -> None:
        self.callers: list[str] = []

    async def wait_for(self, caller: str) -> int | None:
        self.callers.append(caller)
        return 7 if caller in self.callers[:-1] else None


async def test_a_call_too_many_is_told_when_to_come_again() -> None:
    app = App()
    guarded = guard(app, limiter=Limiter())
    assert (await ask(guarded))[0] == 200
    app.called = False
    status, answer, told = await ask(guarded)
    assert (status, told["retry-after"], app.called) == (429, "7", False)
    message = "You may send 1 requests a day; try again in 7 s."
    assert answer["error"] == {
        "message": message,
        "type": "rate_limit_error",
        "param": None,
        "code": "rate_limit_exceeded",
    }


@pytest.mark.parametrize(
    ("path", "method", "counted"),
    [
        ("/v1/models", "GET", True),
        ("/mcp", "GET", True),
        ("/mcp", "DELETE", True),
        ("/v1/models", "OPTIONS", False),
        ("/mcp", "OPTIONS", False),
        ("/health", "GET", False),
        ("/docs", "GET", False),
        ("/v1", "GET", False),
    ],
)
async def test_what_costs_the_models_nothing_is_not_counted(path: str, method: str, counted: bool) -> None:
    limiter = Limiter()
    await ask(guard(App(), limiter=limiter), path=path, method=method)
    assert bool(limiter.callers) == counted


async def test_callers_are_told_apart_by_their_key_or_else_their_address() -> None:
    limiter = Limiter()
    keyed, open_to_all = guard(App(), keys=KEYS, limiter=limiter), guard(App(), limiter=limiter)
    for key in KEYS:
        assert (await ask(keyed, (b"x-api-key", key.encode())))[0] == 200
    assert (await ask(keyed, (b"x-api-key", KEYS[0].encode()), client=("10.0.0.1", 1)))[0] == 429
    assert (await ask(keyed, (b"x-api-key", b"unknown")))[0] == 401
    assert (await ask(open_to_all))[0] == 200
    assert (await ask(open_to_all, client=("10.0.0.9", 6)))[0] == 429
    assert (await ask(open_to_all, client=("10.0.0.8", 5)))[0] == 200
    assert (await ask(open_to_all, client=None))[0] == 200
    first, second, again, *addresses = limiter.callers
    assert first == again != second
    assert KEYS[0] not in first
    assert addresses == ["address:10.0.0.9", "address:10.0.0.9", "address:10.0.0.8", "address:"]


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        [b"localhost:4891", b"localhost:4891"],
        [b"localhost", b"evil.example"],
        [b""],
        [b"evil.example"],
        [b"localhost.evil.example"],
        [b"evil.localhost"],
        [b"localhost:4891@evil.example"],
        [b"127.0.0.1:x@evil.com"],
        [b"127.0.0.1:"],
        [b"127.0.0.1:123456"],
        [b"127.0.0.1 "],
        [b"127.0.0.1,evil.example"],
        [b"127.0.0.1.nip.io"],
        [b"127.1"],
        [b"0.0.0.0"],
        [b"[::1"],
        [b"[::2]"],
        [b"::1"],
        [b"localhost."],
        [b"localhost/"],
        [b"loc\xe4lhost"],
        [b"localhost:\xb2"],
        [b"localhost\n"],
    ],
)
async def test_a_host_that_is_not_exactly_ours_is_refused(hosts: list[bytes]) -> None:
    app = App()
    status, _, _ = await ask(guard(app), host=tuple((b"host", host) for host in hosts))
    assert (status, app.called) == (421, False)


@pytest.mark.parametrize("host", [b"localhost", b"LOCALHOST:1", b"127.0.0.1:65535", b"[::1]:4891", b"[::1]"])
async def test_our_own_names_are_let_in_with_any_port(host: bytes) -> None:
    assert (await ask(guard(App()), host=((b"host", host),)))[0] == 200


async def test_the_case_of_a_name_in_the_settings_or_in_an_origin_does_not_matter() -> None:
    guarded = guard(App(), hosts=["Studio.Local"])
    host = ((b"host", b"studio.local:4891"),)
    assert (await ask(guarded, (b"origin", b"http://Studio.local:4891"), host=host))[0] == 200


async def test_a_server_with_keys_may_answer_to_any_name_but_not_to_none() -> None:
    guarded, key = guard(App(), hosts=None, keys=KEYS), (b"x-api-key", KEYS[0].encode())
    assert (await ask(guarded, key, host=((b"host", b"any.example:1"),)))[0] == 200
    for hosts in ((), ((b"host", b"a b"),), (HOST, HOST)):
        assert (await ask(guarded, key, host=hosts))[0] == 421


@pytest.mark.parametrize(
    "origin",
    [
        b"null",
        b"",
        b"http://evil.example",
        b"http://localhost",
        b"http://localhost:48911",
        b"http://localhost:4891.evil.example",
        b"http://localhost:4891@evil.example",
        b"http://user@localhost:4891",
        b"http://localhost:4891/",
        b"http://localhost:4891?x",
        b"ftp://localhost:4891",
        b"file://localhost:4891",
        b"http://app.test.evil.example",
        b"http://app.test:80",
        b"https://app.test",
        b"//localhost:4891",
        b"localhost:4891",
        b"http://[",
        b"http://\xff",
    ],
)
async def test_an_origin_that_is_not_exactly_listed_is_refused(origin: bytes) -> None:
    app = App()
    status, answer, told = await ask(guard(app, origins=("http://app.test",)), (b"origin", origin))
    assert (status, app.called) == (403, False)
    assert "OLLAMA_MCP_CORS_ORIGINS" in answer["detail"]
    assert "access-control-allow-origin" not in told


async def test_a_good_origin_does_not_cover_for_a_bad_one() -> None:
    origins = ((b"origin", b"http://localhost:4891"), (b"origin", b"http://evil.example"))
    for pair in itertools.permutations(origins):
        assert (await ask(guard(App()), *pair))[0] == 403


@pytest.mark.parametrize("origin", [b"http://localhost:4891", b"https://localhost:4891", b"http://app.test"])
async def test_our_own_pages_and_listed_ones_are_let_in(origin: bytes) -> None:
    assert (await ask(guard(App(), origins=("http://app.test",)), (b"origin", origin)))[0] == 200


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    ("name", "form"),
    [
        (b"authorization", b"Bearer %s"),
        (b"authorization", b"bearer %s"),
        (b"authorization", b"BEARER  %s "),
        (b"x-api-key", b"%s"),
        (b"api-key", b" %s"),
    ],
)
async def test_each_key_is_taken_in_each_spelling(key: str, name: bytes, form: bytes) -> None:
    assert (await ask(guard(App(), keys=KEYS), (name, form % key.encode())))[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"")],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", KEYS[0].encode())],
        [(b"authorization", b"Basic " + KEYS[0].encode())],
        [(b"authorization", b"Bearer " + KEYS[0].encode()[:-1])],
        [(b"authorization", b"Bearer " + KEYS[0].encode() + b"k")],
        [(b"authorization", b"Bearer " + KEYS[0].upper().encode())],
        [(b"authorization", b"Bearer \xff\xfe")],
        [(b"x-api-key", ",".join(KEYS).encode())],
        [(b"x-api-key", b"k" * 31_000)],
        [(b"cookie", b"key=" + KEYS[0].encode())],
        [(b"x-apikey", KEYS[0].encode())],
        [(b"x-bearer", b"Bearer " + KEYS[0].encode())],
        [(b"authorization", b"Secret " + KEYS[0].encode())],
    ],
)
async def test_without_one_of_the_keys_nobody_comes_in(headers: list[Header]) -> None:
    app = App()
    status, answer, told = await ask(guard(app, keys=KEYS), *headers, query_string=b"key=" + KEYS[0].encode())
    assert (status, app.called) == (401, False)
    assert (answer["error"]["type"], told["www-authenticate"]) == ("authentication_error", "Bearer")


@pytest.mark.parametrize("path", ["/health/live", "/docs", "/docs/assets/start.js", "/redoc", "/openapi.json"])
async def test_what_tells_nothing_needs_no_key(path: str) -> None:
    assert (await ask(guard(App(), keys=KEYS), path=path))[0] == 200


@pytest.mark.parametrize(
    "path", ["/", "/health", "/health/livex", "/docsx", "/metrics", "/mcp", "/v1/models", "//docs"]
)
async def test_all_else_needs_a_key(path: str) -> None:
    assert (await ask(guard(App(), keys=KEYS), path=path))[0] == 401


async def test_a_listed_page_may_ask_what_it_may_send_and_is_shown_why_it_is_refused() -> None:
    guarded = guard(App(), keys=KEYS, origins=("http://app.test",))
    origin, asks = (b"origin", b"http://app.test"), (b"access-control-request-method", b"POST")
    assert (await ask(guarded, origin, asks, method="OPTIONS"))[0] == 200
    assert (await ask(guarded, asks, method="OPTIONS"))[0] == 401
    assert (await ask(guarded, origin, method="OPTIONS"))[0] == 401
    assert (await ask(guarded, origin, asks))[0] == 401
    assert (await ask(guarded, (b"origin", b"http://x.test"), asks, method="OPTIONS"))[0] == 403
    status, _, told = await ask(guarded, origin)
    assert (status, told["access-control-allow-origin"], told["vary"]) == (401, "http://app.test", "Origin")
    assert told["content-type"] == "application/json"


@pytest.mark.parametrize(
    "types",
    [
        [],
        [b""],
        [b"text/plain"],
        [b"application/x-www-form-urlencoded"],
        [b"multipart/form-data; boundary=application/json"],
        [b"text/plain; application/json"],
        [b"application/jsonx"],
        [b"application/json-seq"],
        [b"text/json"],
        [b"application/json, text/plain"],
        [b"application/json", b"text/plain"],
        [b"text/plain", b"application/json"],
        [b"\xff"],
    ],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/mcp"])
async def test_a_post_of_anything_but_json_is_refused(types: list[bytes], path: str) -> None:
    app = App()
    headers = [(b"content-type", value) for value in types]
    status, answer, _ = await ask(guard(app), *headers, method="POST", path=path, body=[b"{}"])
    assert (status, app.called) == (415, False)
    assert "application/json" in answer["detail"]


@pytest.mark.parametrize("media_type", [b"application/json", b"Application/JSON ; charset=utf-8"])
async def test_json_is_let_in(media_type: bytes) -> None:
    assert (await ask(guard(App()), (b"content-type", media_type), method="POST", body=[b"{}"]))[:2] == (200, 2)


async def test_what_comes_to_the_api_is_left_to_it_to_read() -> None:
    assert (await ask(guard(App()), JSON, method="POST", body=[b"{", b'"a": NaN']))[:2] == (200, 9)


async def test_a_compressed_body_is_refused() -> None:
    for encoding, expected in ((b"gzip", 415), (b"Identity", 200)):
        headers = (JSON, (b"content-encoding", encoding))
        assert (await ask(guard(App()), *headers, method="POST", body=[b"{}"]))[0] == expected


@pytest.mark.parametrize("length", [b"", b"-1", b"+2", b"2.0", b"1e3", b"0x2", b"two", b"\xb2", b"9" * 5000])
async def test_a_length_that_is_no_length_is_refused(length: bytes) -> None:
    app = App()
    asked = await ask(guard(app), JSON, (b"content-length", length), method="POST", body=[b"{}"])
    assert (asked[0], app.called) == (413, False)


LIMITS = [("/v1/embeddings", 4), ("/v1/chat/completions", 16), ("/v1/responses", 16), ("/mcp", 16), ("/nowhere", 4)]


@pytest.mark.parametrize(("path", "mebibytes"), LIMITS)
async def test_a_body_of_exactly_the_limit_is_read_and_one_byte_more_is_not(path: str, mebibytes: int) -> None:
    mebibyte = b"x" * 2**20
    body = [b'"' + mebibyte[1:], *[mebibyte] * (mebibytes - 2), mebibyte[:-1], b'"']
    app = App()
    assert (await ask(guard(app), JSON, method="POST", path=path, body=body))[:2] == (200, mebibytes * 2**20)
    app = App()
    status, answer, _ = await ask(guard(app), JSON, method="POST", path=path, body=[*body, b"x"])
    assert status == 413
    assert f"{mebibytes} MiB" in answer["detail"]
    for declared, expected in ((mebibytes * 2**20, 200), (mebibytes * 2**20 + 1, 413), (10**30, 413)):
        length = (b"content-length", b"%d" % declared)
        assert (await ask(guard(App()), JSON, length, method="POST", path=path, body=[b"{}"]))[0] == expected


async def test_a_body_without_end_is_given_up_at_the_limit() -> None:
    app = App()
    endless = itertools.repeat(b"x" * 65536)
    assert (await ask(guard(app), JSON, method="POST", body=endless))[0] == 413
    assert len(b"".join(app.read)) <= 4 * 2**20


async def test_a_body_has_so_long_as_a_whole_however_steadily_it_comes() -> None:
    app = App()
    with anyio.fail_after(5):
        answer = await ask(guard(app, body_seconds=0.05), JSON, method="POST", body=iter([b"{", b" "]))
    assert answer[0] == 408
    assert answer[1]["error"]["code"] == "request_timeout"
    assert "send it faster" in answer[1]["detail"]


async def test_what_an_application_makes_of_a_refused_body_is_not_sent() -> None:
    async def stubborn(scope: Any, receive: Any, send: Any) -> None:
        try:
            while True:
                await receive()
        finally:
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b"{}"})

    assert (await ask(guard(stubborn), JSON, method="POST", body=itertools.repeat(b"x" * 2**20)))[0] == 413


@pytest.mark.parametrize(
    ("headers", "version"),
    [
        ([(b"transfer-encoding", b"chunked"), (b"content-length", b"2")], "1.1"),
        ([(b"transfer-encoding", b"chunked")], "1.0"),
        ([(b"content-length", b"2"), (b"content-length", b"2")], "1.1"),
    ],
)
async def test_a_request_that_two_readers_could_end_at_two_places_is_refused(
    headers: list[Header], version: str
) -> None:
    app = App()
    asked = await ask(guard(app), JSON, *headers, method="POST", body=[b"{}"], http_version=version)
    assert (asked[0], app.called) == (400, False)


@pytest.mark.parametrize("version", ["2.0", "0.9", "1.2", "3"])
async def test_only_http_1_is_spoken(version: str) -> None:
    assert (await ask(guard(App()), http_version=version))[0] == 505


async def test_headers_may_have_32_kib_in_all() -> None:
    room = 2**15 - sum(len(part) for part in HOST) - 4 - 1004
    fits = [(b"x", b"v" * 999), (b"y", b"v" * (room - 5))]
    assert (await ask(guard(App()), *fits))[0] == 200
    assert (await ask(guard(App()), (b"xx", b"v" * 999), fits[1]))[0] == 431


async def test_a_body_of_unknown_length_is_let_in() -> None:
    chunked = (b"transfer-encoding", b"chunked")
    assert (await ask(guard(App()), JSON, chunked, method="POST", body=[b"{", b"}"]))[:2] == (200, 2)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b'{"id": 1, "id": 2}', "twice"),
        (b'{"id": NaN}', "not valid JSON"),
        (b"[" * 65 + b"]" * 65, "64 levels"),
        (b'{"id": 9223372036854775808}', "64 bits"),
        (b'{"a": "\\ud800"}', "not valid JSON"),
        (b"\xef\xbb\xbf{}", "not valid JSON"),
    ],
)
async def test_what_comes_to_mcp_is_strict_json_too(raw: bytes, says: str) -> None:
    app = App()
    status, answer, _ = await ask(guard(app), JSON, method="POST", path="/mcp", body=[raw[:5], raw[5:]])
    error = answer.pop("error")
    assert (status, answer, error["code"]) == (400, {"jsonrpc": "2.0", "id": None}, -32700)
    assert says in error["message"]
    assert app.read == [raw[:5]]


async def test_messages_are_passed_on_one_by_one_and_the_end_is_waited_for() -> None:
    seen: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(3):
            seen.append(await receive())  # noqa: PERF401 - each is awaited
        with anyio.move_on_after(0.05) as waiting:
            await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(waiting.cancelled_caught).encode()})

    guarded = guard(app, body_seconds=0.02)
    asked = await ask(guarded, JSON, method="POST", path="/mcp", body=[b"{", b'"a":', b"1}"])
    assert asked[:2] == (200, True)
    assert [message["body"] for message in seen] == [b"{", b'"a":', b"1}"]


async def test_an_answer_that_has_begun_is_not_begun_anew() -> None:
    sent: list[Any] = []

    async def hasty(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await receive()
        finally:
            await send({"type": "http.response.body", "body": b"half"})

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"x" * 2**20, "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "http_version": "1.1", "headers": [HOST, JSON]}
    await guard(hasty)(scope, receive, send)
    assert [message.get("status", message.get("body")) for message in sent] == [200, b"half"]


async def test_a_refused_body_is_not_read_on_by_an_application_that_asks_again() -> None:
    tries = 0

    async def stubborn(scope: Any, receive: Any, send: Any) -> None:
        nonlocal tries
        while tries < 20:
            tries += 1
            try:
                await receive()
            except BaseException:  # noqa: BLE001 - as stubborn as an application can be
                continue

    reads = 0

    def parts() -> Iterator[bytes]:
        nonlocal reads
        while True:
            reads += 1
            yield b"x" * 2**20

    assert (await ask(guard(stubborn), JSON, method="POST", body=parts()))[0] == 413
    assert (tries, reads) == (20, 5)


async def exchange(*messages: dict[str, Any], method: str = "POST") -> tuple[list[Any], list[Any]]:
    """What an application at /mcp reads that ends with the body or with its client, and what is sent of it."""
    read: list[Any] = []
    sent: list[Any] = []
    parts = iter(messages)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for _ in messages:
            read.append(await receive())  # noqa: PERF401 - each is awaited

    async def receive() -> dict[str, Any]:
        return next(parts)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": "/mcp", "http_version": "1.1", "headers": [HOST, JSON]}
    await guard(app)(scope, receive, send)
    return read, sent


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_told_of_and_not_answered() -> None:
    messages = ({"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"})
    assert await exchange(*messages) == ([*messages], [])


async def test_a_body_is_over_where_nothing_says_that_there_is_more() -> None:
    messages = ({"type": "http.request", "more_body": True}, {"type": "http.request", "body": b"{}"})
    assert await exchange(*messages, {"type": "http.disconnect"}) == ([*messages, {"type": "http.disconnect"}], [])
    _, sent = await exchange({"type": "http.request", "body": b"{"})
    assert sent[0]["status"] == 400


async def test_what_has_no_body_is_no_bad_json() -> None:
    assert await exchange({"type": "http.request"}, method="DELETE") == ([{"type": "http.request"}], [])


async def test_start_and_end_of_the_server_are_passed_on() -> None:
    seen: list[Any] = []

    async def app(*asgi: Any) -> None:
        seen.extend(asgi)

    events = ({"type": "lifespan"}, anyio.sleep_forever, anyio.sleep_forever)
    await guard(app)(*events)
    assert seen == list(events)


async def test_a_websocket_is_closed() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    app = App()
    await guard(app)({"type": "websocket", "headers": [], "path": "/"}, anyio.sleep_forever, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]
    assert not app.called


def test_a_server_for_any_host_needs_keys() -> None:
    with pytest.raises(ValueError, match="keys"):
        guard(App(), hosts=None)
