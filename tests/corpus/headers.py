"""Who asks and how it is framed: Host, Origin, keys, content types, HTTP itself, sizes at their limits."""

import json

from .wire import CHAT, CLOSED, EITHER, FINE, GOOD, REFUSED, Case, request

KEY = "right-key-" + "0" * 30
BODY = json.dumps(GOOD).encode()
AMBIGUOUS = REFUSED | {421, 431, 505, CLOSED}


def hosts() -> list[Case]:
    bad: list[bytes] = [
        b"evil.example", b"", b" ", b"127.0.0.1:x@evil.com", b"127.0.0.1@evil.com", b"evil.com#127.0.0.1",
        b"localhost.evil.example",
        b"evil.localhost", b"127.0.0.1.nip.io", b"127.0.0.2", b"127.1", b"0.0.0.0", b"0x7f.1", b"2130706433",
        b"017700000001",
        b"[::]", b"[::2]", b"[::ffff:127.0.0.1]", b"::1", b"[::1", b"::1]", b"[::1]x", b"[::1%lo]", b"localhost.",
        b"localhost/",
        b"localhost:", b"localhost:x", b"localhost:123456", b"localhost:-1", b"localhost:80:80", b"local host",
        b"localhost,evil.example",
        b"localhost;x", b"http://localhost", b"//localhost", b"LOCALHOST.EVIL", b"loc\xc3\xa4lhost", b"localhost\\",
        b"*", b"a" * 5000,
        b"xn--localhost", b"localhost\x00", b"localhost\t.evil", b"\xe2\x80\x8blocalhost",
    ]  # fmt: skip
    cases = [
        Case(
            f"Host {host[:30]!r}", request("GET", "/v1/models", headers=[("Host", host)], host=None), REFUSED | {421}
        )
        for host in bad
    ]
    for place, more in enumerate(([("Host", "localhost")], [("Host", "evil.example")], [("HOST", "localhost")])):
        cases.append(Case(f"two Hosts {place}", request("GET", "/v1/models", headers=more), AMBIGUOUS))
    cases.append(Case("no Host", request("GET", "/v1/models", host=None), AMBIGUOUS))
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1:65535", "[::1]:80"):
        cases += [Case(f"our Host {host}", request("GET", "/v1/models", host=host), FINE)]
    for name in ("X-Forwarded-Host", "Forwarded", "X-Host", "X-Original-Host"):
        more = [(name, "localhost")]
        cases.append(
            Case(
                f"{name} in its place",
                request("GET", "/v1/models", headers=more, host="evil.example"),
                frozenset({421}),
            )
        )
    return cases


def origins() -> list[Case]:
    bad = [
        "https://evil.example", "null", "", "http://localhost:1", "http://127.0.0.1.evil.example",
        "http://localhost.evil.example",
        "https://localhost.", "http://localhost@evil.example", "http://evil.example#localhost",
        "http://evil.example/localhost", "file://",
        "http://[::1]", "http://127.0.0.1", "ftp://localhost", "localhost", "//localhost", "http://localhost/",
        "http://localhost?x",
        "http://localhost http://evil.example", "http://localhost, http://evil.example", "http:/localhost",
        "http://", "http://*",
        "*", "chrome-extension://abcdef", "moz-extension://x", "vscode-webview://x", "http://localhost\\.evil",
        "http://xn--lcalhost",
        "http://localhost:0", "http://LOCALHOST:8", "about:blank", "data:text/html,x", "http://%6cocalhost",
        "http://localhos", "http://localhostx",
        "http://l\u00f6calhost", "wss://localhost", "http:localhost", "hxxp://localhost",
    ]  # fmt: skip
    forbidden = frozenset({403, 400})
    cases = []
    for place, origin in enumerate(bad):
        path = ("/v1/models", "/health", "/mcp", "/docs")[place % 4]
        cases.append(Case(f"Origin {origin!a}", request("GET", path, headers=[("Origin", origin)]), forbidden))
    for method in ("POST", "OPTIONS"):
        more = [("Origin", "https://evil.example"), ("Access-Control-Request-Method", "POST")]
        cases.append(
            Case(
                f"{method} of another origin",
                request(method, CHAT, BODY if method == "POST" else b"", more),
                forbidden,
            )
        )
    two = [("Origin", "http://localhost"), ("Origin", "https://evil.example")]
    cases.append(Case("two Origins", request("GET", "/v1/models", headers=two), forbidden))
    cases.append(Case("our own", request("GET", "/v1/models", headers=[("Origin", "http://localhost")]), FINE))
    return cases


