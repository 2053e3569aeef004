"""What goes to Ollama and what comes back, as tables."""

import itertools
import json
import re
from typing import Any

import pytest

from ollama_mcp.chat import ChatEvent, ChatRequest, Delta, Done, ToolCall
from ollama_mcp.engines.base import EmbedRequest
from ollama_mcp.engines.ollama_embed import embed_body, embed_result
from ollama_mcp.engines.ollama_failures import failure
from ollama_mcp.engines.ollama_models import details_of, models_of, progress_of, pull_failure, running_of
from ollama_mcp.engines.ollama_wire import ChatReader, chat_body
from ollama_mcp.errors import (
    ContextLengthExceeded,
    EngineBusy,
    EngineFailed,
    EngineRejected,
    GenerationBroken,
    InvalidRequest,
    MalformedAnswer,
    ModelNotFound,
    ServiceError,
    Unsupported,
)
from tests.fake_ollama import last, line

HELLO = [{"role": "user", "content": "Hello"}]
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"anyOf": [{"$ref": "#/$defs/name"}, {"type": "null"}]}, "days": {"minimum": 1}},
    "required": ["city"],
    "$defs": {"name": {"type": "string"}},
}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "Of a city", "parameters": PARAMETERS}}
CLOCK = {"type": "function", "function": {"name": "clock"}}


def request(**fields: Any) -> ChatRequest:
    return ChatRequest.model_validate({"model": "llama3.2", "messages": HELLO} | fields)


def body(**fields: Any) -> dict[str, Any]:
    return chat_body(request(**fields))


def read(*lines: dict[str, Any], **fields: Any) -> list[ChatEvent]:
    ids = (f"call_{number}" for number in itertools.count())
    reader = ChatReader(request(**fields), lambda: next(ids))
    return [event for found in lines for event in reader.read(json.dumps(found).encode())]


def calls_of(events: list[ChatEvent]) -> list[ToolCall]:
    return [call for event in events if isinstance(event, Delta) for call in event.tool_calls]


def end_of(events: list[ChatEvent]) -> Done:
    assert isinstance(events[-1], Done)
    return events[-1]


# Requests


def test_a_plain_request_forbids_truncation_and_sets_nothing_else():
    assert body() == {
        "model": "llama3.2",
        "messages": HELLO,
        "stream": True,
        "truncate": False,
        "shift": False,
    }


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({"max_tokens": 5}, {"options": {"num_predict": 5}}),
        ({"stop": "END"}, {"options": {"stop": ["END"]}}),
        ({"temperature": 0.0, "seed": 0}, {"options": {"temperature": 0.0, "seed": 0}}),
        ({"num_ctx": 8192, "top_k": 3}, {"options": {"num_ctx": 8192, "top_k": 3}}),
        ({"options": {"num_gpu": 1, "use_mmap": False}}, {"options": {"num_gpu": 1, "use_mmap": False}}),
        ({"options": {"top_p": 1, "seed": 4}, "top_p": 0.5}, {"options": {"top_p": 0.5, "seed": 4}}),
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": {"type": "json_object"}}, {"format": "json"}),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": PARAMETERS}}},
            {"format": PARAMETERS},
        ),
        ({"think": True}, {"think": True}),
        ({"think": "max"}, {"think": "max"}),
        ({"think": False, "reasoning_effort": "high"}, {"think": False}),
        ({"reasoning_effort": "none"}, {"think": False}),
        ({"reasoning_effort": "minimal"}, {"think": "low"}),
        ({"reasoning_effort": "low"}, {"think": "low"}),
        ({"reasoning_effort": "medium"}, {"think": "medium"}),
        ({"reasoning_effort": "high"}, {"think": "high"}),
        ({"reasoning_effort": "max"}, {"think": "max"}),
        ({"reasoning_effort": "xhigh"}, {"think": "max"}),
        ({"keep_alive": 0}, {"keep_alive": 0}),
        ({"keep_alive": "5m"}, {"keep_alive": "5m"}),
        ({"logprobs": True}, {"logprobs": True}),
        ({"logprobs": True, "top_logprobs": 0}, {"logprobs": True, "top_logprobs": 0}),
        ({"logprobs": False}, {}),
        ({"tools": [WEATHER]}, {"tools": [WEATHER]}),
        ({"tools": [WEATHER], "tool_choice": "auto"}, {"tools": [WEATHER]}),
        ({"tools": [WEATHER], "tool_choice": "none"}, {}),
    ],
)
def test_a_field_becomes_its_counterpart_at_ollama(fields: dict[str, Any], sent: dict[str, Any]):
    assert body(**fields) == body() | sent


