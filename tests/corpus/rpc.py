"""JSON-RPC that is none, or that no MCP client would send, in both eras and over stdio."""

import json
from typing import Any

from .wire import EITHER, Case, request

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "corpus", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "corpus", "version": "1"}},
}
ACCEPT = ("Accept", "application/json, text/event-stream")


def call(tool: object, arguments: object) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}


def envelopes() -> dict[str, Any]:
    """Messages by name."""
    ping: dict[str, Any] = {"jsonrpc": "2.0", "id": 7, "method": "ping"}
    found: dict[str, Any] = {
        "an empty object": {}, "an empty list": [], "a text": "ping", "a number": 1, "null": None, "true": True,
        "a batch": [ping, {**ping, "id": 8}], "a batch of nothing": [None], "a batch of bad ones": [1, {}, []],
        "no version": {"id": 7, "method": "ping"}, "no method": {"jsonrpc": "2.0", "id": 7},
        "an answer": {"jsonrpc": "2.0", "id": 7, "result": {}},
        "an error": {"jsonrpc": "2.0", "id": 7, "error": {"code": 1, "message": "x"}},
        "an answer of no form": {"jsonrpc": "2.0", "id": 7, "result": 5},
        "an error of no form": {"jsonrpc": "2.0", "id": 7, "error": "x"},
        "both": {"jsonrpc": "2.0", "id": 7, "result": {}, "error": {"code": 1, "message": "x"}},
        "more fields": {**ping, "extra": [1]},
        "a notification": {"jsonrpc": "2.0", "method": "notifications/nothing"},
        "a request without an id": {"jsonrpc": "2.0", "method": "tools/list"},
        "an unknown cancel": {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 999}},
        "a cancel of nothing": {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {}},
        "a cancel of no form": {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": {}}},
        "progress of nothing": {"jsonrpc": "2.0", "method": "notifications/progress",
        "params": {"progressToken": 1, "progress": "x"}},
    }  # fmt: skip
    for version in ("1.0", "2", "2.0 ", 2, 2.0, None, [], {}):
        found[f"version {version!r}"] = {**ping, "jsonrpc": version}
    for asked in (None, 1.5, True, [], {}, "", "x" * 10_000, -1, 0, 2**63 - 1, "7", "\u2028"):
        found[f"id {str(asked)[:20]!r}"] = {**ping, "id": asked}
    for method in (
        "",
        " ",
        "PING",
        "ping ",
        "rpc.discover",
        "__init__",
        "tools/",
        "/tools/list",
        "tools/list/",
        "x" * 100_000,
        None,
        5,
        [],
        {},
        True,
    ):
        found[f"method {str(method)[:20]!r}"] = {**ping, "method": method}
    for params in (
        [],
        [1],
        "x",
        1,
        True,
        None,
        {"a": 1},
        {"_meta": 5},
        {"_meta": {"progressToken": {}}},
        {"_meta": None},
    ):
        found[f"params {params!r}"] = {**ping, "method": "tools/list", "params": params}
        found[f"params of a call {params!r}"] = {**ping, "method": "tools/call", "params": params}
    for name in ("", "nothing", "chat_completion ", "CHAT_COMPLETION", "../x", "x" * 100_000, None, 5, [], {}):
        found[f"tool {str(name)[:20]!r}"] = call(name, {})
    for arguments in (None, [], "x", 5, {}, {"prompt": 5}, {"prompt": ""}, {"prompt": "x", "nothing": 1},
    {"messages": "["}, {"prompt": "x", "model": "../x"},
                      {"messages": []}, {"prompt": "x", "temperature": "hot"},
                      {"prompt": "x", "files": ["/etc/passwd"]}, {"prompt": "x", "messages": []}):  # fmt: skip
        found[f"arguments {arguments!r}"] = call("chat_completion", arguments)
    for method, params in (
        ("resources/read", {"uri": "file:///etc/passwd"}), ("resources/read", {"uri": "ollama://nothing"}),
        ("resources/read", {"uri": 5}),
        ("resources/read", {"uri": "ollama://models/../../x"}), ("resources/read", {}),
        ("resources/read", {"uri": "no uri at all"}),
        ("resources/subscribe", {"uri": "x"}), ("resources/unsubscribe", {"uri": "never subscribed"}),
        ("prompts/get", {"name": "nothing"}),
        ("prompts/get", {"name": "translate"}), ("prompts/get", {"name": "translate", "arguments": {"text": 5}}),
        ("prompts/get", {"name": 5}),
        ("completion/complete", {}), ("completion/complete",
        {"ref": {"type": "x"}, "argument": {"name": "x", "value": 5}}),
        ("logging/setLevel", {"level": "loud"}), ("tools/list", {"cursor": "x"}), ("tools/list", {"cursor": 5}),
        ("initialize", {}),
        ("initialize", {"protocolVersion": "1999-01-01", "capabilities": {},
        "clientInfo": {"name": "x", "version": "1"}}),
        ("initialize", {"protocolVersion": 5}), ("server/discover", {}), ("server/discover", {"_meta": {}}),
        ("sampling/createMessage", {}),
        ("elicitation/create", {}), ("roots/list", {}), ("tasks/get", {"taskId": "x"}),
    ):  # fmt: skip
        found[f"{method} {json.dumps(params)[:50]}"] = {**ping, "method": method, "params": params}
    return found


