"""JSON of the right syntax that is no request: wrong types, and what the fields cannot mean."""

import base64
from typing import Any

from .wire import CHAT, EITHER, FINE, GOOD, MESSAGES, REFUSED, Case, posted, request

VALUES: dict[str, object] = {
    "text": "x",
    "empty text": "",
    "number": 1.5,
    "negative": -5,
    "true": True,
    "list": [1],
    "empty list": [],
    "object": {"a": 1},
}
# What a field takes among these, beside null, which stands for nothing said.
TAKES: dict[str, set[str]] = {
    "model": set(),
    "messages": set(),
    "temperature": {"number"},
    "top_p": set(),
    "max_tokens": set(),
    "max_completion_tokens": set(),
    "stop": {"text", "empty text", "empty list"},
    "seed": {"negative"},
    "stream": {"true"},
    "stream_options": {"object"},
    "tools": {"empty list"},
    "tool_choice": set(),
    "response_format": set(),
    "logprobs": {"true"},
    "top_logprobs": set(),
    "presence_penalty": {"number"},
    "frequency_penalty": {"number"},
    "parallel_tool_calls": {"true"},
    "reasoning_effort": set(),
    "num_ctx": set(),
    "think": set(),
    "options": set(),
}


def types() -> list[Case]:
    cases = []
    for field, taken in TAKES.items():
        for kind, value in VALUES.items():
            # A text that is empty, or an object that says nothing known, may mean that nothing was said.
            allowed = FINE if kind in taken else REFUSED
            if field == "model" and kind == "text":
                allowed = frozenset({404})
            cases.append(posted(f"{field} is {kind}", {**GOOD, field: value}, allowed))
    return cases


def chat(**fields: Any) -> dict[str, Any]:
    return {**GOOD, **fields}