@pytest.mark.parametrize(
    ("message", "sent"),
    [
        ({"role": "developer", "content": "Be kind"}, {"role": "system", "content": "Be kind"}),
        (
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "user", "content": "ab"},
        ),
        (
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is it?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,L2V0Yy9ob3N0cw=="}},
                ],
            },
            {"role": "user", "content": "What is it?", "images": ["L2V0Yy9ob3N0cw=="]},
        ),
        (
            {"role": "assistant", "content": "Yes", "reasoning_content": "Hm"},
            {"role": "assistant", "content": "Yes", "thinking": "Hm"},
        ),
        (
            {"role": "tool", "content": "42", "tool_call_id": "unknown", "name": "sum"},
            {"role": "tool", "content": "42", "tool_call_id": "unknown", "tool_name": "sum"},
        ),
    ],
)
def test_a_message_becomes_its_counterpart_at_ollama(message: dict[str, Any], sent: dict[str, Any]):
    assert body(messages=[message])["messages"] == [sent]


def called(name: str, arguments: str, call_id: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_earlier_tool_calls_keep_their_ids_and_name_their_results():
    messages = [
        *HELLO,
        {"role": "assistant", "tool_calls": [called("weather", '{"city": "Ulm"}', "a"), called("clock", "", "b")]},
        {"role": "tool", "content": "12:00", "tool_call_id": "b"},
        {"role": "tool", "content": "rain", "tool_call_id": "a"},
    ]
    assert body(messages=messages)["messages"][1:] == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"id": "a", "function": {"index": 0, "name": "weather", "arguments": {"city": "Ulm"}}},
                {"id": "b", "function": {"index": 1, "name": "clock", "arguments": {}}},
            ],
        },
        {"role": "tool", "content": "12:00", "tool_call_id": "b", "tool_name": "clock"},
        {"role": "tool", "content": "rain", "tool_call_id": "a", "tool_name": "weather"},
    ]


def test_results_find_the_calls_of_any_earlier_message():
    messages = [
        {"role": "assistant", "tool_calls": [called("weather", " ", "a")]},
        {"role": "assistant", "tool_calls": [called("clock", "{}", "b")]},
        {"role": "tool", "content": "rain", "tool_call_id": "a"},
        {"role": "tool", "content": "12:00", "name": "clock"},
        {"role": "user", "content": "Thanks", "name": "Ada"},
    ]
    assert body(messages=messages)["messages"][2:] == [
        {"role": "tool", "content": "rain", "tool_call_id": "a", "tool_name": "weather"},
        {"role": "tool", "content": "12:00", "tool_name": "clock"},
        {"role": "user", "content": "Thanks"},
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [('{"city": ', "is not valid JSON"), ("[1]", "must be a JSON object"), ('"Ulm"', "must be a JSON object")],
)
def test_arguments_that_are_not_a_json_object_are_named(arguments: str, says: str):
    messages = [*HELLO, {"role": "assistant", "tool_calls": [called("weather", arguments, "a")]}]
    param = "messages[1].tool_calls[0].function.arguments"
    with pytest.raises(InvalidRequest, match=f"{re.escape(param)} {says}") as caught:
        body(messages=messages)
    assert caught.value.param == param


def test_every_named_option_goes_by_its_name():
    same = dict.fromkeys(("seed", "num_ctx", "top_k", "repeat_last_n"), 300)
    same |= dict.fromkeys(
        ("temperature", "top_p", "presence_penalty", "frequency_penalty", "min_p", "typical_p", "repeat_penalty"), 0.5
    )
    assert body(**same, max_tokens=3, stop=["a"])["options"] == same | {"num_predict": 3, "stop": ["a"]}


INTEGERS = (
    "draft_num_predict main_gpu num_batch num_ctx num_gpu num_keep num_predict num_thread repeat_last_n seed top_k"
)
NUMBERS = "frequency_penalty min_p presence_penalty repeat_penalty temperature top_p typical_p"


@pytest.mark.parametrize("name", INTEGERS.split())
def test_an_integer_may_have_64_bits_and_no_fraction(name: str):
    for value in (-(2**63), 2**63 - 1):
        assert body(options={name: value})["options"] == {name: value}
    for value in (-(2**63) - 1, 2**63, 1.0):
        with pytest.raises(InvalidRequest, match=f"{name} must be an integer of at most 64 bits"):
            body(options={name: value})


@pytest.mark.parametrize("name", NUMBERS.split())
def test_a_number_may_have_a_fraction(name: str):
    for value in (1, 0.5):
        assert body(options={name: value})["options"] == {name: value}
    for wrong in ("1", float("inf")):
        with pytest.raises(InvalidRequest, match=f"{name} must be a number"):
            body(options={name: wrong})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_cxt": 4096}, "did you mean num_ctx"),
        ({"num_pred": 1}, r"did you mean num_predict or num_thread or num_gpu\?"),
        ({"zzz": 1}, "the known ones are draft_num_predict, frequency_penalty, .*temperature"),
        ({"num_ctx": "4096"}, "num_ctx must be an integer"),
        ({"num_ctx": True}, "num_ctx must be an integer"),
        ({"seed": 2**63}, "seed must be an integer"),
        ({"temperature": float("nan")}, "temperature must be a number"),
        ({"temperature": False}, "temperature must be a number"),
        ({"stop": "END"}, "stop must be a list of texts"),
        ({"stop": [1]}, "stop must be a list of texts"),
        ({"use_mmap": 1}, "use_mmap must be true or false"),
    ],
)
def test_a_wrong_option_is_refused_since_ollama_would_ignore_or_choke_on_it(options: dict[str, Any], said: str):
    with pytest.raises(InvalidRequest, match=said) as caught:
        body(options=options)
    assert caught.value.param == f"options.{next(iter(options))}"


