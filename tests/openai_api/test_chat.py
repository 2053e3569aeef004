"""POST /v1/chat/completions with the official client."""

import json
import time
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel

from tests.fake_ollama import FakeOllama, last, line, says, stream

HELLO: list[Any] = [{"role": "user", "content": "Hello there"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"anyOf": [{"type": "string"}, {"type": "null"}]}},
            "required": ["city"],
        },
    },
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def calls(*names: str) -> list[dict[str, Any]]:
    return [{"function": {"name": name, "arguments": {"city": name}}} for name in names]


def chunks_of(text: str) -> list[Any]:
    """The JSON of each `data:` line but the last, which must be [DONE]."""
    data = [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]
    assert data[-1] == "[DONE]"
    return [json.loads(item) for item in data[:-1]]


def test_an_answer_has_openais_shape(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="llama3.2", messages=HELLO)
    assert answer.id.startswith("chatcmpl-")
    assert answer.object == "chat.completion"
    choice = answer.choices[0]
    assert (choice.message.content, choice.finish_reason) == ("You said: Hello there", "stop")
    assert answer.usage
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


def test_fields_that_clients_expect_are_there_even_when_null(http: httpx.Client) -> None:
    choice = http.post("/v1/chat/completions", json={"model": "llama3.2", "messages": HELLO}).json()["choices"][0]
    assert choice["logprobs"] is None
    assert choice["message"]["refusal"] is None
    assert choice["message"]["annotations"] == []


def test_a_stream_begins_with_the_role_and_ends_with_done(http: httpx.Client) -> None:
    reply = http.post("/v1/chat/completions", json={"model": "llama3.2", "messages": HELLO, "stream": True})
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.headers["cache-control"] == "no-cache"
    chunks = chunks_of(reply.text)
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[1:-1]]
    assert "".join(delta["content"] for delta in deltas) == "You said: Hello there"
    assert len(deltas) > 2
    assert chunks[-1]["choices"][0]["delta"] == {}
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert not any("usage" in chunk for chunk in chunks)


def scripted() -> Any:
    """An answer with one of everything."""
    token = {"token": "Hi", "logprob": -0.5, "bytes": [72, 105]}
    lines = [line(thinking="H"), line("Hi", thinking="m", logprobs=[token]), line(" you")]
    lines += [line(tool_calls=calls("Oslo")), line(tool_calls=calls("Bonn"))]
    return stream(*lines, last(tool_calls=calls("Rome"), prompt=9, prompt_eval_cached_count=4))


