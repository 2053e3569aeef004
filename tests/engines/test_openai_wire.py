"""Between our words and OpenAI's JSON, without a server."""

import json
from typing import Any

import pytest

from ollama_mcp.chat import ChatRequest, Delta, Done, Timings, Usage
from ollama_mcp.engines.openai_failures import failure
from ollama_mcp.engines.openai_models import entries_of, info_of, names_of, running_of
from ollama_mcp.engines.openai_wire import Answer, chat_body, vectors_of, warnings_for
from ollama_mcp.errors import (
    ContextLengthExceeded,
    EngineBusy,
    EngineFailed,
    EngineRejected,
    EngineTimeout,
    GenerationBroken,
    InvalidRequest,
    MalformedAnswer,
    ModelNotFound,
    ServiceError,
    Unsupported,
)
from tests.fake_openai import chunk

HELLO = [{"role": "user", "content": "hello"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"anyOf": [{"type": "object"}], "default": {}}}}
PIXEL = "data:image/png;base64,aGk="


def request(**fields: Any) -> ChatRequest:
    return ChatRequest.model_validate({"model": "m", "messages": HELLO, **fields})


@pytest.mark.parametrize("ignored", [{}, {"keep_alive": "5m"}, {"options": {}}])
def test_what_is_unset_or_ollamas_own_is_not_sent(ignored: dict[str, Any]) -> None:
    assert chat_body(request(**ignored)) == {
        "model": "m",
        "messages": HELLO,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_every_openai_field_and_every_shared_extension_is_sent_under_its_own_name() -> None:
    fields = {
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 7,
        "stop": ["x"],
        "seed": 3,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "tools": [TOOL],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "parallel_tool_calls": False,
        "reasoning_effort": "high",
        "logprobs": True,
        "top_logprobs": 2,
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}},
        "top_k": 4,
        "min_p": 0.05,
        "typical_p": 0.8,
        "repeat_penalty": 1.1,
        "repeat_last_n": 64,
    }
    body = chat_body(request(**fields))
    assert {name: body[name] for name in fields} == fields
    assert body["repetition_penalty"] == 1.1


def test_messages_keep_their_parts_calls_and_ids() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    messages = [
        {
            "role": "user",
            "content": [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": PIXEL}}],
        },
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "2", "tool_call_id": "c1"},
    ]
    assert chat_body(request(messages=messages))["messages"] == messages


def test_a_developer_speaks_as_the_system() -> None:
    body = chat_body(request(messages=[{"role": "developer", "content": "be brief"}]))
    assert body["messages"] == [{"role": "system", "content": "be brief"}]


@pytest.mark.parametrize(
    ("think", "enabled", "effort"),
    [(True, True, None), (False, False, None), ("low", True, "low"), ("max", True, "max")],
)
def test_think_goes_to_the_chat_template_and_a_level_becomes_the_effort(
    think: Any, enabled: bool, effort: str | None
) -> None:
    body = chat_body(request(think=think))
    assert body["chat_template_kwargs"] == {"enable_thinking": enabled}
    assert body.get("reasoning_effort") == effort


@pytest.mark.parametrize(("field", "value"), [("num_ctx", 4096), ("options", {"mirostat": 1})])
def test_what_only_ollama_can_do_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(Unsupported, match=f"^{field} ") as raised:
        chat_body(request(**{field: value}))
    assert raised.value.param == field


def test_an_ignored_keep_alive_is_told() -> None:
    assert "keep_alive" in warnings_for(request(keep_alive="5m"))[0]
    assert warnings_for(request()) == ()


def read(*chunks: dict[str, Any]) -> list[Any]:
    answer = Answer("asked", lambda: "call_new")
    deltas = [delta for fields in chunks if (delta := answer.read(b"data:" + json.dumps(fields).encode()))]
    answer.read(b"data: [DONE]")
    return [*deltas, *answer.end()]