def test_a_named_tool_is_forced_by_the_form_of_the_answer():
    choice = {"type": "function", "function": {"name": "weather"}}
    sent = body(tools=[CLOCK, WEATHER], tool_choice=choice, response_format={"type": "json_object"})
    assert "tools" not in sent
    assert sent["format"] == {
        "type": "object",
        "properties": {
            "name": {"enum": ["weather"]},
            "arguments": PARAMETERS
            | {
                "properties": {
                    "city": {"anyOf": [{"$ref": "#/properties/arguments/$defs/name"}, {"type": "null"}]},
                    "days": {"minimum": 1},
                }
            },
        },
        "required": ["name", "arguments"],
    }
    system, user = sent["messages"]
    assert system["role"] == "system"
    assert "weather" in system["content"]
    assert "clock" not in system["content"]
    assert user == HELLO[0]


def test_only_references_into_a_schema_itself_follow_it_to_its_new_place():
    stays = {
        "$ref": {"title": "# of days", "description": "#/not/a/reference"},
        "other": {"$ref": "https://example.com/schema.json"},
    }
    tool = {"type": "function", "function": {"name": "f", "parameters": {"properties": stays}}}
    sent = body(tools=[tool], tool_choice="required")
    assert sent["format"]["properties"]["arguments"] == {"type": "object", "properties": stays}


def test_the_instruction_lists_each_tool_as_the_model_should_know_it():
    strict = {"type": "function", "function": CLOCK["function"] | {"strict": True}}
    system = body(tools=[strict, WEATHER], tool_choice="required")["messages"][0]["content"]
    weather = {"name": "weather", "description": "Of a city", "parameters": PARAMETERS}
    assert [json.loads(text) for text in system.split("\n")[1:]] == [{"name": "clock"}, weather]


def test_a_required_call_may_be_of_any_tool_and_its_instruction_joins_the_system_message():
    messages = [{"role": "system", "content": "Be kind."}, *HELLO]
    sent = body(messages=messages, tools=[CLOCK, WEATHER], tool_choice="required")
    assert [way["$ref"] for way in sent["format"]["anyOf"]] == ["#/$defs/call_0", "#/$defs/call_1"]
    clock, weather = sent["format"]["$defs"].values()
    assert clock["properties"] == {"name": {"enum": ["clock"]}, "arguments": {"type": "object"}}
    city = weather["properties"]["arguments"]["properties"]["city"]
    assert city["anyOf"][0] == {"$ref": "#/$defs/call_1/properties/arguments/$defs/name"}
    assert len(sent["messages"]) == 2
    assert sent["messages"][0]["content"].startswith("Be kind.\n\nCall exactly one")


# Answers


def test_text_and_thinking_become_deltas_and_empty_lines_nothing():
    events = read(line("", thinking="Hm"), line("He"), line(""), line("llo"), last())
    assert events[:-1] == [Delta(reasoning="Hm"), Delta(content="He"), Delta(content="llo")]
    assert end_of(events).warnings == ()


def test_the_last_line_may_carry_text_too():
    assert read(line("He"), last("llo"))[:-1] == [Delta(content="He"), Delta(content="llo")]


def test_the_last_line_tells_counts_and_times():
    done = end_of(read(last(" end", prompt=11, tokens=5, prompt_eval_cached_count=4)))
    assert done.model == "llama3.2:latest"
    assert done.usage.model_dump() == {
        "prompt_tokens": 11,
        "completion_tokens": 5,
        "total_tokens": 16,
        "cached_tokens": 4,
    }
    assert done.timings.model_dump() == {"load": 0.1, "prompt": 0.15, "generation": 0.25, "tokens_per_second": 20.0}


@pytest.mark.parametrize(
    ("tokens", "seconds", "rate"), [(1, 0.3, 3.33), (0, 0.3, None), (1, 0, None), (-1, 0.3, None), ("1", 0.3, None)]
)
def test_tokens_a_second_are_told_where_there_were_both(tokens: Any, seconds: float, rate: float | None):
    done = end_of(read({"done": True, "eval_count": tokens, "eval_duration": seconds * 1e9}))
    assert done.timings.tokens_per_second == rate
    assert done.usage.completion_tokens == (1 if tokens == 1 else 0)