def keys() -> list[Case]:
    def asks(name: str, *headers: tuple[str, str | bytes], allowed: frozenset[int] = frozenset({401})) -> Case:
        return Case(name, request("GET", "/v1/models", headers=headers), allowed)

    wrong: list[str | bytes] = [
        "", "Bearer", "Bearer ", f"Bearer {KEY[:-1]}", f"Bearer {KEY}x", f"Bearer x{KEY}", f"Bearer {KEY.upper()}",
        f"Basic {KEY}", KEY,
        f"Token {KEY}", f"Bearer: {KEY}", f"Bearer={KEY}", f"Bearer '{KEY}'", f'Bearer "{KEY}"', "Bearer null",
        "Bearer undefined", "Bearer *",
        b"Bearer \xff\xfe", "Bearer " + "k" * 20_000, f"Bearer {KEY[:20]} {KEY[20:]}", f"Bearer {KEY},{KEY}",
        b"Bearer \xe2\x80\x8b" + KEY.encode(),
    ]  # fmt: skip
    cases = [
        asks(f"Authorization {place} {value[:24]!r}", ("Authorization", value)) for place, value in enumerate(wrong)
    ]
    cases += [asks(f"{name} wrong", (name, KEY[:-1])) for name in ("X-API-Key", "Api-Key", "x-api-key")]
    cases += [
        asks(f"{name} is not looked at", (name, KEY)) for name in ("Cookie", "X-Key", "Proxy-Authorization", "X-Auth")
    ]
    cases.append(Case("in the address", request("GET", f"/v1/models?api_key={KEY}&key={KEY}"), frozenset({401})))
    cases.append(Case("no key", request("GET", "/v1/models"), frozenset({401})))
    cases.append(Case("no key at MCP", request("POST", "/mcp", b"{}"), frozenset({401})))
    cases.append(Case("no key and a bad body", request("POST", CHAT, b"{"), frozenset({401})))
    for name, value in (
        ("Authorization", f"Bearer {KEY}"),
        ("AUTHORIZATION", f"bearer {KEY}"),
        ("X-API-Key", KEY),
        ("api-key", KEY),
    ):
        cases.append(asks(f"the key as {name}", (name, value), allowed=FINE))
    cases.append(
        asks(
            "a wrong key and the right one",
            ("X-API-Key", "x"),
            ("Authorization", f"Bearer {KEY}"),
            allowed=FINE | {401},
        )
    )
    return cases


def content_types() -> list[Case]:
    wrong = [
        "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", " ", "*/*",
        "application/*", "json", "text/json",
        "application/jsonx", "application/json-seq", "application/xml", "application/octet-stream",
        "text/plain; application/json", "application",
        "/json", "application/json, text/plain", "text/plain, application/json", "application /json",
        "application/x-ndjson", ";application/json",
    ]  # fmt: skip
    refused = frozenset({415})
    cases = [
        Case(f"Content-Type {kind!r}", request(body=BODY, headers=[("Content-Type", kind)], json_type=False), refused)
        for kind in wrong
    ]
    cases.append(Case("none", request(body=BODY, json_type=False), refused))
    cases.append(Case("two", request(body=BODY, headers=[("Content-Type", "text/plain")]), refused))
    for encoding in ("gzip", "br", "deflate", "identity, gzip", "x"):
        headers = [("Content-Encoding", encoding)]
        cases += [Case(f"Content-Encoding {encoding}", request(body=BODY, headers=headers), refused)]
    for kind in (
        "application/json",
        "APPLICATION/JSON",
        "application/json; charset=utf-8",
        "application/json;x",
        "application/json ; a=b",
    ):
        cases += [Case(f"good {kind}", request(body=BODY, headers=[("Content-Type", kind)], json_type=False), FINE)]
    return cases