def piece(
    index: int | None, call_id: str | None = None, name: str | None = None, arguments: Any = None
) -> dict[str, Any]:
    call: dict[str, Any] = {"function": {"name": name, "arguments": arguments}}
    call |= {} if index is None else {"index": index}
    return chunk(tool_calls=[call | ({"id": call_id} if call_id else {})])


def calls_in(found: list[Any]) -> list[tuple[str, str, str]]:
    deltas = [delta for delta in found if isinstance(delta, Delta) and delta.tool_calls]
    assert len(deltas) == 1
    return [(call.id, call.function.name, call.function.arguments) for call in deltas[0].tool_calls]


def test_tool_calls_in_pieces_come_whole_and_once() -> None:
    found = read(
        piece(0, "a", "f", ""),
        piece(0, arguments='{"x"'),
        piece(1, "b", "g", '{"y": 2'),
        piece(0, arguments=": 1}"),
        piece(1, arguments="}"),
        chunk("tool_calls"),
    )
    assert calls_in(found) == [("a", "f", '{"x": 1}'), ("b", "g", '{"y": 2}')]
    assert found[-1].finish_reason == "tool_calls"


@pytest.mark.parametrize("index", [None, 0])
def test_calls_that_share_an_index_are_told_apart_by_their_ids(index: int | None) -> None:
    found = read(piece(index, "a", "f", "{}"), piece(index, "b", "g", "{}"), chunk("stop"))
    assert calls_in(found) == [("a", "f", "{}"), ("b", "g", "{}")]
    assert found[-1].finish_reason == "tool_calls"


def test_pieces_of_one_call_may_repeat_its_id_or_give_it_late_or_leave_out_its_index() -> None:
    for pieces in (
        (piece(0, "a", "f", "{"), piece(0, "a", arguments="}")),
        (piece(0, None, "f", "{"), piece(0, "a", arguments="}")),
        (piece(None, "a", "f", "{"), piece(0, arguments="}")),
        (piece(0, "a", "f", "{"), piece(0, arguments="}"), chunk(tool_calls=[{"index": 0, "function": None}])),
    ):
        assert calls_in(read(*pieces, chunk("tool_calls"))) == [("a", "f", "{}")]


def test_a_call_without_id_or_arguments_gets_them_and_an_object_becomes_text() -> None:
    assert calls_in(read(piece(0, None, "f"), chunk("stop"))) == [("call_new", "f", "{}")]
    assert calls_in(read(piece(0, "a", "f", {"x": 1}), chunk("stop"))) == [("a", "f", '{"x":1}')]


def test_being_cut_off_is_not_hidden_by_a_tool_call() -> None:
    assert read(piece(0, "a", "f", '{"x'), chunk("length"))[-1].finish_reason == "length"


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_reasoning_is_read_under_both_its_names(field: str) -> None:
    assert read(chunk(**{field: "hm", "content": None}), chunk("stop"))[0] == Delta(reasoning="hm")


def test_logprobs_usage_and_timings_are_kept() -> None:
    entry = {"token": "a", "logprob": -0.1, "bytes": [97], "top_logprobs": []}
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}
    timings = {"prompt_ms": 500.0, "predicted_ms": 20, "predicted_per_second": 100.0}
    found = read(
        chunk(content="a", logprobs={"content": [entry]}),
        chunk("eos"),
        {"choices": [], "usage": usage, "timings": timings},
    )
    assert found[0] == Delta(content="a", logprobs=(entry,))
    done = found[-1]
    assert isinstance(done, Done)
    assert done.usage.model_dump() == {
        "prompt_tokens": 9,
        "completion_tokens": 2,
        "total_tokens": 11,
        "cached_tokens": 4,
    }
    assert (done.timings.prompt, done.timings.generation, done.timings.tokens_per_second) == (0.5, 0.02, 100.0)
    assert (done.model, done.finish_reason) == ("served-7b", "stop")