@pytest.mark.parametrize("more", [{"error": "too late"}, line("more"), last("again"), 5])
def test_what_comes_after_the_end_is_nothing(more: Any):
    assert read(last("Hi"), more) == read(last("Hi"))


def test_what_the_last_line_leaves_out_is_zero_or_unknown():
    events = read({"done": True})
    assert len(events) == 1
    done = end_of(events)
    assert (done.model, done.finish_reason, done.usage.total_tokens) == ("llama3.2", "stop", 0)
    assert done.usage.cached_tokens is None
    assert done.timings.generation is None
    assert end_of(read({"done": True}, model=None)).model == ""


CALL = {"id": "abc", "function": {"index": 0, "name": "clock", "arguments": {}}}


@pytest.mark.parametrize(
    ("reason", "lines", "finish"),
    [
        ("stop", [], "stop"),
        ("", [], "stop"),
        (None, [], "stop"),
        ("length", [], "length"),
        ("stop", [line(tool_calls=[CALL])], "tool_calls"),
        ("length", [line(tool_calls=[CALL])], "length"),
    ],
)
def test_the_finish_reason_follows_ollamas_and_the_calls(
    reason: str | None, lines: list[dict[str, Any]], finish: str
):
    assert end_of(read(*lines, last(reason=reason))).finish_reason == finish


def test_parallel_calls_are_told_apart_whatever_their_indexes_and_ids():
    function = {"index": 0, "name": "weather", "arguments": {"city": "Köln", "days": [1, 2]}}
    events = read(
        line(tool_calls=[{"id": "x", "function": function}, {"function": function}]),
        line(tool_calls=[{"id": "x", "function": {"index": 0, "name": "clock"}}]),
        line(tool_calls=[{"id": "", "function": {"name": "clock", "arguments": '{"zone": 1}'}}]),
        line(tool_calls=[{"id": 7, "function": {"name": "clock"}}]),
        line(""),
        last(),
    )
    calls = calls_of(events)
    assert [call.id for call in calls] == ["x", "call_0", "call_1", "call_2", "call_3"]
    assert calls[0].function.arguments == '{"city":"Köln","days":[1,2]}'
    assert calls[2].function.arguments == "{}"
    assert calls[3].function.arguments == '{"zone": 1}'


def test_only_the_first_call_is_kept_where_parallel_calls_are_off_and_that_is_told():
    second = CALL | {"id": "def"}
    events = read(line(tool_calls=[CALL, second, second]), last(tool_calls=[second]), parallel_tool_calls=False)
    assert [call.id for call in calls_of(events)] == ["abc"]
    assert end_of(events).warnings == (
        "Tool calls after the first were left out, since parallel_tool_calls is false: 3.",
    )


def test_logprobs_have_openais_form():
    tokens = [{"token": "é", "logprob": -0.5, "bytes": [195, 169], "top_logprobs": [{"token": "e", "logprob": -1}]}]
    events = read(line("é", logprobs=tokens), last())
    assert events[0] == Delta(
        content="é",
        logprobs=(
            {
                "token": "é",
                "logprob": -0.5,
                "bytes": [195, 169],
                "top_logprobs": [{"token": "e", "logprob": -1, "bytes": None}],
            },
        ),
    )
    bare = {"token": "a", "logprob": 0.0, "bytes": None, "top_logprobs": []}
    assert read(line("a", logprobs=[{"token": "a"}]))[0] == Delta(content="a", logprobs=(bare,))


FORCED = {"tools": [CLOCK, WEATHER], "tool_choice": "required"}


def test_a_forced_call_is_put_together_from_the_text_with_signs_of_life_meanwhile():
    text = '{"name": "weather", "arguments": {"city": "Ulm"}}'
    events = read(line(thinking="Hm"), line(text[:20]), line(text[20:]), last(), **FORCED)
    assert events[:3] == [Delta(reasoning="Hm"), Delta(), Delta()]
    (call,) = calls_of(events)
    assert (call.id, call.function.name, call.function.arguments) == ("call_0", "weather", '{"city":"Ulm"}')
    assert end_of(events).finish_reason == "tool_calls"


@pytest.mark.parametrize(
    "text",
    [
        "Sure!",
        "",
        '{"name": "rm", "arguments": {}}',
        '{"name": "clock"}',
        "[]",
        '{"name": "clock", "arguments": {"deep": %s}}' % ("[" * 300 + "]" * 300),
    ],
)
def test_a_forced_call_that_does_not_come_is_an_error_with_the_text(text: str):
    with pytest.raises(GenerationBroken, match="did not call a tool") as caught:
        read(line(text), last(), **FORCED)
    assert caught.value.partial == text


def test_a_forced_call_cut_by_max_tokens_is_given_as_text():
    events = read(line('{"name": "cl'), last(reason="length"), **FORCED)
    assert Delta(content='{"name": "cl') in events
    assert end_of(events).finish_reason == "length"


