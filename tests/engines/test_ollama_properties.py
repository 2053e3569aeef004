"""The parsers and translators of the Ollama engine under whatever comes, by hypothesis."""

import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ollama_mcp.chat import ChatRequest, Delta, Done
from ollama_mcp.engines.ollama_failures import failure
from ollama_mcp.engines.ollama_wire import ChatReader, chat_body
from ollama_mcp.engines.transport import read_lines
from ollama_mcp.errors import ConfigurationError, InvalidRequest, ServiceError
from ollama_mcp.settings import parse_ollama_host
from ollama_mcp.strict_json import loads
from tests.fake_ollama import last, line
from tests.harness import each

settings.register_profile("quick", deadline=None, max_examples=100)
QUICK = settings.get_profile("quick")

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)


def split(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted(place % (len(data) + 1) for place in places)
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


@given(
    st.lists(
        st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=30).map(str.encode),
        max_size=8,
    ),
    st.lists(st.integers(0, 500), max_size=20),
    st.sampled_from([b"\n", b"\r\n", b"\n\n"]),
)
@QUICK
def test_lines_are_the_same_wherever_the_bytes_are_split(lines: list[bytes], places: list[int], end: bytes) -> None:
    async def read() -> list[bytes]:
        async def pieces() -> AsyncIterator[bytes]:
            for piece in split(end.join(lines), places):
                yield piece

        return [found async for found in each(read_lines(httpx.Response(200, content=pieces())))]

    assert anyio.run(read) == [stripped for text in lines if (stripped := text.strip())]


FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.floats(0, 2),
        "max_tokens": st.integers(1, 2**31 - 1),
        "stop": st.lists(TEXT, max_size=3) | TEXT,
        "seed": st.integers(-(2**63), 2**63 - 1),
        "keep_alive": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-1, 10**6),
        "think": st.booleans() | st.sampled_from(["low", "medium", "high", "max"]),
        "reasoning_effort": st.sampled_from(["none", "minimal", "low", "medium", "high", "xhigh", "max"]),
        "options": st.dictionaries(
            st.sampled_from(["num_batch", "num_gpu", "mirostat", "x"]) | TEXT, JSON, max_size=3
        ),
        "response_format": st.builds(
            lambda schema: {"type": "json_schema", "json_schema": {"schema": schema}},
            st.dictionaries(TEXT, JSON, max_size=3),
        ),
        "tools": st.lists(
            st.builds(
                lambda name, schema: {"type": "function", "function": {"name": name, "parameters": schema}},
                st.sampled_from(["f", "g"]),
                st.dictionaries(TEXT, JSON, max_size=3),
            ),
            min_size=1,
            max_size=3,
        ),
        "tool_choice": st.sampled_from(["auto", "none", "required"]),
        "parallel_tool_calls": st.booleans(),
        "num_ctx": st.integers(256, 2**24),
    },
)
CALLS = st.lists(
    st.builds(
        lambda name, text: {"id": "1", "function": {"name": name, "arguments": text}},
        TEXT,
        TEXT | JSON.map(json.dumps),
    ),
    min_size=1,
    max_size=3,
)
MESSAGES = st.lists(
    st.builds(lambda role, text: {"role": role, "content": text}, st.sampled_from(["system", "user", "tool"]), TEXT)
    | st.builds(lambda calls: {"role": "assistant", "tool_calls": calls}, CALLS),
    min_size=1,
    max_size=5,
)


@given(MESSAGES, FIELDS)
@QUICK
def test_a_valid_request_becomes_json_or_is_refused_by_name(messages: list[Any], fields: dict[str, Any]) -> None:
    try:
        request = ChatRequest.model_validate({"model": "m", "messages": messages} | fields)
    except ValidationError:
        return
    try:
        body = chat_body(request)
    except InvalidRequest:
        return
    assert orjson.loads(orjson.dumps(body))["messages"]


LINE = (
    JSON.map(json.dumps).map(str.encode)
    | st.binary(max_size=40)
    | st.builds(
        lambda field, value: json.dumps(line("x") | {field: value}).encode(),
        st.sampled_from(["message", "done", "error", "logprobs", "model", "done_reason"]),
        JSON,
    )
    | st.builds(
        lambda field, value: json.dumps({"message": {"content": "x", field: value}}).encode(),
        st.sampled_from(["content", "thinking", "tool_calls"]),
        JSON,
    )
    | st.builds(
        lambda value: json.dumps(line(tool_calls=[{"function": {"name": "f", "arguments": value}}])).encode(), JSON
    )
    | st.builds(lambda value: json.dumps(line("x", logprobs=[value])).encode(), JSON)
    | st.builds(
        lambda field, value: json.dumps(last() | {field: value}).encode(),
        st.sampled_from(["eval_count", "prompt_eval_count", "eval_duration", "load_duration"]),
        JSON,
    )
)


@given(st.lists(LINE, max_size=6), st.booleans())
@QUICK
def test_whatever_lines_come_they_are_events_or_one_of_our_errors(lines: list[bytes], forced: bool) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    asked = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    asked |= {"tools": tools, "tool_choice": "required"} if forced else {}
    reader = ChatReader(ChatRequest.model_validate(asked), lambda: "call_1")
    try:
        events = [event for text in lines for event in reader.read(text)]
    except ServiceError:
        return
    assert all(isinstance(event, Delta | Done) for event in events)


@given(st.integers(201, 599), JSON.map(json.dumps).map(str.encode) | st.binary(max_size=60), TEXT | st.none())
@QUICK
def test_every_failure_of_ollama_is_one_of_our_errors(status: int, body: bytes, header: str | None) -> None:
    error = failure(status, body, model="m", location=header, retry_after=header)
    assert isinstance(error, ServiceError)
    assert len(error.message) < 1500


@given(st.binary(max_size=80) | JSON.map(json.dumps).map(str.encode))
@QUICK
def test_strict_json_reads_what_the_standard_reads_or_refuses_it(raw: bytes) -> None:
    try:
        value = loads(raw)
    except InvalidRequest:
        return
    assert value == json.loads(raw)


@given(
    st.text(max_size=30)
    | st.builds(
        "{}{}{}{}".format,
        st.sampled_from(["", "http://", "https://", "HTTP://", "ftp://", "://"]),
        st.sampled_from(["", "localhost", "127.0.0.1", "0.0.0.0", "[::1]", "[::]", "::1", "a b", "user@host", "é"]),
        st.sampled_from(["", ":", ":11434", ":0", ":99999", ":x", ":-1", ":٣"]),
        st.sampled_from(["", "/", "/a/b/", "?x", "#y", "\n"]),
    )
)
@QUICK
def test_any_spelling_of_ollamas_address_is_a_url_or_an_error_of_the_settings(text: str) -> None:
    try:
        found = parse_ollama_host(text)
    except ConfigurationError:
        return
    url = httpx.URL(found)
    assert url.scheme in ("http", "https")
    assert url.host
    assert url.port is None or 0 < url.port < 65536
    assert parse_ollama_host(found) == found


@pytest.mark.parametrize("name", [[], {}, None, 5])
def test_a_call_whose_name_is_no_text_is_no_call(name: object) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    asked = {"model": "m", "messages": [{"role": "user", "content": "x"}], "tools": tools, "tool_choice": "required"}
    reader = ChatReader(ChatRequest.model_validate(asked), lambda: "call_1")
    reader.read(json.dumps(line(json.dumps({"name": name, "arguments": {}}))).encode())
    with pytest.raises(ServiceError, match="did not call a tool"):
        reader.read(json.dumps(last()).encode())