def called(city: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": city, "arguments": f'{{"city":"{city}"}}'}}


def calls_in(message: dict[str, Any]) -> list[dict[str, Any]]:
    return message.get("tool_calls", [])


TOKENS = {
    "content": [{"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": []}],
    "refusal": None,
}
COUNTS = {
    "prompt_tokens": 9,
    "completion_tokens": 7,
    "total_tokens": 16,
    "prompt_tokens_details": {"cached_tokens": 4},
}


@pytest.mark.parametrize("counted", [False, True])
def test_each_chunk_of_a_stream_is_whole(http: httpx.Client, ollama: FakeOllama, counted: bool) -> None:
    ollama.chat_script = [scripted()]
    body = {"model": "gpt-4o-mini", "messages": HELLO, "stream": True, "stream_options": {"include_usage": counted}}
    body |= {"tools": [WEATHER], "logprobs": True}
    before = int(time.time())
    chunks = chunks_of(http.post("/v1/chat/completions", json=body).text)
    ids = {(chunk.pop("id"), chunk.pop("created")) for chunk in chunks}
    [(chunk_id, created)] = ids
    assert chunk_id.startswith("chatcmpl-")
    assert before <= created <= time.time()
    found = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    call_ids = [call.pop("id") for delta in found for call in calls_in(delta)]
    assert len(set(call_ids)) == 3
    deltas = [
        ({"role": "assistant", "content": ""}, None),
        ({"reasoning_content": "H", "reasoning": "H"}, None),
        ({"content": "Hi", "reasoning_content": "m", "reasoning": "m"}, TOKENS),
        ({"content": " you"}, None),
        ({"tool_calls": [{"index": 0, **called("Oslo")}]}, None),
        ({"tool_calls": [{"index": 1, **called("Bonn")}]}, None),
        ({"tool_calls": [{"index": 2, **called("Rome")}]}, None),
        ({}, None),
    ]
    shared = {"object": "chat.completion.chunk", "model": "gpt-4o-mini"}
    usage = {"usage": None} if counted else {}
    expected = [
        shared | {"choices": [{"index": 0, "delta": delta, "logprobs": tokens, "finish_reason": None}]} | usage
        for delta, tokens in deltas
    ]
    expected[-1]["choices"][0]["finish_reason"] = "tool_calls"
    if counted:
        expected.append(shared | {"choices": [], "usage": COUNTS})
    assert chunks == expected


def test_a_whole_answer_has_all_of_it(http: httpx.Client, ollama: FakeOllama) -> None:
    ollama.chat_script = [scripted()]
    body = {"model": "gpt-4o-mini", "messages": HELLO, "tools": [WEATHER], "logprobs": True}
    before = int(time.time())
    answer = http.post("/v1/chat/completions", json=body).json()
    assert answer.pop("id").startswith("chatcmpl-")
    assert before <= answer.pop("created") <= time.time()
    message = answer["choices"][0]["message"]
    assert len({call.pop("id") for call in calls_in(message)}) == 3
    assert answer == {
        "object": "chat.completion",
        "model": "gpt-4o-mini",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Hi you",
                    "refusal": None,
                    "annotations": [],
                    "reasoning_content": "Hm",
                    "reasoning": "Hm",
                    "tool_calls": [called("Oslo"), called("Bonn"), called("Rome")],
                },
                "logprobs": TOKENS,
                "finish_reason": "tool_calls",
            }
        ],
        "usage": COUNTS,
    }


@pytest.mark.parametrize(("made", "content"), [(calls("Oslo"), None), ([], "")])
def test_content_is_null_only_beside_calls(
    http: httpx.Client, ollama: FakeOllama, made: list[Any], content: str | None
) -> None:
    ollama.chat_script = [stream(last(tool_calls=made))]
    answer = http.post("/v1/chat/completions", json={"model": "llama3.2", "messages": HELLO}).json()
    message = answer["choices"][0]["message"]
    assert message["content"] == content
    assert "reasoning" not in message
    assert "prompt_tokens_details" not in answer["usage"]


def test_what_says_nothing_makes_no_chunk(http: httpx.Client, ollama: FakeOllama) -> None:
    ollama.chat_script = [stream(line('{"name": "get_weather", '), line('"arguments": {}}'), last())]
    body = {"model": "llama3.2", "messages": HELLO, "tools": [WEATHER], "tool_choice": "required", "stream": True}
    chunks = chunks_of(http.post("/v1/chat/completions", json=body).text)
    assert [list(chunk["choices"][0]["delta"]) for chunk in chunks] == [["role", "content"], ["tool_calls"], []]


@pytest.mark.parametrize("streams", [False, True])
def test_warnings_come_with_the_end_of_an_answer(http: httpx.Client, ollama: FakeOllama, streams: bool) -> None:
    ollama.chat_script = [stream(line(tool_calls=calls("Oslo", "Rome")), last())]
    body = {"model": "llama3.2", "messages": HELLO, "parallel_tool_calls": False, "stream": streams}
    reply = http.post("/v1/chat/completions", json=body)
    found = chunks_of(reply.text)[-1] if streams else reply.json()
    assert found["warnings"] == ["Tool calls after the first were left out, since parallel_tool_calls is false: 1."]


