"""Every failure has OpenAI's envelope, and the official client raises what belongs to it."""

from typing import Any

import httpx
import openai
import orjson
import pytest

from ollama_mcp import errors
from ollama_mcp.engines.ollama import OllamaEngine
from ollama_mcp.openai_api.errors import response_to
from tests.fake_ollama import FakeOllama, failure, hang
from tests.openai_api.conftest import serving

HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
GOOD: dict[str, Any] = {"model": "llama3.2", "messages": HELLO}


def check_envelope(reply: httpx.Response) -> dict[str, Any]:
    body = reply.json()
    assert set(body) == {"error", "detail"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["message"] == body["detail"] != ""
    assert reply.headers["x-request-id"].startswith("req_")
    return body["error"]


REQUEST, SERVER, RATE = "invalid_request_error", "server_error", "rate_limit_error"
AGAIN = {"x-should-retry": "true"}
IN_VAIN = {"x-should-retry": "false"}
EACH = [
    (errors.ServiceError("x"), 500, SERVER, "internal_error", None, IN_VAIN),
    (errors.InvalidRequest("x"), 400, REQUEST, "invalid_request", None, IN_VAIN),
    (errors.InvalidRequest("x", param="n"), 400, REQUEST, "invalid_request", "n", IN_VAIN),
    (errors.ContextLengthExceeded("x"), 400, REQUEST, "context_length_exceeded", "messages", IN_VAIN),
    (errors.Unsupported("x", param="tools"), 400, REQUEST, "unsupported", "tools", IN_VAIN),
    (errors.ModelNotFound("x"), 404, REQUEST, "model_not_found", "model", IN_VAIN),
    (errors.EngineUnavailable("x"), 503, SERVER, "engine_unavailable", None, AGAIN),
    (errors.EngineBusy("x"), 503, SERVER, "engine_busy", None, {"retry-after": "1"} | AGAIN),
    (errors.EngineBusy("x", retry_after=2.1), 503, SERVER, "engine_busy", None, {"retry-after": "3"} | AGAIN),
    (errors.QueueFull("x", retry_after=7), 429, RATE, "queue_full", None, {"retry-after": "7"} | AGAIN),
    (errors.EngineTimeout("x"), 504, SERVER, "engine_timeout", None, IN_VAIN),
    (errors.EngineRejected("x"), 502, SERVER, "engine_rejected", None, IN_VAIN),
    (errors.EngineFailed("x", status=500), 502, SERVER, "engine_failed", None, IN_VAIN),
    (errors.MalformedAnswer("x"), 502, SERVER, "malformed_answer", None, IN_VAIN),
    (errors.ServerEnding(), 503, SERVER, "server_ending", None, AGAIN),
    (errors.GenerationBroken("x"), 502, SERVER, "generation_broken", None, IN_VAIN),
    (errors.PromptTruncated("x"), 502, SERVER, "prompt_truncated", None, IN_VAIN),
]


@pytest.mark.parametrize(("error", "status", "kind", "code", "param", "headers"), EACH)
def test_each_error_has_its_status_and_tells_whether_to_try_again(
    error: errors.ServiceError, status: int, kind: str, code: str, param: str | None, headers: dict[str, str]
) -> None:
    reply = response_to(error)
    inner = {"message": error.message, "type": kind, "param": param, "code": code}
    assert (reply.status_code, orjson.loads(reply.body)) == (status, {"error": inner, "detail": error.message})
    beside = {name: value for name, value in reply.headers.items() if not name.startswith("content-")}
    assert beside == headers


def test_no_error_is_without_a_row() -> None:
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type)}
    assert {kind for kind in kinds if issubclass(kind, errors.ServiceError)} == {type(row[0]) for row in EACH}


