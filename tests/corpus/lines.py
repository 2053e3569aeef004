"""Lines that no Ollama sends."""

import json
from typing import Any

from tests.fake_ollama import last, line


def upstream_lines() -> dict[str, bytes]:
    """The middle of an answer by name; the right beginning and end go around it."""
    good = line("x")
    texts: dict[str, bytes] = {
        "NaN": b'{"message": {"content": NaN}}', "half": b'{"message"', "two": b"{}{}", "a number": b"5",
        "null": b"null", "a text": b'"x"', "a list": b"[]",
        "true": b"true", "bad UTF-8": b'{"message": {"content": "\xff"}}',
        "a lone surrogate": b'{"message": {"content": "\\ud800"}}', "SSE": b"data: {}",
        "HTML": b"<html>", "UTF-16": '{"message": {}}'.encode("utf-16"), "NULs": bytes(100), "deep": b"[" * 5000,
        "a huge number": b'{"eval_count": ' + b"9" * 5000 + b"}",
        "a name twice": b'{"message": {"content": "x"}, "message": {"content": "y"}, "done": false}',
        "an empty object": b"{}", "CR alone": b"{}\r{}",
    }  # fmt: skip
    wrong: list[Any] = [None, 5, -1, 1.5, True, "x", "", [], [1], {}, {"a": 1}, [[]], [None], [{}], 2**62, -(2**62)]
    for value in wrong:
        shown = json.dumps(value)
        for field in ("content", "thinking", "tool_calls", "role"):
            message = {"role": "assistant", "content": "x", field: value}
            texts[f"message.{field} {shown}"] = json.dumps({**good, "message": message}).encode()
        for field in ("message", "model", "done", "logprobs", "error", "created_at"):
            texts[f"{field} {shown}"] = json.dumps({**good, field: value}).encode()
        for field in (
            "done_reason",
            "eval_count",
            "prompt_eval_count",
            "eval_duration",
            "total_duration",
            "load_duration",
            "prompt_eval_cached_count",
        ):
            texts[f"at the end {field} {shown}"] = json.dumps({**last(), field: value}).encode()
        for place, call in enumerate(({"function": value}, {"id": value, "function": {"name": "f", "arguments": {}}},
        {"function": {"name": value}},
                                      {"function": {"name": "f", "arguments": value}})):  # fmt: skip
            texts[f"tool call {place} {shown}"] = json.dumps(line(tool_calls=[call])).encode()
        for token in (
            {"token": value},
            {"token": "x", "logprob": value},
            {"token": "x", "bytes": value},
            {"token": "x", "top_logprobs": value},
        ):
            texts[f"log probability {json.dumps(token)}"] = json.dumps(line("x", logprobs=[token])).encode()
    return texts