def framing() -> list[Case]:
    start = b"POST " + CHAT.encode() + b" HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    size = b"%d" % len(BODY)
    heads = {
        "two framings": start + b"Content-Length: " + size + b"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "two lengths": start + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        "two equal lengths": start + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        "a list of lengths": start + b"Content-Length: 2, 2\r\n\r\n{}",
        "chunked with HTTP/1.0": start.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "gzip, chunked": start + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "chunked, chunked": start + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "identity": start + b"Transfer-Encoding: identity\r\n\r\n",
        "xchunked": start + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "a space before the colon": start + b"Content-Length : 2\r\n\r\n{}",
        "a folded header": start + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\n{}",
        "a header without a colon": start + b"Nonsense\r\n\r\n",
        "a header without a name": start + b": x\r\n\r\n",
        "a space in a name": start + b"X Y: z\r\n\r\n",
        "a NUL in a value": start + b"X: a\0b\r\n\r\n",
        "a bare CR": start + b"X: a\rb\r\n\r\n",
        "a bare LF": start.replace(b"\r\n", b"\n") + b"\n",
        "a name in Latin-1": start + b"X-\xe9: y\r\n\r\n",
        "HTTP/2.0": b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n",
        "HTTP/1.2": b"GET /health/live HTTP/1.2\r\nHost: localhost\r\n\r\n",
        "HTTP/9": b"GET / HTTP/9\r\n\r\n",
        "http/1.1": b"GET / http/1.1\r\nHost: localhost\r\n\r\n",
        "no version": b"GET /\r\n\r\n",
        "no target": b"GET HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "two spaces": b"GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "a tab": b"GET\t/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "a target with a space": b"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "a target in UTF-8": b"GET /\xc3\xa9 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        "a target with a NUL": b"GET /\0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "an answer": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
        "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
        "a JSON-RPC line": b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n',
        "a SOCKS greeting": b"\x05\x01\x00",
        "a proxy line": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET / HTTP/1.1\r\n\r\n",
        "zeros": bytes(4096),
        "blank lines": b"\r\n" * 1000,
        "letters": b"a" * 70_000,
        "a thousand headers": start + b"".join(b"X-%d: y\r\n" % n for n in range(5000)) + b"\r\n",
        "an upgrade": b"GET /mcp HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        "an upgrade to h2c": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n",
        "no body at all": start + b"Connection: close\r\n\r\n",
    }
    for number in ("-1", "+2", "0x2", "1e1", "2.0", " ", "", "٢", "9" * 30, "NaN", "2;x", "2 2"):
        heads[f"a length of {number!a}"] = start + b"Content-Length: " + number.encode() + b"\r\n\r\n{}"
    cases = [Case(name, data, EITHER | {CLOSED, 501, 505}, half_close=True) for name, data in heads.items()]
    chunked = start + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = {
        "no number": b"zz\r\n{}\r\n", "negative": b"-2\r\n{}\r\n", "huge": b"f" * 17 + b"\r\n{}\r\n",
        "0x": b"0x2\r\n{}\r\n", "too short": b"2\r\n{}{}\r\n",
        "no end of line": b"2\r\n{}XX", "bare LF": b"2\n{}\n0\n\n",
        "long extension": b"2;" + b"x" * 70_000 + b"\r\n{}\r\n", "space": b" 2\r\n{}\r\n",
        "bad trailer": b"2\r\n{}\r\n0\r\nX\r\n\r\n", "many trailers": b"0\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
        "never ended": b"2\r\n{}\r\n",
    }  # fmt: skip
    cases += [
        Case(f"chunk: {name}", chunked + data, REFUSED | {CLOSED, 499}, half_close=True)
        for name, data in chunks.items()
    ]
    many = tuple(b"1\r\n" + BODY[place : place + 1] + b"\r\n" for place in range(len(BODY)))
    cases.append(Case("chunks of one byte", (chunked, *many, b"0\r\n\r\n"), FINE))
    good = start + b"Connection: close\r\nContent-Length: " + size + b"\r\n\r\n" + BODY
    cases.append(Case("byte by byte", tuple(good[place : place + 1] for place in range(len(good))), FINE))
    for part in (0.1, 0.5, 0.9):
        cases.append(Case(f"cut at {part}", good[: int(len(good) * part)], REFUSED | {CLOSED, 499}, half_close=True))
    smuggled = (
        start
        + b"Content-Length: "
        + size
        + b"\r\n\r\n"
        + BODY
        + b"GET /nowhere HTTP/1.1\r\nHost: evil.example\r\n\r\n"
    )
    cases.append(Case("a second request of a stranger", smuggled, FINE | {CLOSED}, half_close=True))
    return cases