@pytest.mark.parametrize(
    ("change", "param", "says"),
    [
        ({"temperature": 5}, "temperature", "at most 2"),
        ({"temperature": "1"}, "temperature", "must be a number"),
        ({"top_p": -1}, "top_p", "at least 0"),
        ({"max_tokens": 0}, "max_tokens", "at least 1"),
        ({"n": 2}, "n", "must be 1"),
        ({"logit_bias": {"50256": -100}}, "logit_bias", "not supported"),
        ({"modalities": ["text", "audio"]}, "modalities", "no other output"),
        ({"audio": {"voice": "alloy", "format": "wav"}}, "audio", "only text"),
        ({"functions": [{"name": "f"}]}, "functions", "use tools"),
        ({"messages": []}, "messages", "1 or more"),
        ({"messages": "Hello"}, "messages", "must be a list"),
        ({"model": None}, "model", "must be a string"),
        ({"model": "../../etc/passwd"}, "model", "not a model name"),
        ({"model": "evil.example/library/llama3.2"}, "model", "not allowed"),
        ({"top_logprobs": 2}, "top_logprobs", "needs logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "at most 20"),
        ({"tool_choice": "required"}, "tool_choice", "tools is empty"),
        ({"response_format": {"type": "json_schema"}}, "response_format", "json_schema is required"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role", "must be one of 'system'"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "must be a string or a list"),
        ({"messages": [{"role": "user", "content": [{"type": "audio"}]}]}, "messages[0].content[0]", "'image_url'"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/a.png"}}]}
                ]
            },
            "messages[0].content[0].image_url.url",
            "remote images are not fetched",
        ),
        ({"stream": True, "seed": 1.5}, "seed", "whole number"),
    ],
)
def test_a_bad_field_is_named_with_its_bound(
    http: httpx.Client, ollama: FakeOllama, change: dict[str, Any], param: str, says: str
) -> None:
    reply = http.post("/v1/chat/completions", json=GOOD | change)
    assert reply.status_code == 400
    error = check_envelope(reply)
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert says in error["message"]
    assert not ollama.sent("/api/chat")


def test_a_missing_field_is_named(http: httpx.Client) -> None:
    error = check_envelope(http.post("/v1/chat/completions", json={"messages": HELLO}))
    assert error["param"] == "model"
    assert "is required" in error["message"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'{"model": NaN}', b'{"a": 1e999}', b'"\xff"', b'{"a": "\\ud800"}', b"[" * 100_000],
)
def test_a_body_that_is_no_json_object_is_refused(http: httpx.Client, content: bytes) -> None:
    reply = http.post("/v1/chat/completions", content=content, headers={"Content-Type": "application/json"})
    assert reply.status_code == 400
    check_envelope(reply)


def test_a_deeply_nested_body_is_refused(http: httpx.Client) -> None:
    content = b'{"metadata":' * 65 + b"1" + b"}" * 65
    reply = http.post("/v1/chat/completions", content=content, headers={"Content-Type": "application/json"})
    assert reply.status_code == 400
    assert "64 levels" in check_envelope(reply)["message"]


def test_many_shallow_lists_are_no_deep_body(http: httpx.Client) -> None:
    assert http.post("/v1/chat/completions", json=GOOD | {"extra": [[[]]] * 200}).status_code == 200


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_only_json_is_taken(http: httpx.Client, media_type: str) -> None:
    reply = http.post("/v1/chat/completions", content=b"{}", headers={"Content-Type": media_type})
    assert reply.status_code == 415
    check_envelope(reply)


def test_a_charset_beside_the_type_is_no_other_type(http: httpx.Client) -> None:
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert http.post("/v1/chat/completions", json=GOOD, headers=headers).status_code == 200


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_too_large_is_refused(http: httpx.Client, declared: bool) -> None:
    big = b'{"model": "' + b"x" * (4 * 2**20) + b'"}'
    content = big if declared else iter([big[: 2**20], big[2**20 :]])
    reply = http.post("/v1/embeddings", content=content, headers={"Content-Type": "application/json"})
    assert reply.status_code == 413
    assert "4 MiB" in check_envelope(reply)["message"]


# aiohttp warns of bodies over 1 MiB, which images are.
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_images_may_make_a_body_larger(http: httpx.Client) -> None:
    url = "data:image/png;base64," + "A" * (5 * 2**20)
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]
    body = {"model": "llava:7b", "messages": [{"role": "user", "content": parts}]}
    assert http.post("/v1/chat/completions", json=body).status_code == 200
    long_text = {"model": "llava:7b", "messages": [{"role": "user", "content": "A" * (5 * 2**20)}]}
    refused = http.post("/v1/chat/completions", json=long_text)
    error = check_envelope(refused)
    assert (refused.status_code, error["code"], error["type"]) == (413, "request_too_large", REQUEST)
    assert "4 MiB" in error["message"]


def test_an_unknown_page_and_a_wrong_method_have_the_envelope(http: httpx.Client) -> None:
    reply = http.get("/v1/nothing")
    error = check_envelope(reply)
    assert (reply.status_code, error["code"], error["type"]) == (404, "not_found", REQUEST)
    assert "/v1/nothing" in error["message"]
    assert "/docs" in error["message"]
    reply = http.get("/v1/chat/completions")
    error = check_envelope(reply)
    assert (reply.status_code, error["code"], error["type"]) == (405, "method_not_allowed", REQUEST)
    assert error["message"] == "GET is not possible at /v1/chat/completions; use POST."
    assert reply.headers["allow"] == "POST"