def test_a_log_probability_that_json_has_no_number_for_is_next_to_nothing() -> None:
    others = [{"token": "b", "logprob": -0.2}, {"token": "c"}]
    tokens = [{"token": "a", "logprob": None, "top_logprobs": others}, {"token": "b", "logprob": -1}]
    assert read(chunk(content="ab", logprobs={"content": tokens}), chunk("stop"))[0].logprobs == (
        {"token": "a", "logprob": -9999.0, "top_logprobs": [others[0], {"token": "c", "logprob": -9999.0}]},
        {"token": "b", "logprob": -1, "top_logprobs": []},
    )


def test_a_piece_of_nothing_is_none() -> None:
    assert len(read(chunk(role="assistant", content=""), chunk("stop"))) == 1


def test_a_refusal_is_the_answer() -> None:
    assert read(chunk(refusal="I will not."), chunk("stop"))[0] == Delta(content="I will not.")


@pytest.mark.parametrize("reason", ["abort", "error", "insufficient_system_resource"])
def test_a_reason_that_is_no_end_breaks_the_answer(reason: str) -> None:
    with pytest.raises(GenerationBroken, match=f"giving as its reason '{reason}'"):
        read(chunk(content="a"), chunk(reason))


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("stop", "stop"),
        ("eos", "stop"),
        ("eos_token", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("content_filter", "content_filter"),
    ],
)
def test_reasons_to_finish_go_by_many_names(reason: str, finish: str) -> None:
    assert read(chunk(content="a"), chunk(reason))[-1].finish_reason == finish


def test_an_answer_that_says_nothing_of_itself_is_as_it_was_asked_for() -> None:
    answer = Answer("asked", lambda: "id")
    answer.read(b"data: [DONE]")
    assert answer.end() == [Done("asked", "stop", Usage(), Timings(), ())]
    answer = Answer("asked", lambda: "id", ("a warning",))
    answer.read(b'data: {"choices": [{"delta": null, "finish_reason": "stop"}]}')
    assert answer.end()[-1] == Done("asked", "stop", Usage(), Timings(), ("a warning",))


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({}, (0, 0, 0, None)),
        ({"prompt_tokens": 9}, (9, 0, 9, None)),
        ({"completion_tokens": 2}, (0, 2, 2, None)),
        ({"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 15}, (9, 2, 15, None)),
        ({"prompt_tokens": "9", "completion_tokens": 2.5, "total_tokens": []}, (0, 0, 0, None)),
        ({"prompt_tokens_details": {"cached_tokens": "4"}}, (0, 0, 0, None)),
        ({"prompt_tokens_details": 4}, (0, 0, 0, None)),
    ],
)
def test_a_count_that_is_missing_or_none_is_zero_or_unknown(usage: dict[str, Any], counts: Any) -> None:
    done = read(
        chunk("stop"), {"choices": [], "usage": usage, "timings": {"prompt_ms": "1", "predicted_per_second": []}}
    )[-1]
    assert done.usage == Usage(
        prompt_tokens=counts[0], completion_tokens=counts[1], total_tokens=counts[2], cached_tokens=counts[3]
    )
    assert done.timings == Timings()


def test_an_answer_without_its_end_is_broken() -> None:
    answer = Answer("m", lambda: "id")
    answer.read(b'data: {"choices": [{"delta": {"content": "a"}}]}')
    with pytest.raises(GenerationBroken, match="stopped in the middle"):
        answer.end()