DEEP: Any = json.loads("[" * 300 + "]" * 300)
NONSENSE: list[tuple[Any, str]] = [
    (b"<html>", "a line that is not valid JSON"),
    (b'{"message": {"content": "\xff"}}', "a line that is not valid JSON"),
    ([], "a line that is not a JSON object"),
    (7, "a line that is not a JSON object"),
    ({}, "a line without a message"),
    ({"message": []}, "a line without a message"),
    ({"message": "Hello", "done": True}, "a line without a message"),
    ({"message": {"content": 7}}, "content is not a text"),
    ({"message": {"thinking": [7]}}, "content is not a text"),
    ({"message": {"tool_calls": {"id": 7}}}, "parts are not lists"),
    ({"message": {}, "logprobs": {"token": "a"}}, "parts are not lists"),
    ({"message": {"tool_calls": [7]}}, "a tool call without a name"),
    ({"message": {"tool_calls": [{"function": "f"}]}}, "a tool call without a name"),
    ({"message": {"tool_calls": [{"function": {}}]}}, "a tool call without a name"),
    ({"message": {"tool_calls": [{"function": {"name": "f", "arguments": DEEP}}]}}, "arguments of too many levels"),
    ({"message": {}, "logprobs": [7]}, "a log probability without its token"),
    ({"message": {}, "logprobs": [{}]}, "a log probability without its token"),
    ({"message": {}, "logprobs": [{"token": "a", "top_logprobs": [7]}]}, "a log probability without its token"),
    (
        {"message": {}, "logprobs": [{"token": "a", "top_logprobs": {"b": 1}}]},
        "log probabilities that are not a list",
    ),
    ({"message": {}, "logprobs": [{"token": "a", "logprob": "-1"}]}, "a log probability that is not a number"),
    ({"message": {}, "logprobs": [{"token": "a", "bytes": ["a"]}]}, "a log probability that is not a number"),
    (
        {"message": {}, "logprobs": [{"token": "a", "logprob": "1", "bytes": [97]}]},
        "probability that is not a number",
    ),
    ({"message": {}, "logprobs": [{"token": "a", "bytes": "a"}]}, "a log probability that is not a number"),
]


@pytest.mark.parametrize(("nonsense", "words"), NONSENSE)
def test_nonsense_is_a_failure_before_the_answer_and_a_broken_answer_within_it(nonsense: Any, words: str):
    data = nonsense if isinstance(nonsense, bytes) else json.dumps(nonsense).encode()
    with pytest.raises(MalformedAnswer, match=f"Ollama sent .*{words}.* Check that the address"):
        ChatReader(request(), lambda: "id").read(data)
    reader = ChatReader(request(**FORCED), lambda: "id")
    for text in ('{"name', '": '):
        reader.read(json.dumps(line(text)).encode())
    with pytest.raises(GenerationBroken, match=f"Ollama sent .*{words}") as caught:
        reader.read(data)
    assert caught.value.partial == '{"name": '


def test_an_answer_without_its_end_keeps_what_was_held_back():
    reader = ChatReader(request(**FORCED), lambda: "id")
    for text in ('{"name', '": '):
        reader.read(json.dumps(line(text)).encode())
    with pytest.raises(GenerationBroken, match=r"the model llama3\.2 may have crashed") as caught:
        raise reader.ended()
    assert caught.value.partial == '{"name": '


def test_an_error_line_is_told_in_ollamas_words():
    with pytest.raises(GenerationBroken, match="an error was encountered while running the model") as caught:
        read(line("Hel"), {"error": "an error was encountered while running the model: CUDA error"})
    assert caught.value.partial == ""
    with pytest.raises(GenerationBroken) as caught:
        read(line('{"na'), line("me"), {"error": "longer than the context"}, **FORCED)
    assert caught.value.partial == '{"name'


def test_an_error_line_of_too_many_levels_is_told_without_them():
    with pytest.raises(GenerationBroken, match=r"middle of the answer: it gave no reason\."):
        read(line("Hel"), {"error": DEEP})


def test_an_error_line_at_the_beginning_is_told_as_what_it_is():
    with pytest.raises(ContextLengthExceeded):
        read({"error": "the prompt is longer than the context length currently available to the model"})
    with pytest.raises(GenerationBroken, match=r"broke off before the answer: llama3\.2 does not support tools"):
        read({"error": "llama3.2 does not support tools"})
    with pytest.raises(ContextLengthExceeded, match=r"context of llama3\.2"):
        read({"error": "longer than the context"})


# Failures

TOO_LONG = {
    "error": {
        "code": 400,
        "message": "request (64010 tokens) exceeds the available context size (64000 tokens), try increasing it",
        "type": "exceed_context_size_error",
        "n_prompt_tokens": 64010,
        "n_ctx": 64000,
    }
}