def texts() -> dict[str, bytes]:
    """What is no message even before it is read as one."""
    good = json.dumps({"jsonrpc": "2.0", "id": 7, "method": "ping"}).encode()
    return {
        "nothing": b"", "blanks": b"   ", "half": good[:20], "two": good + b" " + good,
        "NaN": good.replace(b"7", b"NaN"),
        "a name twice": good[:-1] + b', "id": 8}', "bad UTF-8": good.replace(b"ping", b"p\xffng"),
        "a lone surrogate": good.replace(b"ping", b"\\ud800"),
        "deep": b"[" * 100_000, "deep params": good[:-1] + b', "params": ' + b'{"a":' * 500 + b"1" + b"}" * 501,
        "an integer of 400 digits": good.replace(b"7", b"7" * 400),
        "UTF-16": good.decode().encode("utf-16"), "a mark": b"\xef\xbb\xbf" + good, "NULs": bytes(1000),
        "HTTP": b"GET / HTTP/1.1", "an SSE event": b"data: " + good,
        "Content-Length framing": b"Content-Length: 46", "a control character": good.replace(b"ping", b"pi\tng"),
        "1e999": good.replace(b"7", b"1e999"),
    }  # fmt: skip


def in_2026(message: dict[str, Any]) -> dict[str, Any]:
    """The same with what every request of that era carries, where it can carry anything."""
    params = message.get("params", {})
    if not isinstance(params, dict) or not isinstance(params.get("_meta", {}), dict):
        return message
    return {**message, "params": {**params, "_meta": {**META, **params.get("_meta", {})}}}


def over_http(session: str | None) -> list[Case]:
    """All of them as POSTs: in a session of the handshake era, or in the era of 2026 if there is none."""
    if session is None:
        headers = [ACCEPT, ("MCP-Protocol-Version", "2026-07-28")]
    else:
        headers = [ACCEPT, ("MCP-Protocol-Version", "2025-11-25"), ("Mcp-Session-Id", session)]
    allowed = EITHER
    cases = []
    for number, (name, message) in enumerate(envelopes().items(), 100):
        if isinstance(message, dict) and message.get("id") == 7:
            message = {**message, "id": number}  # they are under way at once, and answers are told apart by it
        more = []
        if session is None and isinstance(message, dict) and isinstance(message.get("method"), str):
            message = in_2026(message)
            more = [("Mcp-Method", message["method"][:1000])]
        body = json.dumps(message).encode()
        cases.append(Case(name, request(path="/mcp", body=body, headers=[*headers, *more]), allowed))
    cases += [
        Case(f"text: {name}", request(path="/mcp", body=body, headers=headers), frozenset({400}))
        for name, body in texts().items()
    ]
    good = json.dumps({"jsonrpc": "2.0", "id": 7, "method": "tools/list", "params": {"_meta": META}}).encode()
    for accept in ("", "*/*", "text/html", "application/json", "text/event-stream", "application/*;q=0", "x" * 5000):
        cases.append(
            Case(
                f"Accept {accept[:20]}",
                request(path="/mcp", body=good, headers=[("Accept", accept), *headers[1:]]),
                allowed,
            )
        )
    for version in ("", "1999-01-01", "2026-07-28x", "x" * 5000, "2025-06-18", "latest"):
        more = [("MCP-Protocol-Version", version)]
        cases.append(
            Case(
                f"version {version[:20]}",
                request(path="/mcp", body=good, headers=[ACCEPT, *more, *headers[2:]]),
                allowed,
            )
        )
    for other in ("", "x", "../x", "0" * 32, "x" * 5000, "\u00e9"):
        more = [("Mcp-Session-Id", other)]
        cases.append(
            Case(f"session {other[:20]!a}", request(path="/mcp", body=good, headers=[*headers[:2], *more]), allowed)
        )
        cases.append(
            Case(
                f"DELETE of session {other[:20]!a}", request("DELETE", "/mcp", headers=[*headers[:2], *more]), allowed
            )
        )
    return cases
