"""What comes to /v1/responses becomes a chat, and each step of its answer is told, as tables."""

import json
import re
import time
from typing import Any

import pytest
from pydantic import ValidationError

from ollama_mcp.chat import Delta, FunctionCall, ToolCall, Usage
from ollama_mcp.errors import GenerationBroken, InvalidRequest
from ollama_mcp.openai_api.responses import to_request
from ollama_mcp.openai_api.responses_events import Answer
from ollama_mcp.openai_api.responses_schemas import ResponseBody
from tests.openai_api.test_responses import WEATHER

# A request as a conversation


def body_of(**fields: Any) -> ResponseBody:
    return ResponseBody.model_validate({"model": "m", "input": "Hello", **fields})


def conversation(**fields: Any) -> dict[str, Any]:
    return to_request(body_of(**fields)).model_dump(exclude_none=True, by_alias=True)


HELLO = {"role": "user", "content": "Hello"}
PIXEL = "data:image/png;base64,aGk="


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({}, {}),
        ({"instructions": "Be kind."}, {"messages": [{"role": "system", "content": "Be kind."}, HELLO]}),
        ({"instructions": ""}, {}),
        ({"temperature": 0.0, "top_p": 0.5}, {"temperature": 0.0, "top_p": 0.5}),
        ({"max_output_tokens": 7}, {"max_tokens": 7}),
        ({"presence_penalty": 0.1, "frequency_penalty": 0.2}, {"presence_penalty": 0.1, "frequency_penalty": 0.2}),
        ({"reasoning": {"effort": "low"}}, {"reasoning_effort": "low"}),
        ({"reasoning": {}}, {}),
        ({"top_logprobs": 0}, {"logprobs": True, "top_logprobs": 0}),
        ({"include": ["message.output_text.logprobs"]}, {"logprobs": True}),
        ({"include": ["reasoning.encrypted_content"]}, {}),
        ({"text": {}}, {}),
        ({"text": {"format": {"type": "text"}}}, {"response_format": {"type": "text"}}),
        ({"text": {"format": {"type": "json_object"}}}, {"response_format": {"type": "json_object"}}),
        (
            {"text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "array"}}}},
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "array"}}}},
        ),
        ({"tools": []}, {}),
        (
            {"tools": [WEATHER], "tool_choice": "required", "parallel_tool_calls": False},
            {
                "tools": [{"type": "function", "function": {key: WEATHER[key] for key in WEATHER if key != "type"}}],
                "tool_choice": "required",
                "parallel_tool_calls": False,
            },
        ),
        (
            {"tools": [{"type": "function", "name": "f"}], "tool_choice": {"type": "function", "name": "f"}},
            {
                "tools": [{"type": "function", "function": {"name": "f"}}],
                "tool_choice": {"type": "function", "function": {"name": "f"}},
            },
        ),
    ],
)
def test_each_field_becomes_that_of_a_chat(fields: dict[str, Any], asked: dict[str, Any]) -> None:
    assert conversation(**fields) == {"model": "m", "messages": [HELLO]} | asked


def called(call_id: str) -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": "f", "arguments": "{}"}


def thought(*texts: str, field: str = "content") -> dict[str, Any]:
    kind = "reasoning_text" if field == "content" else "summary_text"
    return {"type": "reasoning", field: [{"type": kind, "text": text} for text in texts]}


def call(call_id: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": "f", "arguments": "{}"}}


def asks(*call_ids: str, **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": [call(call_id) for call_id in call_ids], **fields}


@pytest.mark.parametrize(
    ("items", "messages"),
    [
        ([called("a")], [asks("a")]),
        ([called("a"), called("b")], [asks("a", "b")]),
        ([{"role": "assistant", "content": "x"}, called("a")], [asks("a", content="x")]),
        ([HELLO, called("a")], [HELLO, asks("a")]),
        ([called("a"), thought("Hm"), called("b")], [asks("a"), asks("b", reasoning_content="Hm")]),
        ([thought("H", "m"), thought("!"), called("a")], [asks("a", reasoning_content="Hm!")]),
        ([thought("Hm", field="summary"), called("a")], [asks("a", reasoning_content="Hm")]),
        ([{"type": "reasoning"}, called("a")], [asks("a")]),
        (
            [thought("Hm"), {"role": "assistant", "content": "x"}, {"role": "assistant", "content": "y"}],
            [
                {"role": "assistant", "content": "x", "reasoning_content": "Hm"},
                {"role": "assistant", "content": "y"},
            ],
        ),
        (
            [thought("Hm"), HELLO, {"role": "assistant", "content": "y"}],
            [HELLO, {"role": "assistant", "content": "y"}],
        ),
        (
            [called("a"), {"type": "function_call_output", "call_id": "a", "output": "42"}],
            [asks("a"), {"role": "tool", "content": "42", "tool_call_id": "a"}],
        ),
        (
            [{"role": "user", "content": [{"type": "input_image", "image_url": PIXEL}]}],
            [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PIXEL}}]}],
        ),
        (
            [{"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}],
            [{"role": "assistant", "content": [{"type": "text", "text": "No."}]}],
        ),
    ],
)
def test_items_become_messages(items: list[Any], messages: list[Any]) -> None:
    assert conversation(input=items)["messages"] == messages


