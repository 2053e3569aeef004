"""The published document is what the server does."""

from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from ollama_mcp.engines.ollama import OllamaEngine
from tests.fake_ollama import FakeOllama
from tests.openai_api.conftest import serving

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def document(http: httpx.Client) -> dict[str, Any]:
    return http.get("/openapi.json").json()


def check(document: dict[str, Any], method: str, path: str, reply: httpx.Response) -> None:
    described = document["paths"][path][method]["responses"][str(reply.status_code)]
    schema = described["content"]["application/json"]["schema"]
    Draft202012Validator({**schema, "components": document["components"]}).validate(reply.json())


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"model": "llama3.2", "messages": HELLO}),
        ("/v1/chat/completions", {"model": "qwen3:8b", "messages": HELLO, "logprobs": True}),
        ("/v1/chat/completions", {"model": "llama9", "messages": HELLO}),
        ("/v1/chat/completions", {"model": "llama3.2"}),
        ("/v1/completions", {"model": "llama3.2", "prompt": "x", "logprobs": 1}),
        ("/v1/embeddings", {"model": "nomic-embed-text", "input": "x"}),
        ("/v1/embeddings", {"model": "nomic-embed-text", "input": ["x"], "encoding_format": "base64"}),
        ("/v1/responses", {"model": "qwen3:8b", "input": "x"}),
    ],
)
def test_answers_are_as_described(
    http: httpx.Client, document: dict[str, Any], path: str, body: dict[str, Any]
) -> None:
    check(document, "post", path, http.post(path, json=body))


@pytest.mark.parametrize("path", ["/v1/models", "/health", "/health/live", "/health/ready"])
def test_answers_to_get_are_as_described(http: httpx.Client, document: dict[str, Any], path: str) -> None:
    check(document, "get", path, http.get(path))


def test_every_example_is_a_request_that_works(
    http: httpx.Client, document: dict[str, Any], ollama: FakeOllama
) -> None:
    tried = 0
    for path, methods in document["paths"].items():
        for operation in methods.values():
            if "requestBody" in operation:
                content = operation["requestBody"]["content"]["application/json"]
                Draft202012Validator({**content["schema"], "components": document["components"]}).validate(
                    content["example"]
                )
                model = {"model": "nomic-embed-text"} if "embeddings" in path else {}
                assert http.post(path, json=content["example"] | model).status_code == 200
                tried += 1
    assert tried == 4


def test_a_server_with_keys_asks_for_one_and_names_no_model_of_its_own(ollama: FakeOllama) -> None:
    ollama.requests.clear()
    with serving(lambda: OllamaEngine(ollama.url), api_keys=("k" * 40,), default_model="my-secret-model") as url:
        document = httpx.get(f"{url}/openapi.json", trust_env=False)
    assert document.json()["security"] == [{"key": []}]
    assert document.json()["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert "my-secret-model" not in document.text
    assert not ollama.requests


@pytest.mark.parametrize(
    ("path", "name", "good", "changes"),
    [
        (
            "/v1/chat/completions",
            "ChatCompletionBody",
            {"model": "llama3.2", "messages": HELLO},
            (
                ({"temperature": 2}, True),
                ({"temperature": 2.1}, False),
                ({"stop": "END"}, True),
                ({"stop": 5}, False),
                ({"n": 1}, True),
                ({"n": 2}, False),
                ({"logit_bias": {}}, True),
                ({"logit_bias": {"1": 1}}, False),
                ({"audio": None}, True),
                ({"messages": []}, False),
            ),
        ),
        (
            "/v1/responses",
            "ResponseBody",
            {"model": "llama3.2", "input": "Hello"},
            (
                ({"temperature": 2}, True),
                ({"temperature": 2.1}, False),
                ({"background": False}, True),
                ({"background": None}, True),
                ({"background": True}, False),
                ({"previous_response_id": None}, True),
                ({"previous_response_id": "resp_1"}, False),
                ({"input": HELLO}, True),
                ({"input": []}, False),
                ({"tools": [{"type": "web_search"}]}, False),
            ),
        ),
    ],
)
def test_the_bounds_of_the_document_are_those_of_the_server(
    http: httpx.Client, document: dict[str, Any], path: str, name: str, good: dict[str, Any], changes: Any
) -> None:
    validator = Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": document["components"]})
    for change, allowed in changes:
        assert validator.is_valid(good | change) == allowed, change
        reply = http.post(path, json=good | change)
        assert (reply.status_code == 200) == allowed, change
