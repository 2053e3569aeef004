"""POST /v1/responses with the official client."""

import json
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel

from tests.fake_ollama import FakeOllama, last, line, says, stream
from tests.openai_api.test_chat import PIXEL, calls

WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": False,
}


def test_a_text_is_answered(client: openai.OpenAI, ollama: FakeOllama) -> None:
    answer = client.responses.create(model="llama3.2", input="Hello there", instructions="Be kind.")
    assert answer.output_text == "You said: Hello there"
    assert (answer.status, answer.error, answer.incomplete_details) == ("completed", None, None)
    assert answer.usage
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens > 0
    sent = ollama.sent("/api/chat")[0]["messages"]
    assert [message["role"] for message in sent] == ["system", "user"]


def test_the_events_of_a_stream_are_numbered_and_whole(client: openai.OpenAI) -> None:
    events = list(client.responses.create(model="llama3.2", input="Hello", stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))  # type: ignore[union-attr]
    kinds = [event.type for event in events]
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert kinds[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert set(kinds[4:-4]) == {"response.output_text.delta"}
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    final = events[-1]
    assert final.type == "response.completed"
    assert final.response.output_text == text == "You said: Hello"


def test_each_event_bears_its_name(http: httpx.Client) -> None:
    text = http.post("/v1/responses", json={"model": "llama3.2", "input": "Hello", "stream": True}).text
    blocks = [block.split("\n") for block in text.rstrip().split("\n\n")]
    assert blocks[-1] == ["data: [DONE]"]
    for name, data in blocks[:-1]:
        assert name == "event: " + json.loads(data.removeprefix("data: "))["type"]


def test_the_clients_stream_helper_gathers_the_answer(client: openai.OpenAI) -> None:
    with client.responses.stream(model="llama3.2", input="Hello") as events:
        for _ in events:
            pass
        final = events.get_final_response()
    assert final.output_text == "You said: Hello"


class Answer(BaseModel):
    word: str


def test_parse_gives_an_object_of_the_class_asked_for(client: openai.OpenAI, ollama: FakeOllama) -> None:
    ollama.chat_script = [says('{"word": "sky"}')]
    answer = client.responses.parse(model="llama3.2", input="Hello", text_format=Answer)
    assert answer.output_parsed == Answer(word="sky")
    assert ollama.sent("/api/chat")[0]["format"]["properties"]["word"]["type"] == "string"


def test_calls_are_items_of_their_own(client: openai.OpenAI, ollama: FakeOllama) -> None:
    ollama.chat_script = [stream(line("Let me see."), line(tool_calls=calls("Oslo", "Rome")), last())] * 2
    answer = client.responses.create(model="llama3.2", input="Weather?", tools=[WEATHER])
    assert [item.type for item in answer.output] == ["message", "function_call", "function_call"]
    assert answer.tools[0].type == "function"
    call = answer.output[1]
    assert call.type == "function_call"
    assert json.loads(call.arguments) == {"city": "Oslo"}
    sent = ollama.sent("/api/chat")[0]["tools"][0]["function"]
    assert (sent["name"], sent["parameters"]) == ("get_weather", WEATHER["parameters"])
    with client.responses.stream(model="llama3.2", input="Weather?", tools=[WEATHER]) as events:
        arguments = [event.arguments for event in events if event.type == "response.function_call_arguments.done"]
        streamed = events.get_final_response()
    assert [item.type for item in streamed.output] == ["message", "function_call", "function_call"]
    assert [json.loads(item) for item in arguments] == [{"city": "Oslo"}, {"city": "Rome"}]


def test_a_whole_conversation_can_be_sent_back(client: openai.OpenAI, ollama: FakeOllama) -> None:
    items: list[Any] = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "input_text", "text": "Weather in Oslo and Rome?"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
        {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": '{"city": "Oslo"}'},
        {"type": "function_call", "call_id": "c2", "name": "get_weather", "arguments": '{"city": "Rome"}'},
        {"type": "function_call_output", "call_id": "c1", "output": "rain"},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "sun"}]},
        {
            "type": "message",
            "role": "assistant",
            "id": "m",
            "content": [{"type": "output_text", "text": "Rain and sun."}],
        },
        {"role": "user", "content": "Thanks"},
    ]
    client.responses.create(model="qwen3:8b", input=items, tools=[WEATHER])
    sent = ollama.sent("/api/chat")[0]["messages"]
    assert [message["role"] for message in sent] == [
        "system",
        "user",
        "assistant",
        "tool",
        "tool",
        "assistant",
        "user",
    ]
    assert [call["function"]["arguments"] for call in sent[2]["tool_calls"]] == [{"city": "Oslo"}, {"city": "Rome"}]
    assert sent[2]["thinking"] == "Hm."
    assert [message["content"] for message in sent[3:6]] == ["rain", "sun", "Rain and sun."]