def test_usage_comes_last_when_asked_for(http: httpx.Client) -> None:
    body = {"model": "llama3.2", "messages": HELLO, "stream": True, "stream_options": {"include_usage": True}}
    chunks = chunks_of(http.post("/v1/chat/completions", json=body).text)
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] > 0
    assert all(chunk["usage"] is None for chunk in chunks[:-1])


def test_all_text_leaves_in_ascii_on_one_line(http: httpx.Client, ollama: FakeOllama) -> None:
    text = "Grüße \u2028 \u0085 \U0001f600"
    ollama.chat_script = [says(text)]
    reply = http.post("/v1/chat/completions", json={"model": "llama3.2", "messages": HELLO, "stream": True})
    assert reply.content.isascii()
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks_of(reply.text)) == text


def test_the_clients_stream_helper_gathers_the_answer(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="llama3.2", messages=HELLO) as events:
        kinds = {event.type for event in events}
        final = events.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert final.choices[0].message.content == "You said: Hello there"


class Answer(BaseModel):
    word: str
    count: int


def test_parse_gives_an_object_of_the_class_asked_for(client: openai.OpenAI, ollama: FakeOllama) -> None:
    ollama.chat_script = [says('{"word": "sky", "count": 2}')]
    parsed = client.chat.completions.parse(model="llama3.2", messages=HELLO, response_format=Answer)
    assert parsed.choices[0].message.parsed == Answer(word="sky", count=2)
    sent = ollama.sent("/api/chat")[0]["format"]
    assert sent["properties"]["count"]["type"] == "integer"


def test_json_mode_asks_ollama_for_json(client: openai.OpenAI, ollama: FakeOllama) -> None:
    client.chat.completions.create(model="llama3.2", messages=HELLO, response_format={"type": "json_object"})
    assert ollama.sent("/api/chat")[0]["format"] == "json"


def test_tool_calls_come_with_ids_and_arguments_as_text(client: openai.OpenAI, ollama: FakeOllama) -> None:
    ollama.chat_script = [stream(line(tool_calls=calls("Oslo", "Rome")), last())]
    choice = client.chat.completions.create(model="llama3.2", messages=HELLO, tools=[WEATHER]).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    found = choice.message.tool_calls or []
    assert [json.loads(call.function.arguments) for call in found if call.type == "function"] == [
        {"city": "Oslo"},
        {"city": "Rome"},
    ]
    assert len({call.id for call in found}) == 2
    assert ollama.sent("/api/chat")[0]["tools"] == [WEATHER]


def test_streamed_tool_calls_count_their_index_up(client: openai.OpenAI, ollama: FakeOllama) -> None:
    ollama.chat_script = [
        stream(line(tool_calls=calls("Oslo")), line(tool_calls=calls("Rome", "Bern")), line(""), last())
    ]
    chunks = client.chat.completions.create(model="llama3.2", messages=HELLO, tools=[WEATHER], stream=True)
    deltas = [choice for chunk in chunks for choice in chunk.choices]
    found = [call for choice in deltas for call in choice.delta.tool_calls or ()]
    assert [call.index for call in found] == [0, 1, 2]
    assert deltas[-1].finish_reason == "tool_calls"


def test_a_tools_result_goes_back_with_its_calls_id(client: openai.OpenAI, ollama: FakeOllama) -> None:
    call: Any = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'},
    }
    messages: list[Any] = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ]
    client.chat.completions.create(model="llama3.2", messages=messages, tools=[WEATHER])
    sent = ollama.sent("/api/chat")[0]["messages"]
    assert sent[1]["tool_calls"][0]["function"]["arguments"] == {"city": "Oslo"}
    assert (sent[2]["tool_call_id"], sent[2]["content"]) == ("call_1", "rain")


def test_a_named_tool_must_be_called(client: openai.OpenAI, ollama: FakeOllama) -> None:
    choice = client.chat.completions.create(
        model="llama3.2",
        messages=HELLO,
        tools=[WEATHER],
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
    ).choices[0]
    assert choice.finish_reason == "tool_calls"
    call = (choice.message.tool_calls or [])[0]
    assert call.type == "function"
    assert call.function.name == "get_weather"