def test_an_input_of_nothing_that_is_said_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="holds no message") as caught:
        conversation(input=[thought("Hm")])
    assert caught.value.param == "input"


@pytest.mark.parametrize(
    ("field", "least", "most", "step"),
    [
        ("temperature", 0, 2, 0.01),
        ("top_p", 0, 1, 0.01),
        ("presence_penalty", -2, 2, 0.01),
        ("frequency_penalty", -2, 2, 0.01),
        ("top_logprobs", 0, 20, 1),
        ("max_output_tokens", 1, 2**31 - 1, 1),
    ],
)
def test_a_number_has_its_bounds(field: str, least: float, most: float, step: float) -> None:
    for value in (least, most, None):
        assert getattr(body_of(**{field: value}), field) == value
    for value in (least - step, most + step):
        with pytest.raises(ValidationError, match=field):
            body_of(**{field: value})


def function(name: str) -> dict[str, Any]:
    return {"type": "function", "name": name}


@pytest.mark.parametrize(
    ("right", "wrong", "says"),
    [
        ({"model": "x"}, {"model": ""}, "at least 1 character"),
        ({"tools": [function("f" * 128)]}, {"tools": [function("f" * 129)]}, "at most 128 characters"),
        ({"tools": [function("f")]}, {"tools": [function("")]}, "at least 1 character"),
        ({"tools": [function("f")] * 256}, {"tools": [function("f")] * 257}, "at most 256 items"),
        ({"input": [HELLO] * 512}, {"input": [HELLO] * 513}, "at most 512 items"),
        ({"input": [HELLO | {"type": "message"}]}, {"input": [HELLO | {"type": 5}]}, "nothing is stored"),
        ({"input": [HELLO]}, {"input": [{"type": "item_reference", "id": "x"}]}, "nothing is stored"),
        ({"input": "Hello"}, {"input": ["Hello"]}, "nothing is stored"),
        ({"background": False}, {"background": True}, "no answer is kept"),
        ({"previous_response_id": None}, {"previous_response_id": "x"}, "send the whole conversation as input"),
        ({"conversation": None}, {"conversation": "x"}, "send the whole conversation as input"),
        ({"prompt": None}, {"prompt": {"id": "x"}}, "no prompts are kept"),
    ],
)
def test_what_fits_is_taken_and_what_does_not_is_told_why(right: Any, wrong: Any, says: str) -> None:
    body_of(**right)
    with pytest.raises(ValidationError, match=says):
        body_of(**wrong)


# An answer as it grows


def told(data: bytes) -> list[dict[str, Any]]:
    """The events, without the random part of their ids and without what the response says of the request."""
    events = []
    for block in re.sub(rb'"((?:resp|rs|msg|fc)_)\w+"', rb'"\1"', data).decode().split("\n\n")[:-1]:
        name, _, text = block.removeprefix("event: ").partition("\ndata: ")
        event = json.loads(text)
        assert event["type"] == name
        if "response" in event:
            response = event["response"]
            ends = ("id", "object", "status", "error", "incomplete_details", "output", "usage", "warnings")
            event["response"] = {key: response[key] for key in ends if response.get(key) is not None}
            assert (response["completed_at"] is None) == (response["status"] != "completed")
        events.append(event)
    return events


def grown(**fields: Any) -> Answer:
    return Answer(body_of(**fields))


def text_part(text: str, logprobs: list[Any]) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


TOKEN = {"token": "He", "logprob": -0.5, "bytes": [72, 101], "top_logprobs": []}
BARE = {"token": "y", "logprob": -0.1}
RESPONSE = {"id": "resp_", "object": "response"}