@pytest.mark.parametrize("line", [b"<html>", b"data", b'{"choices": []}', b"retry-after: 7"])
def test_what_is_no_stream_of_events_may_be_another_address(line: bytes) -> None:
    with pytest.raises(MalformedAnswer, match="did not stream its answer; check that its address ends in /v1"):
        Answer("m", lambda: "id").read(line)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"data: nonsense", "an event that is not JSON"),
        (b"data: []", "an event that is no object"),
        (b'data: {"model": 7}', "a model that is no text"),
        (b'data: {"choices": {"a": 1}}', "choices that are none"),
        (b'data: {"choices": [1]}', "choices that are none"),
        (b'data: {"choices": [{"delta": ["a"]}]}', "a delta that is none"),
        (b'data: {"choices": [{"delta": {"tool_calls": 1}}]}', "tool_calls that are none"),
        (b'data: {"choices": [{"delta": {"tool_calls": ["f"]}}]}', "tool_calls that are none"),
        (b'data: {"choices": [{"delta": {"tool_calls": [{"function": "f"}]}}]}', "a function that is none"),
        (
            b'data: {"choices": [{"delta": {"tool_calls": [{"function": {"arguments": %b}}]}}]}'
            % (b"[" * 300 + b"]" * 300),
            "arguments of too many levels",
        ),
        (b'data: {"choices": [{"logprobs": {"content": 1}}]}', "content that are none"),
        (b'data: {"choices": [{"logprobs": {"content": [{}]}}]}', "a log probability that is none"),
        (
            b'data: {"choices": [{"logprobs": {"content": [{"token": "a", "logprob": "-1"}]}}]}',
            "a log probability that is none",
        ),
        (
            b'data: {"choices": [{"logprobs": {"content": [{"token": "a", "top_logprobs": [{"logprob": -1}]}]}}]}',
            "a log probability that is none",
        ),
        (
            b'data: {"choices": [{"logprobs": {"content": [{"token": "a", "top_logprobs": {"a": -1}}]}}]}',
            "top_logprobs that are none",
        ),
        (b'data: {"choices": [{"delta": {"content": 5}}]}', "a content that is no text"),
        (b'data: {"error": {"message": "out of memory"}}', r"broke off its answer: out of memory\."),
        (b'data: {"error": "out of memory"}', r"broke off its answer: out of memory\."),
        (b"<html>", "a line that is no event"),
    ],
)
def test_nonsense_in_the_middle_breaks_the_answer(line: bytes, words: str) -> None:
    answer = Answer("m", lambda: "id")
    answer.read(b'data:{"choices":[]}')
    with pytest.raises(GenerationBroken, match=f"The model server .*{words}"):
        answer.read(line)


def test_comments_and_other_fields_say_nothing() -> None:
    answer = Answer("m", lambda: "id")
    assert [answer.read(line) for line in (b": ping", b":", b"event: message", b"id: 7", b"retry: 9")] == [None] * 5


LLAMA = "request (9031 tokens) exceeds the available context size (4096 tokens), try increasing it"
VLLM = (
    "This model's maximum context length is 4096 tokens. However, you requested 9131 tokens (9031 in the messages, "
    "100 in the completion). Please reduce the length of the messages or completion."
)
VLLM_NEW = "The decoder prompt (length 9031) is longer than the maximum model length of 4096. Make sure of it."
OPENAI = "This model's maximum context length is 4096 tokens. However, your messages resulted in 9031 tokens."


def body_of(message: str, **fields: Any) -> bytes:
    return json.dumps({"error": {"message": message, **fields}}).encode()


@pytest.mark.parametrize(
    "body",
    [
        body_of(LLAMA, type="exceed_context_size_error", n_prompt_tokens=9031, n_ctx=4096),
        body_of(LLAMA),
        body_of(VLLM),
        json.dumps({"object": "error", "message": VLLM_NEW, "code": 400}).encode(),
        body_of(OPENAI, code="context_length_exceeded"),
        body_of("exceeds the context", n_prompt_tokens=9031, n_ctx=4096),
        body_of("Context window exceeded: it has 9031 tokens, of a context length of only 4096"),
        body_of("maximum context length of 4096, and the input contains at least 9031 input tokens"),
        body_of("maximum context length of 4096, and you requested 9031 prompt tokens"),
    ],
)
def test_a_prompt_too_long_is_told_in_numbers(body: bytes) -> None:
    error = failure(400, body, model="qwen")
    assert isinstance(error, ContextLengthExceeded)
    assert (error.prompt_tokens, error.context_length) == (9031, 4096)
    assert "9031 tokens and the context of qwen holds 4096: shorten it by 4935" in error.message