def message(**fields: Any) -> dict[str, Any]:
    return chat(messages=[fields])


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def openai() -> list[Case]:
    bad_messages: list[Any] = [
        {}, {"role": "user"}, {"content": "x"}, {"role": None, "content": "x"}, {"role": "root", "content": "x"},
        {"role": "USER", "content": "x"}, {"role": "user", "content": None}, {"role": "user", "content": 1},
        {"role": "user", "content": {}}, {"role": "user", "content": [1]}, {"role": "user", "content": [{}]},
        {"role": "user", "content": [{"type": "text"}]},
        {"role": "user", "content": [{"type": "text", "text": None}]},
        {"role": "user", "content": [{"type": "video", "url": "x"}]}, {"role": "user", "content": [["x"]]},
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]},
        {"role": "user", "content": [{"type": "file", "file": {"file_id": "x"}}]},
        {"role": "user", "content": [{"type": "image_url"}]}, {"role": "assistant"}, {"role": "tool"},
        {"role": "assistant", "content": None, "tool_calls": []}, {"role": "assistant", "tool_calls": [{}]},
        {"role": "assistant", "tool_calls": "f()"}, {"role": "assistant", "tool_calls": [{"id": 1, "function": {}}]},
        {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": {}}}]},
        {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{"}}]},
        {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "[1]"}}]},
        {"role": "user", "content": "x", "name": 5}, "x", None, 5, [], [{"role": "user", "content": "x"}],
    ]  # fmt: skip
    cases = [posted(f"message {place}", chat(messages=[bad])) for place, bad in enumerate(bad_messages)]
    cases += [
        posted(f"second message {place}", chat(messages=[*MESSAGES, bad])) for place, bad in enumerate(bad_messages)
    ]
    odd_messages = [
        {"role": "user", "content": ""}, {"role": "user", "content": []}, {"role": "tool", "content": "x"},
        {"role": "tool", "content": "x", "tool_call_id": "never made"}, {"role": "system", "content": "x"},
        {"role": "assistant", "content": "x"}, {"role": "developer", "content": "x"},
    ]  # fmt: skip
    cases += [posted(f"odd message {place}", chat(messages=[odd]), EITHER) for place, odd in enumerate(odd_messages)]
    bad_fields: list[dict[str, Any]] = [
        {"messages": MESSAGES * 513}, {"n": 2}, {"n": 0}, {"n": "1"}, {"logit_bias": {"1": 5}},
        {"modalities": ["audio"]},
        {"functions": [{"name": "f"}]}, {"function_call": "auto", "functions": [{}]}, {"top_logprobs": 2},
        {"logprobs": True, "top_logprobs": 21}, {"logprobs": True, "top_logprobs": -1}, {"stop": ["x"] * 65},
        {"stop": [1]}, {"stop": [["x"]]}, {"tools": [{}]}, {"tools": [{"type": "function"}]},
        {"tools": [{"type": "function", "function": {}}]},
        {"tools": [{"type": "function", "function": {"name": ""}}]},
        {"tools": [{"type": "function", "function": {"name": "f" * 129}}]}, {"tools": [TOOL] * 257},
        {"tools": [None]},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]}, {"tools": {"f": TOOL}},
        {"tools": [{"type": "retrieval"}]}, {"tool_choice": "required"}, {"tool_choice": "never", "tools": [TOOL]},
        {"tool_choice": {"type": "function", "function": {"name": "g"}}, "tools": [TOOL]},
        {"tool_choice": {"type": "function"}, "tools": [TOOL]}, {"response_format": {"type": "yaml"}},
        {"response_format": {"type": "json_schema"}}, {"response_format": {"type": "json_schema", "json_schema": {}}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": []}}},
        {"reasoning_effort": "maximal"}, {"keep_alive": "a while"}, {"keep_alive": "5 m"}, {"num_ctx": 1},
        {"num_ctx": 2**30}, {"min_p": 2}, {"top_k": -1}, {"repeat_last_n": -2}, {"think": "a lot"}, {"options": []},
        {"stream_options": {"include_usage": "yes"}}, {"stream": "true"}, {"audio": {"voice": "x", "format": "mp3"}},
    ]  # fmt: skip
    cases += [posted(f"{sorted(fields)} {place}", chat(**fields)) for place, fields in enumerate(bad_fields)]
    odd_fields: list[dict[str, Any]] = [
        {"options": {"num_predict": "x"}}, {"options": {"a": {"b": [1] * 100}}}, {"metadata": {"k": 5}}, {"user": 5},
        {"keep_alive": -1}, {"keep_alive": 1e300}, {"keep_alive": 0}, {"stop": [""]},
        {"response_format": {"type": "text"}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": "#"}}}},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"$ref": "http://127.0.0.1:1/x"}}}},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "text", "pattern": "("}}}},
        {"tools": [TOOL, TOOL]}, {"tools": [TOOL], "tool_choice": "required"}, {"service_tier": None}, {"": 1},
    ]  # fmt: skip
    cases += [
        posted(f"odd {sorted(fields)} {place}", chat(**fields), EITHER) for place, fields in enumerate(odd_fields)
    ]
    embed: list[Any] = [
        None, 5, {}, True, [], [None], [{}], [[]], [[1, "x"]], [["x"]], ["x", 5], ["x", ["y"]], [1.5], "", [""],
        ["x"] * 5000, [[-1]], [True], [10**9],
    ]  # fmt: skip
    for place, given in enumerate(embed):
        allowed = REFUSED if place < 12 else EITHER
        body = {"model": "nomic-embed-text", "input": given}
        cases.append(posted(f"embedding input {place}", body, allowed, "/v1/embeddings"))
    for field, value in [("dimensions", 0), ("dimensions", "x"), ("encoding_format", "hex"), ("dimensions", 10**12)]:
        body = {"model": "nomic-embed-text", "input": "x", field: value}
        cases.append(posted(f"embedding {field} {value}", body, EITHER, "/v1/embeddings"))
    prompts: list[Any] = [None, 5, {}, [], [None], [[1]], [1, 2], ["x", "y"], "", [""], True]
    cases += [
        posted(f"prompt {place}", {"model": "llama3.2", "prompt": given}, EITHER, "/v1/completions")
        for place, given in enumerate(prompts)
    ]
    inputs: list[Any] = [
        None, 5, {}, [], [None], [5], [[]], [{}], [{"type": "?"}], [{"role": "user"}],
        [{"role": "?", "content": "x"}],
        [{"type": "function_call"}], [{"type": "function_call_output", "call_id": "x"}], [{"type": "reasoning"}],
        [{"role": "user", "content": [{"type": "input_text"}]}],
        [{"role": "user", "content": [{"type": "input_image"}]}],
        [{"type": "function_call", "call_id": "x", "name": "f", "arguments": "{"}],
    ]  # fmt: skip
    cases += [
        posted(f"responses input {place}", {"model": "llama3.2", "input": given}, EITHER, "/v1/responses")
        for place, given in enumerate(inputs)
    ]
    return cases


PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()


def images() -> list[Case]:
    refused: list[Any] = [
        "http://127.0.0.1/a.png", "https://example.com/a.png", "//example.com/a.png", "file:///etc/passwd",
        "/etc/passwd",
        "ftp://x/a.png", "gopher://127.0.0.1:11434/_x", "http://[::1]/", "http://169.254.169.254/latest/meta-data/",
        "http://127.1/", "http://0x7f000001/", "http://2130706433/", "http://localhost:11434/api/delete",
        "javascript:1",
        "blob:http://x/1", "cid:1", "a.png", "../a.png", "~/.ssh/id_rsa", "\\\\host\\share\\a.png", "C:\\a.png", "",
        " ",
        "data:", "data:,", "data:,hi", "data:image/png", "data:image/png,abc", "data:image/png;base64",
        "data:text/html;base64,PGI+", "data:text/plain;base64,aGk=", "data:application/pdf;base64,JVBERg==",
        "data:image/;base64,AAAA", "data:;base64,AAAA", "data:image/png;base64,###", "data:image/png;base64,A",
        "data:image/png;base64,AAA", "data:image/png;base64,AA=A", "data:image/png;base64,A A=",
        "data:image/png;base64,AAA\u00e9", "data:image/png;base64,AA%3D%3D", "data:image/png;base64,AA-_",
        " data:image/png;base64,AAAA",
        "data:image/png;charset=utf-8;base64,AAAA", "data:image/png;base64;x,AAAA",
        "data:image/png;BASE64;base64,AAAA",
        "data:image/png;base64,AAAA\n", "d\u0430ta:image/png;base64,AAAA", "url(data:image/png;base64,AAAA)",
        "data:image/png;base64,data:image/png;base64,AAAA", "data:video/mp4;base64,AAAA",
        "data://image/png;base64,AAAA",
        None, 5, True, [], {}, ["data:image/png;base64,AAAA"],
    ]  # fmt: skip
    good = [f"data:image/png;base64,{PIXEL}", f"DATA:image/PNG;base64,{PIXEL}", "data:image/svg+xml;base64,PHN2Zz4="]
    urls = [(url, REFUSED) for url in refused] + [(url, FINE) for url in good]
    cases = []
    for place, (url, allowed) in enumerate(urls):
        part = {"type": "image_url", "image_url": {"url": url}}
        cases.append(
            posted(
                f"image {place} {str(url)[:40]!a}",
                chat(model="llava:7b", messages=[{"role": "user", "content": [part]}]),
                allowed,
            )
        )
    for place, part in enumerate([{"url": 5}, "data:image/png;base64,AAAA", {}, {"url": good[0], "detail": "most"}]):
        bad = [{"role": "user", "content": [{"type": "image_url", "image_url": part}]}]
        cases.append(posted(f"image part {place}", chat(model="llava:7b", messages=bad)))
    return cases


BAD_NAMES = [
    "", " ", ".", "..", "/", "//", "../x", "../../etc/passwd", "/etc/passwd", "a/../b", "a//b", "a/b/c/d/e", "a b",
    "a\tb",
    "a\nb", "a\r\nX: y", "a\0b", "a:b:c", ":x", "x:", "x:/", "a@sha256:0", "a?b", "a#b", "a%2fb", "%2e%2e", "a\\b",
    "a;b",
    "a|b", "$(id)", "`id`", "${x}", "{{x}}", "<b>", "'", '"', "a'--", "*", "-x", "--help", "a,b", "a=b", "a+b",
    "a&b", "é",
    "http://x", "https://evil.example/a/b", "evil.example/library/llama3.2", "127.0.0.1:5000/a/b",
    "localhost:5000/a/b",
    "registry.ollama.ai/library/x", "a" * 257, "a" * 100_000, "x:" + "y" * 300, "con/../aux", "\u202ellama", "~root",
]  # fmt: skip
UNKNOWN_NAMES = [
    "nobody",
    "llama3.2:nothing",
    "a/b",
    "a/b:c",
    "hf.co/a/b:Q4_K_M",
    "A" * 200,
    "_x",
    "0",
    "x.y",
    "x--y",
    "a..",
]


def names_and_paths() -> list[Case]:
    unknown = frozenset({404})
    cases = [posted(f"model {place} {name[:40]!a}", chat(model=name)) for place, name in enumerate(BAD_NAMES)]
    cases += [posted(f"model {name[:40]!a}", chat(model=name), unknown) for name in UNKNOWN_NAMES]
    paths = [
        "/v1", "/v1/", "/v2/chat/completions", "/v1/chat", "/v1/chat/completions/", "//v1/models", "/v1//models",
        "/v1/./models",
        "/v1/../v1/models", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/v1/models/..%2f..%2fetc",
        "/v1/models/%00",
        "/v1/models/%ff", "/v1/models/%", "/v1/models/%zz", "/v1/models/" + "a" * 5000, "/v1/models/a?b=c",
        "/v1/models?x=%00",
        "/docs/../../etc/passwd", "/docs/%2e%2e/%2e%2e/etc/passwd", "/docs/nothing.js", "/redoc/x",
        "/openapi.json/x", "/mcp/", "/mcp/x",
        "/.env", "/.git/config", "/api/chat", "/api/delete", "/health/", "/health/live/x", "/metrics/x",
        "/favicon.ico", "*", "x", "/?",
        "/v1/models/llama3.2%0d%0aX:%20y", "/v1/models/" + "%41" * 500, "http://localhost/v1/nothing",
        "http://evil.example/v1/nothing",
        "/v1/models/a/b/c/d/e/f", "/v1/models/evil.example%2fa%2fb", "/v1/models/\\..\\..", "/v1/jobs", "/;/x",
        "/v1/models;x=y",
    ]  # fmt: skip
    cases += [
        Case(f"GET {place} {path[:40]}", request("GET", path), EITHER | {421}) for place, path in enumerate(paths)
    ]
    for method in ("PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "CONNECT", "FOO", "get", "GET" * 100):
        cases.append(Case(f"{method[:9]} {len(method)} {CHAT}", request(method, CHAT), EITHER))
        cases.append(Case(f"{method[:9]} {len(method)} /mcp", request(method, "/mcp"), EITHER | {501}))
    return cases