def test_each_step_of_an_answer_is_told() -> None:
    answer = grown()
    data = answer.start()
    data += answer.add(Delta(reasoning="H"))
    data += answer.add(Delta(reasoning="m"))
    data += answer.add(Delta(content="He", logprobs=(TOKEN,)))
    data += answer.add(Delta(content="y", logprobs=(BARE,)))
    data += answer.add(Delta(tool_calls=(ToolCall(id="c", function=FunctionCall(name="f", arguments="{}")),)))
    usage = Usage(prompt_tokens=5, completion_tokens=3, total_tokens=8, cached_tokens=2)
    data += answer.finish("tool_calls", usage, ["a warning"])
    begun = RESPONSE | {"status": "in_progress", "output": []}
    bare = BARE | {"bytes": [], "top_logprobs": []}
    thoughts = {"type": "reasoning", "id": "rs_", "status": "in_progress", "summary": []}
    message = {"type": "message", "id": "msg_", "role": "assistant", "status": "in_progress", "content": []}
    asked = {"type": "function_call", "id": "fc_", "call_id": "c", "name": "f"}
    summary = {"type": "summary_text", "text": "Hm"}
    output = [
        thoughts | {"status": "completed", "summary": [summary]},
        message | {"status": "completed", "content": [text_part("Hey", [TOKEN, bare])]},
        asked | {"arguments": "{}", "status": "completed"},
    ]
    in_summary = {"output_index": 0, "item_id": "rs_", "summary_index": 0}
    in_message = {"output_index": 1, "item_id": "msg_", "content_index": 0}
    of_call = {"output_index": 2, "item_id": "fc_"}
    ended = RESPONSE | {
        "status": "completed",
        "output": output,
        "warnings": ["a warning"],
        "usage": {
            "input_tokens": 5,
            "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0},
            "output_tokens": 3,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 8,
        },
    }
    steps = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": thoughts},
        {"type": "response.reasoning_summary_part.added", **in_summary, "part": summary | {"text": ""}},
        {"type": "response.reasoning_summary_text.delta", **in_summary, "delta": "H"},
        {"type": "response.reasoning_summary_text.delta", **in_summary, "delta": "m"},
        {"type": "response.reasoning_summary_text.done", **in_summary, "text": "Hm"},
        {"type": "response.reasoning_summary_part.done", **in_summary, "part": summary},
        {"type": "response.output_item.done", "output_index": 0, "item": output[0]},
        {"type": "response.output_item.added", "output_index": 1, "item": message},
        {"type": "response.content_part.added", **in_message, "part": text_part("", [])},
        {"type": "response.output_text.delta", **in_message, "delta": "He", "logprobs": [TOKEN]},
        {"type": "response.output_text.delta", **in_message, "delta": "y", "logprobs": [bare]},
        {"type": "response.output_text.done", **in_message, "text": "Hey", "logprobs": [TOKEN, bare]},
        {"type": "response.content_part.done", **in_message, "part": text_part("Hey", [TOKEN, bare])},
        {"type": "response.output_item.done", "output_index": 1, "item": output[1]},
        {
            "type": "response.output_item.added",
            "output_index": 2,
            "item": asked | {"arguments": "", "status": "in_progress"},
        },
        {"type": "response.function_call_arguments.delta", **of_call, "delta": "{}"},
        {"type": "response.function_call_arguments.done", **of_call, "name": "f", "arguments": "{}"},
        {"type": "response.output_item.done", "output_index": 2, "item": output[2]},
        {"type": "response.completed", "response": ended},
    ]
    assert told(data) == [step | {"sequence_number": number} for number, step in enumerate(steps)]


def test_pieces_that_come_together_are_told_one_by_one() -> None:
    calls = tuple(ToolCall(id=name, function=FunctionCall(name=name, arguments="{}")) for name in "ab")
    pieces = (Delta(reasoning="Hm"), Delta(content="He"), *(Delta(tool_calls=(call,)) for call in calls))
    apart = grown()
    data = b"".join(apart.add(piece) for piece in pieces) + apart.finish("stop", None, ())
    whole = grown()
    together = whole.add(Delta(reasoning="Hm", content="He", tool_calls=calls)) + whole.finish("stop", None, ())
    assert told(together) == told(data)


def test_log_probabilities_without_text_are_told() -> None:
    answer = grown()
    event = told(answer.add(Delta(logprobs=(TOKEN,))))[-1]
    assert (event["type"], event["delta"], event["logprobs"]) == ("response.output_text.delta", "", [TOKEN])


def test_counts_that_are_not_known_are_zero() -> None:
    usage = told(grown().finish("stop", Usage(prompt_tokens=5, total_tokens=5), ()))[-1]["response"]["usage"]
    assert usage["input_tokens_details"] == {"cached_tokens": 0, "cache_write_tokens": 0}