@pytest.mark.parametrize(
    "words",
    [
        "exceeds the available context size",
        "These inputs exceed the model's context",
        "It exceeds the models context",
        "It exceeds the model context",
        "Over the maximum context length",
        "OVER THE MAXIMUM MODEL LENGTH",
        "longer than the maximum",
        "longer than the context",
        "context_length_exceeded",
        "The context window is exceeded",
        "context size exceeded",
        "exceed_context_size_error",
        "too large to process",
        "Trying to keep the first 5000 tokens when context the overflows",
    ],
)
@pytest.mark.parametrize("numbers", [{}, {"n_ctx": 10}, {"n_prompt_tokens": 10}, {"n_prompt_tokens": 9, "n_ctx": 9}])
def test_a_prompt_too_long_is_told_in_the_servers_words_without_numbers(words: str, numbers: dict[str, int]) -> None:
    for status in (400, 413, 422, 500):
        error = failure(status, body_of(words, **numbers))
        assert isinstance(error, ContextLengthExceeded)
        assert error.message == f"The prompt does not fit into the context of the model: {words}."
        assert (error.prompt_tokens, error.context_length) == (numbers.get("n_prompt_tokens"), numbers.get("n_ctx"))
    assert not isinstance(failure(502, body_of(words)), ContextLengthExceeded)


def test_the_kind_of_an_error_is_enough_to_know_a_prompt_too_long() -> None:
    assert isinstance(failure(502, body_of("no", type="exceed_context_size_error")), ContextLengthExceeded)


def test_a_text_too_long_for_one_vector_is_told_in_numbers() -> None:
    said = "input (701 tokens) is too large to process. increase the physical batch size (current batch size: 512)"
    error = failure(500, body_of(said), model="m")
    assert isinstance(error, ContextLengthExceeded)
    assert (error.prompt_tokens, error.context_length) == (701, 512)
    assert error.message == (
        "A text has 701 tokens and m takes 512 at a time: shorten it by 189 tokens or more, or split it."
    )


@pytest.mark.parametrize("name", ["'max_tokens' or 'max_completion_tokens'", "MAX_TOKENS", "max_completion_tokens"])
def test_max_tokens_too_large_is_not_the_prompts_fault(name: str) -> None:
    said = f"{name} is too large: 5000. This model's maximum context length is 4096 tokens, your prompt has 10."
    assert type(failure(400, body_of(said))) is InvalidRequest


@pytest.mark.parametrize(
    ("status", "message", "kind", "words"),
    [
        (400, "temperature must be a number", InvalidRequest, "accept the request: temperature must be a number."),
        (409, "a conflict", InvalidRequest, "accept the request: a conflict."),
        (413, "large", InvalidRequest, "accept the request: large."),
        (422, " no\n way. ", InvalidRequest, "accept the request: no way."),
        (401, "Invalid API Key", EngineRejected, "our key or our address: Invalid API Key."),
        (403, "no", EngineRejected, "our key or our address: no."),
        (407, "no", EngineRejected, "our key or our address: no."),
        (404, "The Model `m` does not exist.", ModelNotFound, "no model 'm': The Model `m` does not exist."),
        (404, "File Not Found", EngineFailed, "check that its address ends in /v1."),
        (405, "Method Not Allowed", EngineFailed, "check that its address ends in /v1."),
        (408, "slow", EngineTimeout, "waiting for too long: slow."),
        (429, "slow down", EngineBusy, "try again in a moment: slow down."),
        (503, "Loading model", EngineBusy, "try again in a moment: Loading model."),
        (504, "slow", EngineTimeout, "waiting for too long: slow."),
        (500, "boom", EngineFailed, "failed with status 500: boom."),
        (500, "", EngineFailed, "failed with status 500: it gave no reason."),
        (502, "this does not support tools", EngineFailed, "failed with status 502: this does not support tools."),
        (300, "", EngineFailed, "leads on to http://elsewhere/; set the address to that."),
        (302, "", EngineFailed, "leads on to http://elsewhere/; set the address to that."),
    ],
)
def test_each_status_has_its_error(status: int, message: str, kind: type[ServiceError], words: str) -> None:
    error = failure(status, body_of(message), model="m", location="http://elsewhere/")
    assert type(error) is kind
    assert error.message.endswith(words)
    assert getattr(error, "status", status) == status
    assert getattr(error, "model", "m") == "m"