@pytest.mark.parametrize(
    ("status", "said", "error", "words"),
    [
        (400, "model is required", InvalidRequest, "model is required"),
        (
            400,
            "registry.ollama.ai/library/m does not support tools",
            Unsupported,
            "m does not support tools; ",
        ),
        (400, '"m" does not support thinking', Unsupported, "leave out think"),
        (400, '"m" does not support chat', Unsupported, "m does not support chat; use a model that does"),
        (400, "the prompt is longer than the context length currently ...", ContextLengthExceeded, "raise num_ctx"),
        (400, "the input length exceeds the context length", ContextLengthExceeded, "shorten it"),
        (400, "Exceeded the context", ContextLengthExceeded, "shorten it"),
        (400, "input after truncation exceeds maximum context length", ContextLengthExceeded, "split it"),
        (401, "unauthorized", EngineRejected, "unauthorized"),
        (403, "this host is not allowed", EngineRejected, "this host is not allowed"),
        (404, "model 'm' not found", ModelNotFound, "`ollama pull m`"),
        (404, 'model "m" not found, try pulling it first', ModelNotFound, "`ollama pull m`"),
        (500, "model requires more system memory (5 GiB)", EngineFailed, "status 500: model requires more system"),
        (429, "too many requests", EngineBusy, "too many requests"),
        (500, "the driver does not support graphs", EngineFailed, "status 500: the driver does not support graphs"),
        (500, "17", EngineFailed, "status 500: 17"),
        (501, "This server does not support embeddings", Unsupported, "does not support embeddings"),
        (503, "server busy, please try again.  maximum pending requests exceeded", EngineBusy, "maximum pending"),
    ],
)
def test_a_status_and_words_become_an_error(status: int, said: str, error: type[ServiceError], words: str):
    found = failure(status, json.dumps({"error": said}).encode(), model="m")
    assert type(found) is error
    with pytest.raises(error, match=words):
        raise found


@pytest.mark.parametrize(
    ("status", "said", "model", "message"),
    [
        (
            400,
            "m does not support tools",
            "m",
            "m does not support tools; use a model that does, or leave out tools.",
        ),
        (400, "m does not support chat", None, "The model does not support chat; use a model that does."),
        (404, "model 'm' not found", None, "Ollama failed with status 404: model 'm' not found."),
        (
            400,
            "longer than the context",
            None,
            "The text is longer than the context of the model: shorten it, split it, or raise num_ctx.",
        ),
        (500, " Out of\n memory. ", "m", "Ollama failed with status 500: Out of memory."),
    ],
)
def test_the_sentence_holds_what_is_known(status: int, said: str, model: str | None, message: str):
    assert failure(status, json.dumps({"error": said}).encode(), model=model).message == message


@pytest.mark.parametrize(("missing", "param"), [("tools", "tools"), ("thinking", "think"), ("vision", "model")])
def test_what_a_model_does_not_support_is_the_fault_of_a_field(missing: str, param: str):
    found = failure(400, json.dumps({"error": f"m does not support {missing}"}).encode(), model="m")
    assert isinstance(found, Unsupported)
    assert found.param == param


@pytest.mark.parametrize(
    "error",
    [
        TOO_LONG["error"],
        json.dumps(TOO_LONG),
        TOO_LONG["error"]["message"],
        TOO_LONG["error"] | {"message": "exceeds the context"},
        json.dumps({"error": TOO_LONG["error"] | {"message": "exceeds the context"}}),
    ],
    ids=["object", "text", "words alone", "fields alone", "fields alone in a text"],
)
def test_a_prompt_too_long_comes_with_both_lengths_where_they_are_told(error: Any):
    found = failure(400, json.dumps({"error": error}).encode(), model="m")
    assert isinstance(found, ContextLengthExceeded)
    assert (found.prompt_tokens, found.context_length) == (64010, 64000)
    assert found.message == (
        "The text is longer than the context of m (64010 tokens where 64000 fit): shorten it, split it, or raise "
        "num_ctx."
    )


@pytest.mark.parametrize("told", [{"n_prompt_tokens": 64010}, {"n_ctx": 64000}, {"n_ctx": "64000"}, {}])
def test_of_two_lengths_one_alone_is_not_told(told: dict[str, Any]):
    found = failure(400, json.dumps({"error": {"message": "exceeds the context"} | told}).encode(), model="m")
    assert isinstance(found, ContextLengthExceeded)
    assert (found.prompt_tokens, found.context_length) == (None, None)
    assert "the context of m: shorten it" in found.message


@pytest.mark.parametrize(
    "data", [b"", b"<html>Bad gateway</html>", b"[1]", b'{"error": ["a"]}', b'{"error": null}', b"\xff"]
)
def test_a_body_of_another_form_leaves_the_status(data: bytes):
    found = failure(502, data, model="m")
    assert isinstance(found, EngineFailed)
    assert found.status == 502
    assert found.message == "Ollama failed with status 502: it gave no reason."