@pytest.mark.parametrize("stream", [False, True])
def test_an_unknown_model_is_not_found(client: openai.OpenAI, stream: bool) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="llama9", messages=HELLO, stream=stream)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert "ollama pull llama9" in caught.value.message
    assert caught.value.request_id


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "message", "expected", "code", "retry"),
    [
        (503, "server busy, please try again.  maximum pending requests exceeded", 503, "engine_busy", "true"),
        (500, "llama runner process has terminated: CUDA error", 502, "engine_failed", "false"),
        (401, "unauthorized", 502, "engine_rejected", "false"),
        (400, "registry.ollama.ai/library/x does not support tools", 400, "unsupported", "false"),
    ],
)
def test_a_failure_of_ollama_before_the_answer_has_its_true_status(
    http: httpx.Client,
    ollama: FakeOllama,
    stream: bool,
    status: int,
    message: str,
    expected: int,
    code: str,
    retry: str,
) -> None:
    ollama.chat_script = [failure(status, message)] * 3
    reply = http.post("/v1/chat/completions", json=GOOD | {"stream": stream})
    assert reply.status_code == expected
    assert check_envelope(reply)["code"] == code
    assert reply.headers["x-should-retry"] == retry
    assert ("retry-after" in reply.headers) == (code == "engine_busy")


def test_a_prompt_too_long_for_the_context_says_so(client: openai.OpenAI, ollama: FakeOllama) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model="llama3.2", messages=[{"role": "user", "content": "word " * 5000}], extra_body={"num_ctx": 512}
        )
    assert caught.value.code == "context_length_exceeded"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/v1/models/llama3.2"])
def test_ollama_being_down_is_a_503_that_names_it(path: str) -> None:
    with serving(lambda: OllamaEngine("http://127.0.0.1:1")) as url:
        method = "POST" if path.endswith("completions") else "GET"
        reply = httpx.request(method, url + path, json=GOOD if method == "POST" else None, trust_env=False)
    assert reply.status_code == 503
    assert check_envelope(reply)["message"].startswith("Failed to connect to Ollama at http://127.0.0.1:1")


def test_an_ollama_that_says_nothing_is_a_504_that_is_not_tried_again() -> None:
    with (
        FakeOllama.in_thread(loaded={"llama3.2:latest": 4096}) as fake,
        serving(lambda: OllamaEngine(fake.url), first_token_timeout=0.2) as url,
    ):
        fake.chat_script = [hang]
        reply = httpx.post(f"{url}/v1/chat/completions", json=GOOD, trust_env=False)
    assert reply.status_code == 504
    assert check_envelope(reply)["code"] == "engine_timeout"
    assert reply.headers["x-should-retry"] == "false"


def test_a_bug_is_a_500_that_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    secret = "what the user wrote"

    class Broken(OllamaEngine):
        async def models(self) -> Any:
            raise ZeroDivisionError(secret)

    with serving(lambda: Broken("http://127.0.0.1:1")) as url:
        reply = httpx.get(f"{url}/v1/models", trust_env=False)
    assert reply.status_code == 500
    error = check_envelope(reply)
    assert secret not in reply.text
    assert "ZeroDivision" not in reply.text
    assert (error["type"], error["code"]) == ("server_error", "internal_error")
    assert "the log has more under this request's id" in error["message"]
    assert reply.headers["x-request-id"] in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert secret not in caplog.text


def test_a_request_id_is_never_taken_from_outside(http: httpx.Client) -> None:
    ids = {http.get("/health/live", headers={"x-request-id": "mine"}).headers["x-request-id"] for _ in range(2)}
    assert len(ids) == 2
    assert "mine" not in ids


def test_a_listed_origin_may_send_any_header(http: httpx.Client) -> None:
    asked = {
        "Origin": "http://app.test",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,x-stainless-lang",
    }
    allowed = http.options("/v1/chat/completions", headers=asked)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "http://app.test"
    assert "x-stainless-lang" in allowed.headers["access-control-allow-headers"]
    refused = http.options("/v1/chat/completions", headers=asked | {"Origin": "http://evil.test"})
    assert "access-control-allow-origin" not in refused.headers