def test_without_a_model_or_a_location_none_is_told() -> None:
    assert type(failure(404, body_of("no such model"))) is EngineFailed
    assert "leads on to another one; set" in failure(302, b"").message


@pytest.mark.parametrize("status", [400, 500, 501])
@pytest.mark.parametrize(
    ("words", "param"),
    [
        ("image input is not supported - hint: you may need to provide the mmproj", "messages"),
        ("Audio input is not supported", "messages"),
        ("videos input is not supported", "messages"),
        ("the template does not support tools", "model"),
        ("not_supported", "model"),
    ],
)
def test_what_a_model_cannot_do_is_the_fault_of_a_field(status: int, words: str, param: str) -> None:
    error = failure(status, body_of(words), model="m")
    assert isinstance(error, Unsupported)
    assert (error.message, error.param) == (f"m as it is served cannot do this: {words}.", param)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), (None, 1.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 1.0), ("86400", 3600.0), ("9" * 400, 3600.0)],
)
def test_retry_after_is_passed_on(header: str | None, seconds: float) -> None:
    error = failure(503, b"", retry_after=header)
    assert isinstance(error, EngineBusy)
    assert error.retry_after == seconds


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Bad Gateway</html>",
        b"[]",
        b'{"error": "too bad"}',
        b'{"detail": "too bad"}',
        b'{"detail": [{}]}',
        b'{"error": [7]}',
    ],
)
def test_any_body_of_a_failure_makes_a_sentence(body: bytes) -> None:
    said = failure(502, body).message
    assert ("too bad" if b"too bad" in body else "no reason") in said


def test_long_words_are_cut_visibly() -> None:
    for length, told in ((500, "x" * 500), (501, "x" * 500 + "…")):
        assert failure(500, body_of("x" * length)).message == f"The model server failed with status 500: {told}."


def test_llama_server_tells_all_about_its_model() -> None:
    meta = {"n_ctx": 4096, "n_ctx_train": 8192, "n_params": 134515008, "size": 96576768, "ftype": "Q4_1"}
    entry = {"id": "m", "owned_by": "llamacpp", "meta": meta, "architecture": {"input_modalities": ["text", "image"]}}
    assert info_of(entry).model_dump(exclude_none=True) == {
        "name": "m",
        "size_bytes": 96576768,
        "parameters": "135M",
        "quantization": "Q4_1",
        "context_length": 4096,
        "capabilities": ["completion", "vision"],
    }
    loaded = running_of(entry)
    assert loaded is not None
    assert (loaded.name, loaded.context_length, loaded.size_bytes) == ("m", 4096, 96576768)


def test_other_servers_tell_what_they_tell() -> None:
    vllm = {"id": "v", "owned_by": "vllm", "max_model_len": 32768}
    studio = {"id": "s", "type": "embeddings", "arch": "bert", "quantization": "Q8_0", "max_context_length": 2048}
    assert info_of(vllm).context_length == 32768
    assert running_of(vllm) is not None
    assert (info_of(studio).family, info_of(studio).quantization) == ("bert", "Q8_0")
    assert (info_of(studio).context_length, info_of(studio).capabilities) == (2048, ["embedding"])
    assert running_of(studio) is None
    assert info_of({"id": "plain"}).model_dump(exclude_none=True) == {"name": "plain", "capabilities": []}