def test_a_page_that_is_not_there_is_no_missing_model():
    assert type(failure(404, b"404 page not found", model="m")) is EngineFailed


@pytest.mark.parametrize("status", [300, 302, 399])
@pytest.mark.parametrize(("location", "named"), [("https://example.com/", "https://example.com/"), (None, "another")])
def test_a_redirect_names_where_it_leads(status: int, location: str | None, named: str):
    found = failure(status, b"", location=location)
    assert isinstance(found, EngineFailed)
    assert found.status == status
    assert f"leads on to {named}" in found.message


@pytest.mark.parametrize("words", ["{oops", '{"oops": 1}'])
def test_words_that_begin_with_a_brace_are_kept(words: str):
    assert f"status 500: {words}." in failure(500, json.dumps({"error": words}).encode()).message


def test_long_words_are_cut_visibly():
    for length, told in ((500, "a" * 500), (501, "a" * 500 + "…")):
        message = failure(500, json.dumps({"error": "a" * length}).encode()).message
        assert message == f"Ollama failed with status 500: {told}."


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [("7", 7.0), (None, 1.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 1.0), ("86400", 3600.0), ("9" * 400, 3600.0)],
)
def test_a_busy_engine_says_when_to_come_back(retry_after: str | None, seconds: float):
    found = failure(503, b'{"error": "busy"}', retry_after=retry_after)
    assert isinstance(found, EngineBusy)
    assert (found.retry_after, found.retryable) == (seconds, True)


def test_where_to_sign_in_is_passed_on():
    body = json.dumps({"error": "unauthorized", "signin_url": "https://ollama.com/connect?key=k"})
    assert failure(401, body.encode()).message == (
        "Ollama refused the request: unauthorized; sign in at https://ollama.com/connect?key=k."
    )


# Models


def test_models_come_newest_first_whatever_they_leave_out():
    found = models_of(
        {
            "models": [
                {"model": "bare"},
                {"name": "old", "modified_at": "2024-01-02T03:04:05.123456789-07:00", "details": None},
                {"name": "new", "modified_at": "2026-01-02T03:04:05.123456789Z", "capabilities": ["tools", "new"]},
            ]
        }
    )
    assert [model.name for model in found] == ["new", "old", "bare"]
    assert found[0].capabilities == ["tools", "new"]
    assert found[2].model_dump(exclude_defaults=True) == {"name": "bare"}


def test_all_that_a_list_tells_of_a_model_is_kept():
    details = {"family": "llama", "parameter_size": "3.2B", "quantization_level": "Q4_K_M", "context_length": 131072}
    entry = {
        "name": "",
        "model": "llama3.2:latest",
        "size": 2019393189,
        "digest": "a80c",
        "modified_at": "2026-01-02T03:04:05Z",
        "capabilities": ["completion", 5],
        "details": details,
        "model_info": {"general.architecture": "llama"},
    }
    assert models_of({"models": [entry]})[0].model_dump() == {
        "name": "llama3.2:latest",
        "size_bytes": 2019393189,
        "parameters": "3.2B",
        "quantization": "Q4_K_M",
        "family": "llama",
        "context_length": 131072,
        "capabilities": ["completion"],
        "modified_at": "2026-01-02T03:04:05Z",
        "digest": "a80c",
    }


@pytest.mark.parametrize(
    "odd",
    [
        {"size": "1"},
        {"size": True},
        {"size": 1.5},
        {"digest": 5},
        {"details": "llama"},
        {"details": {"family": 5, "parameter_size": ["3B"], "context_length": "1"}},
        {"capabilities": 5},
        {"capabilities": "tools"},
        {"model_info": [1]},
        {"model_info": {"general.architecture": ["a"], "a.context_length": 1}},
    ],
)
def test_what_makes_no_sense_in_a_list_is_as_if_it_were_left_out(odd: dict[str, Any]):
    assert models_of({"models": [{"name": "m"} | odd]}) == models_of({"models": [{"name": "m"}]})


def test_models_with_odd_dates_are_listed_all_the_same():
    dates = ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "2026-01-01T00:00:00", "yesterday"]
    found = models_of({"models": [{"name": date, "modified_at": date} for date in dates]})
    assert [model.name for model in found][:2] == dates[1:3]
    assert len(found) == 4


def test_dates_of_two_time_zones_are_compared():
    dates = ["2026-01-01T00:00:00+10:00", "2025-12-31T20:00:00Z"]
    found = models_of({"models": [{"name": date, "modified_at": date} for date in dates]})
    assert [model.name for model in found] == dates[::-1]