LIMIT = 4 * 2**20
LIMIT_WITH_IMAGES = 16 * 2**20
HEADERS = 32 * 2**10


def sizes() -> list[Case]:
    def padded(size: int, model: str = "nomic-embed-text") -> bytes:
        text = json.dumps({"model": model, "input": "x"})
        return (text[:-1] + " " * (size - len(text)) + "}").encode()

    cases = []
    for name, size in (("one less", LIMIT - 1), ("the limit", LIMIT), ("one more", LIMIT + 1), ("double", 2 * LIMIT)):
        allowed = FINE if size <= LIMIT else frozenset({413})
        body = padded(size)
        cases.append(Case(f"embedding of {name}", request(path="/v1/embeddings", body=body), allowed))
        text = json.dumps(GOOD)
        body = (text[:-1] + " " * (size - len(text)) + "}").encode()
        cases.append(Case(f"text chat of {name}", request(body=body), allowed))
        head = b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\n"
        head += b"Content-Type: application/json\r\nConnection: close\r\n"
        body = padded(size)
        pieces = tuple(
            b"%x\r\n%s\r\n" % (len(part), part) for part in (body[at : at + 2**18] for at in range(0, size, 2**18))
        )
        cases.append(
            Case(f"chunks of {name}", (head + b"Transfer-Encoding: chunked\r\n\r\n", *pieces, b"0\r\n\r\n"), allowed)
        )
    for name, size in (
        ("one more with images", LIMIT_WITH_IMAGES + 1),
        ("far more", 2**40),
        ("beyond 64 bits", 10**19),
        ("endless", 10**25),
    ):
        head = (
            b"POST "
            + CHAT.encode()
            + b" HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
        )
        cases.append(Case(name, head + b"Content-Length: %d\r\n\r\n" % size, frozenset({413, 400})))
    for name, size in (
        ("headers just fit", HEADERS - 200),
        ("headers too large", HEADERS + 1),
        ("headers far too large", 10 * HEADERS),
    ):
        allowed = FINE if size < HEADERS else REFUSED | {431}
        cases.append(Case(name, request("GET", "/v1/models", headers=[("X", "a" * size)]), allowed))
    for name, size in (("path fits", 8000), ("path too long", HEADERS + 1)):
        cases.append(Case(name, request("GET", "/" + "a" * size), EITHER))
    for name, count in (("512 messages", 512), ("513 messages", 513)):
        body = json.dumps({**GOOD, "messages": GOOD["messages"] * count}).encode()
        cases.append(Case(name, request(body=body), FINE if count == 512 else REFUSED))
    return cases