@pytest.mark.parametrize(
    ("told", "length"),
    [
        ({"meta": {"n_ctx_train": 8192}}, 8192),
        ({"meta": {"n_ctx": 0, "n_ctx_train": 8192}}, 8192),
        ({"meta": {"n_ctx": "4096"}, "max_model_len": 32768}, 32768),
        ({"max_context_length": 2048, "context_length": 1}, 2048),
        ({"context_length": 1024}, 1024),
        ({"context_length": True}, None),
        ({"meta": [1]}, None),
    ],
)
def test_the_context_stands_in_one_of_many_places(told: dict[str, Any], length: int | None) -> None:
    assert info_of({"id": "m", **told}).context_length == length


@pytest.mark.parametrize(
    ("told", "capabilities"),
    [
        ({"type": "llm"}, ["completion"]),
        ({"type": "vlm"}, ["completion", "vision"]),
        ({"type": "embeddings", "architecture": {"input_modalities": ["text"]}}, ["embedding"]),
        ({"architecture": {"input_modalities": ["text"]}}, ["completion"]),
        ({"architecture": {"input_modalities": "text, image"}}, ["completion"]),
        ({"architecture": "llama"}, []),
    ],
)
def test_what_a_model_can_do_stands_in_one_of_two_places(told: dict[str, Any], capabilities: list[str]) -> None:
    assert info_of({"id": "m", **told}).capabilities == capabilities


@pytest.mark.parametrize(
    ("count", "written"),
    [(134515008, "135M"), (999_999_999, "1000M"), (10**9, "1.0B"), (8_030_261_248, "8.0B"), (0, None)],
)
def test_weights_are_counted_as_people_write_it(count: int, written: str | None) -> None:
    assert info_of({"id": "m", "meta": {"n_params": count}}).parameters == written


def test_a_model_goes_by_its_name_and_its_aliases() -> None:
    assert names_of({"id": "m", "aliases": ["a", 5, "b"]}) == ["m", "a", "b"]
    assert names_of({"id": "m", "aliases": "abc"}) == names_of({"id": "m"}) == ["m"]


def test_a_list_of_models_comes_with_or_without_a_frame() -> None:
    assert entries_of({"data": [{"id": "m"}]}) == entries_of([{"id": "m"}]) == [{"id": "m"}]
    for wrong in ({}, {"data": {"id": "m"}}, [5], [{"id": 5}], [{"id": "m"}, {}], "m"):
        with pytest.raises(MalformedAnswer, match=r"check that its address ends in /v1"):
            entries_of(wrong)


@pytest.mark.parametrize(("state", "loaded"), [("loaded", True), ("unloaded", False), ("loading", False)])
def test_of_several_models_of_llama_server_only_the_loaded_are_running(state: str, loaded: bool) -> None:
    for owner in ({"owned_by": "llamacpp"}, {}):
        assert (running_of({"id": "m", "status": {"value": state}} | owner) is not None) is loaded


@pytest.mark.parametrize("odd", [5, "", ["a"]])
def test_a_text_of_a_model_that_is_none_is_as_if_it_were_left_out(odd: Any) -> None:
    assert info_of({"id": "m", "arch": odd, "quantization": odd}) == info_of({"id": "m"})


def test_vectors_come_in_the_order_of_the_texts() -> None:
    data = [{"index": 1, "embedding": [2]}, {"index": 0, "embedding": [1.5]}]
    vectors, usage = vectors_of({"data": data, "usage": {"prompt_tokens": 3, "total_tokens": 3}})
    assert vectors == [[1.5], [2.0]]
    assert usage.prompt_tokens == 3
    for none in (None, 5, []):
        assert vectors_of({"data": data, "usage": none})[1] == Usage()


@pytest.mark.parametrize(
    "answer", [{}, [], {"data": None}, {"data": [{"index": 0}]}, {"data": [{"index": 0, "embedding": "x"}]}]
)
def test_vectors_that_are_none_are_a_failure(answer: Any) -> None:
    with pytest.raises(MalformedAnswer, match="vectors that are none"):
        vectors_of(answer)