def test_an_image_reaches_ollama(client: openai.OpenAI, ollama: FakeOllama) -> None:
    parts: Any = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "detail": "auto", "image_url": f"data:image/png;base64,{PIXEL}"},
    ]
    client.responses.create(model="llava:7b", input=[{"role": "user", "content": parts}])
    assert ollama.sent("/api/chat")[0]["messages"][0]["images"] == [PIXEL]


def test_reasoning_is_an_item_before_the_message(client: openai.OpenAI, ollama: FakeOllama) -> None:
    answer = client.responses.create(model="qwen3:8b", input="Hello", reasoning={"effort": "high"})
    assert [item.type for item in answer.output] == ["reasoning", "message"]
    reasoning = answer.output[0]
    assert reasoning.type == "reasoning"
    assert reasoning.summary[0].text == "Let me think."
    assert ollama.sent("/api/chat")[0]["think"] == "high"
    with client.responses.stream(model="qwen3:8b", input="Hello") as events:
        pieces = [event.delta for event in events if event.type == "response.reasoning_summary_text.delta"]
        assert [item.type for item in events.get_final_response().output] == ["reasoning", "message"]
    assert "".join(pieces) == "Let me think."


def test_logprobs_come_when_included(client: openai.OpenAI) -> None:
    answer = client.responses.create(
        model="llama3.2", input="Hello", include=["message.output_text.logprobs"], top_logprobs=2
    )
    message = answer.output[0]
    assert message.type == "message"
    part = message.content[0]
    assert part.type == "output_text"
    assert [token.token for token in part.logprobs or ()] == ["You", " said:", " Hello"]


@pytest.mark.parametrize("streams", [False, True])
def test_an_answer_cut_by_its_limit_is_incomplete(client: openai.OpenAI, streams: bool) -> None:
    if streams:
        *_, event = client.responses.create(model="llama3.2", input="Hello", max_output_tokens=1, stream=True)
        assert event.type == "response.incomplete"
        answer = event.response
    else:
        answer = client.responses.create(model="llama3.2", input="Hello", max_output_tokens=1)
    assert answer.status == "incomplete"
    assert answer.incomplete_details
    assert answer.incomplete_details.reason == "max_output_tokens"
    assert answer.output_text == "You"


@pytest.mark.parametrize("streams", [False, True])
def test_counts_and_warnings_come_with_the_end(http: httpx.Client, ollama: FakeOllama, streams: bool) -> None:
    ollama.chat_script = [stream(line(tool_calls=calls("Oslo", "Rome")), last(prompt=9, tokens=7))]
    body = {"model": "llama3.2", "input": "Weather?", "parallel_tool_calls": False, "stream": streams}
    reply = http.post("/v1/responses", json=body)
    if streams:
        answer = json.loads(reply.text.split("\n\n")[-3].partition("\ndata: ")[2])["response"]
    else:
        answer = reply.json()
    assert answer["warnings"] == ["Tool calls after the first were left out, since parallel_tool_calls is false: 1."]
    assert (answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]) == (9, 7)


def test_a_break_in_the_middle_is_a_failed_response(http: httpx.Client, ollama: FakeOllama) -> None:
    ollama.chat_script = [stream(line("Half"), {"error": "CUDA error"})]
    text = http.post("/v1/responses", json={"model": "llama3.2", "input": "Hello", "stream": True}).text
    names = [block.partition("\n")[0] for block in text.split("\n\n")[:-1]]
    assert names[0] == "event: response.created"
    assert names[-2:] == ["event: response.failed", "event: error"]


def test_an_alias_answers_under_its_own_name(client: openai.OpenAI) -> None:
    assert client.responses.create(model="gpt-4o-mini", input="Hello").model == "gpt-4o-mini"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"input": []}, "input"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0]"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "x"}]}]}, "input[0].content[0]"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "https://x/a.png"}]}]},
            "input[0].content[0].image_url",
        ),
        ({"tool_choice": {"type": "function", "name": "nothing"}, "tools": [WEATHER]}, "tool_choice"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
        ({"temperature": 5}, "temperature"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(http: httpx.Client, change: dict[str, Any], param: str) -> None:
    reply = http.post("/v1/responses", json={"model": "llama3.2", "input": "Hello"} | change)
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == param


def test_what_does_not_change_the_answer_is_ignored(http: httpx.Client) -> None:
    body = {"model": "llama3.2", "input": "Hello", "store": True, "truncation": "auto", "background": False}
    body |= {"include": ["reasoning.encrypted_content"], "text": {"verbosity": "low"}, "metadata": {"a": "b"}}
    answer = http.post("/v1/responses", json=body).json()
    assert (answer["status"], answer["store"], answer["metadata"]) == ("completed", False, {"a": "b"})