def test_all_that_is_told_of_a_loaded_model_is_kept():
    entry = {"name": "m", "size": 5, "size_vram": 4, "context_length": 4096, "expires_at": "2026-01-02T03:04:05Z"}
    assert [model.model_dump() for model in running_of({"models": [entry]})] == [
        {
            "name": "m",
            "size_bytes": 5,
            "vram_bytes": 4,
            "context_length": 4096,
            "expires_at": "2026-01-02T03:04:05Z",
        }
    ]


@pytest.mark.parametrize("answer", [{}, {"models": None}, {"models": []}])
def test_no_models_are_an_empty_list(answer: dict[str, Any]):
    assert models_of(answer) == []
    assert running_of(answer) == []


@pytest.mark.parametrize("models", ["a", {}, [1], [{"size": 1}]])
def test_a_list_of_models_that_is_none_is_a_failure(models: Any):
    with pytest.raises(MalformedAnswer, match="check that the address is that of an Ollama"):
        models_of({"models": models})


def test_details_hold_the_context_of_the_architecture_and_the_modelfiles_parameters():
    found = details_of(
        {
            "license": "MIT",
            "system": "Be kind.",
            "parameters": 'stop                           "<|im_start|>"\nstop   "a \\"b\\""\n'
            'num_ctx                        8192\n\nstop "\\x00"\n',
            "details": {"family": "qwen2", "parameter_size": "7B", "quantization_level": "Q4_0", "context_length": 1},
            "model_info": {"general.architecture": "qwen2", "qwen2.context_length": 32768, "clip.context_length": 77},
            "capabilities": ["completion"],
        },
        "qwen",
    )
    assert (found.name, found.context_length, found.license, found.template) == ("qwen", 32768, "MIT", None)
    assert found.system == "Be kind."
    assert details_of({"template": "{{ .Prompt }}"}, "m").template == "{{ .Prompt }}"
    assert found.default_parameters == {"stop": ["<|im_start|>", 'a "b"', "\\x00"], "num_ctx": ["8192"]}


def test_details_without_model_info_are_tolerated():
    assert details_of({}, "bare").model_dump(exclude_defaults=True) == {"name": "bare"}


def test_progress_may_have_no_layer():
    step = progress_of({"status": "pulling manifest"})
    assert (step.status, step.digest, step.completed, step.total) == ("pulling manifest", None, None, None)
    layer = {"status": "pulling a80c", "digest": "a80c", "completed": 1, "total": 2}
    assert progress_of(layer).model_dump() == layer
    assert progress_of({}).status == ""


@pytest.mark.parametrize("said", ["pull model manifest: file does not exist", "model not found"])
def test_a_name_that_cannot_be_downloaded_is_not_found(said: str):
    error = pull_failure(said, "m")
    assert isinstance(error, ModelNotFound)
    assert error.message == "There is no m to download; look up its name at https://ollama.com/search."
    assert error.model == "m"


def test_a_failed_download_is_told_in_ollamas_words():
    error = pull_failure("no space left on device.", "m")
    assert type(error) is EngineFailed
    assert error.message == "Ollama could not download m: no space left on device."


# Embeddings


def test_embeddings_forbid_truncation():
    sent = embed_body(EmbedRequest(model="m", input=["a"], dimensions=8, keep_alive="5m"))
    assert sent == {"model": "m", "input": ["a"], "truncate": False, "dimensions": 8, "keep_alive": "5m"}
    assert embed_body(EmbedRequest(model="m", input=["a"])) == {"model": "m", "input": ["a"], "truncate": False}


@pytest.mark.parametrize("dimensions", [None, 1, 2])
@pytest.mark.parametrize("texts", [[], ["a"], ["a", "b"]])
def test_each_text_has_its_vector(dimensions: int | None, texts: list[str]):
    vectors = [[0.6, 0.8]] * len(texts)
    found = embed_result(
        {"embeddings": vectors, "prompt_eval_count": 3}, EmbedRequest(model="m", input=texts, dimensions=dimensions)
    )
    assert (found.model, found.embeddings, found.usage.prompt_tokens) == ("m", vectors, 3)


@pytest.mark.parametrize(
    ("vectors", "says"),
    [
        (None, "a vector for each of the 1 texts"),
        ([], "a vector for each of the 1 texts"),
        ([[1.0], [2.0]], "a vector for each of the 1 texts"),
        (["a"], "not lists of numbers"),
        ([["a"]], "not lists of numbers"),
        ([[None]], "not lists of numbers"),
    ],
)
def test_vectors_that_are_missing_or_none_are_a_failure(vectors: Any, says: str):
    with pytest.raises(MalformedAnswer, match=says):
        embed_result({"embeddings": vectors}, EmbedRequest(model="m", input=["a"]))


def test_more_dimensions_than_the_model_has_are_refused():
    with pytest.raises(InvalidRequest, match="have 2 dimensions") as caught:
        embed_result({"embeddings": [[0.6, 0.8]]}, EmbedRequest(model="m", input=["a"], dimensions=3))
    assert caught.value.param == "dimensions"