def test_an_answer_of_nothing_has_an_empty_message() -> None:
    events = told(grown().finish("stop", None, ()))
    assert [event["type"] for event in events] == [
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    done, ended = events[-2:]
    item = {"type": "message", "id": "msg_", "role": "assistant", "content": [text_part("", [])]}
    assert done["item"] == item | {"status": "completed"}
    assert ended["response"] == RESPONSE | {"status": "completed", "output": [done["item"]]}


@pytest.mark.parametrize(
    ("reason", "why"), [("length", "max_output_tokens"), ("content_filter", "content_filter"), ("stop", None)]
)
def test_an_answer_that_was_cut_says_why(reason: str, why: str | None) -> None:
    answer = grown()
    answer.add(Delta(content="He"))
    *_, done, ended = told(answer.finish(reason, None, ()))
    status = "incomplete" if why else "completed"
    assert ended["type"] == f"response.{status}"
    assert (done["item"]["status"], ended["response"]["status"]) == (status, status)
    assert ended["response"].get("incomplete_details") == (None if why is None else {"reason": why})


@pytest.mark.parametrize("started", [False, True])
def test_an_answer_that_broke_off_keeps_what_there_was_and_is_an_error(started: bool) -> None:
    answer = grown()
    data = answer.start() + answer.add(Delta(content="He")) if started else b""
    events = told(data + answer.fail(GenerationBroken("It broke off.")))
    begins = ["response.created", "response.in_progress"]
    assert [event["type"] for event in events if event["type"] in begins] == begins
    failed, error = events[-2:]
    assert (failed["type"], failed["response"]["status"]) == ("response.failed", "failed")
    assert failed["response"]["error"] == {"code": "generation_broken", "message": "It broke off."}
    assert [item["status"] for item in failed["response"]["output"]] == ["incomplete"] * started
    problem = {"message": "It broke off.", "type": "server_error", "param": None, "code": "generation_broken"}
    assert error == problem | {"type": "error", "error": problem, "sequence_number": len(events) - 1}


DEFAULTS = {
    "instructions": None,
    "max_output_tokens": None,
    "model": "m",
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "store": False,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "max_tool_calls": None,
    "service_tier": "default",
    "safety_identifier": None,
    "prompt_cache_key": None,
    "truncation": "disabled",
    "background": False,
    "metadata": {},
}
FUNCTION = {"type": "function", "name": "f"}
FORM = {"type": "json_schema", "name": "n", "schema": {"type": "array"}}


@pytest.mark.parametrize(
    ("fields", "echoed"),
    [
        ({}, {}),
        (
            {
                "instructions": "Be kind.",
                "max_output_tokens": 7,
                "temperature": 0.0,
                "top_p": 0.5,
                "metadata": {"a": "b"},
            },
            {
                "instructions": "Be kind.",
                "max_output_tokens": 7,
                "temperature": 0.0,
                "top_p": 0.5,
                "metadata": {"a": "b"},
            },
        ),
        (
            {"presence_penalty": 0.1, "frequency_penalty": 0.2, "top_logprobs": 3, "parallel_tool_calls": False},
            {"presence_penalty": 0.1, "frequency_penalty": 0.2, "top_logprobs": 3, "parallel_tool_calls": False},
        ),
        ({"reasoning": {"effort": "low"}}, {"reasoning": {"effort": "low", "summary": None}}),
        ({"tool_choice": "none"}, {"tool_choice": "none"}),
        (
            {"tools": [FUNCTION], "tool_choice": FUNCTION},
            {
                "tools": [FUNCTION | {"description": None, "parameters": None, "strict": None}],
                "tool_choice": FUNCTION,
            },
        ),
        ({"text": {"format": {"type": "json_object"}}}, {"text": {"format": {"type": "json_object"}}}),
        ({"text": {"format": FORM}}, {"text": {"format": FORM | {"strict": None, "description": None}}}),
    ],
)
def test_the_settings_of_a_request_come_back_and_else_those_of_openai(
    fields: dict[str, Any], echoed: dict[str, Any]
) -> None:
    before = int(time.time())
    response = grown(**fields).response()
    assert before <= response["created_at"] <= time.time()
    assert {key: response[key] for key in DEFAULTS} == DEFAULTS | echoed
    beside = {
        "id",
        "object",
        "created_at",
        "completed_at",
        "error",
        "incomplete_details",
        "output",
        "usage",
        "status",
    }
    assert set(response) == set(DEFAULTS) | beside