def test_an_image_reaches_ollama_as_its_bytes(client: openai.OpenAI, ollama: FakeOllama) -> None:
    parts: Any = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
    ]
    client.chat.completions.create(model="llava:7b", messages=[{"role": "user", "content": parts}])
    message = ollama.sent("/api/chat")[0]["messages"][0]
    assert (message["content"], message["images"]) == ("What is this?", [PIXEL])


def test_reasoning_comes_apart_from_the_content(http: httpx.Client) -> None:
    body = {"model": "qwen3:8b", "messages": HELLO, "reasoning_effort": "high"}
    message = http.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]
    assert message["reasoning_content"] == message["reasoning"] == "Let me think."
    assert message["content"] == "You said: Hello there"


def test_logprobs_come_with_each_token(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="llama3.2", messages=HELLO, logprobs=True, top_logprobs=2)
    logprobs = answer.choices[0].logprobs
    assert logprobs
    assert "".join(token.token for token in logprobs.content or ()) == "You said: Hello there"
    assert len((logprobs.content or ())[0].top_logprobs) == 2


def test_settings_of_a_request_reach_ollama_under_its_names(client: openai.OpenAI, ollama: FakeOllama) -> None:
    client.chat.completions.create(
        model="llama3.2",
        messages=HELLO,
        max_completion_tokens=3,
        max_tokens=9,
        temperature=0.5,
        top_p=0.9,
        seed=7,
        stop=["END"],
        presence_penalty=0.1,
        frequency_penalty=0.2,
        extra_body={"top_k": 5, "num_ctx": 2048, "keep_alive": "10m", "options": {"num_thread": 2}},
    )
    sent = ollama.sent("/api/chat")[0]
    assert (
        sent["options"].items()
        >= {
            "num_predict": 3,
            "temperature": 0.5,
            "top_p": 0.9,
            "seed": 7,
            "stop": ["END"],
            "presence_penalty": 0.1,
            "frequency_penalty": 0.2,
            "top_k": 5,
            "num_ctx": 2048,
            "num_thread": 2,
        }.items()
    )
    assert sent["keep_alive"] == "10m"


def test_an_answer_cut_by_its_limit_says_so(client: openai.OpenAI) -> None:
    choice = client.chat.completions.create(model="llama3.2", messages=HELLO, max_tokens=2).choices[0]
    assert (choice.message.content, choice.finish_reason) == ("You said:", "length")


def test_what_does_not_change_the_answer_is_ignored(http: httpx.Client) -> None:
    body = {"model": "llama3.2", "messages": HELLO, "n": 1, "logit_bias": {}, "user": "u", "store": True}
    body |= {"metadata": {"a": "b"}, "service_tier": "auto", "prompt_cache_key": "k", "something": {"new": 1}}
    body |= {"modalities": ["text"]}
    assert http.post("/v1/chat/completions", json=body).status_code == 200


def test_an_alias_answers_under_its_own_name(client: openai.OpenAI, ollama: FakeOllama) -> None:
    assert client.chat.completions.create(model="gpt-4o-mini", messages=HELLO).model == "gpt-4o-mini"
    assert ollama.sent("/api/chat")[0]["model"] == "llama3.2"
    chunks = client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, stream=True)
    assert {chunk.model for chunk in chunks} == {"gpt-4o-mini"}


@pytest.mark.anyio
async def test_the_asynchronous_client_works_too(url: str) -> None:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client:
        answer = await client.chat.completions.create(model="llama3.2", messages=HELLO)
        assert answer.choices[0].message.content == "You said: Hello there"
        text = ""
        async for chunk in await client.chat.completions.create(model="llama3.2", messages=HELLO, stream=True):
            text += chunk.choices[0].delta.content or ""
        assert text == "You said: Hello there"
