"""Completions, embeddings, models and health."""

from typing import Any

import httpx
import openai
import pytest

from ollama_mcp.engines.ollama import OllamaEngine
from tests.fake_ollama import FakeOllama, last, line, stream
from tests.openai_api.conftest import serving
from tests.openai_api.test_chat import chunks_of


def test_a_prompt_is_completed(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="llama3.2", prompt="Hello")
    assert (answer.object, answer.choices[0].text) == ("text_completion", "You said: Hello")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage
    assert answer.usage.total_tokens > 0


def test_a_prompt_is_completed_as_a_stream(client: openai.OpenAI) -> None:
    chunks = list(
        client.completions.create(
            model="gpt-4o-mini", prompt=["Hello"], echo=True, stream=True, stream_options={"include_usage": True}
        )
    )
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == "HelloYou said: Hello"
    assert {chunk.model for chunk in chunks} == {"gpt-4o-mini"}
    assert chunks[-1].usage
    assert chunks[-2].choices[0].finish_reason == "stop"


@pytest.mark.parametrize("counted", [False, True])
def test_each_chunk_of_a_completion_is_whole(http: httpx.Client, ollama: FakeOllama, counted: bool) -> None:
    tokens = [{"token": "Hi", "logprob": -0.5, "top_logprobs": [{"token": "Ho", "logprob": -1.5}]}]
    ollama.chat_script = [
        stream(line("", thinking="Hm"), line("Hi", logprobs=tokens), line(" you"), last(prompt=9, reason="length"))
    ]
    body = {"model": "llama3.2", "prompt": "Oh", "echo": True, "logprobs": 1, "stream": True}
    chunks = chunks_of(http.post("/v1/completions", json=body | {"stream_options": {"include_usage": counted}}).text)
    [(chunk_id, kind, model)] = {(chunk.pop("id"), chunk.pop("object"), chunk.pop("model")) for chunk in chunks}
    assert chunk_id.startswith("cmpl-")
    assert (kind, model) == ("text_completion", "llama3.2")
    assert len({chunk.pop("created") for chunk in chunks}) == 1
    logprobs = {"tokens": ["Hi"], "token_logprobs": [-0.5], "top_logprobs": [{"Ho": -1.5}], "text_offset": [2]}
    choices = [("Oh", None, None), ("Hi", logprobs, None), (" you", None, None), ("", None, "length")]
    usage = {"usage": None} if counted else {}
    expected: list[Any] = [
        {"choices": [{"index": 0, "text": text, "logprobs": found, "finish_reason": reason}]} | usage
        for text, found, reason in choices
    ]
    if counted:
        counts = {"prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16}
        expected.append({"choices": [], "usage": counts})
    assert chunks == expected


def test_a_completion_without_options_streams_its_pieces_alone(http: httpx.Client, ollama: FakeOllama) -> None:
    token = {"token": "", "logprob": -0.5}
    ollama.chat_script = [stream(line("Hi"), line("", thinking="Hm"), line("", logprobs=[token]), last())]
    text = http.post("/v1/completions", json={"model": "llama3.2", "prompt": "Oh", "stream": True}).text
    assert text.startswith("data: {")
    assert [chunk["choices"][0]["text"] for chunk in chunks_of(text)] == ["Hi", "", ""]
    assert text.count("data: ") == len(text.strip().split("\n\n")) == 4


def test_logprobs_tell_where_each_token_begins(client: openai.OpenAI) -> None:
    logprobs = client.completions.create(model="llama3.2", prompt="Hello", logprobs=2).choices[0].logprobs
    assert logprobs
    assert logprobs.tokens == ["You", " said:", " Hello"]
    assert logprobs.text_offset == [0, 3, 9]
    assert logprobs.top_logprobs
    assert logprobs.top_logprobs[0] == {"You": -0.25, " other": -1.5}


@pytest.mark.parametrize(
    "change", [{"prompt": [1, 2]}, {"prompt": ["a", "b"]}, {"suffix": "x"}, {"best_of": 2}, {"n": 2}, {"logprobs": 6}]
)
def test_what_a_completion_cannot_do_is_refused_by_name(http: httpx.Client, change: dict[str, Any]) -> None:
    reply = http.post("/v1/completions", json={"model": "llama3.2", "prompt": "Hello"} | change)
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == next(iter(change))


def test_embeddings_keep_the_order_of_the_texts(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="nomic-embed-text", input=["one", "two"])
    alone = client.embeddings.create(model="nomic-embed-text", input="two")
    assert [item.index for item in answer.data] == [0, 1]
    assert answer.data[1].embedding == alone.data[0].embedding
    assert answer.data[0].embedding != answer.data[1].embedding
    assert answer.usage.prompt_tokens == 2


def test_both_forms_of_an_embedding_are_the_same_numbers(client: openai.OpenAI) -> None:
    plain = client.embeddings.create(model="nomic-embed-text", input="one", encoding_format="float")
    packed = client.embeddings.create(model="nomic-embed-text", input="one")  # the client asks for base64 by itself
    assert packed.data[0].embedding == pytest.approx(plain.data[0].embedding, abs=1e-6)


def test_an_embedding_has_the_dimensions_asked_for(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="nomic-embed-text", input="one", dimensions=8)
    assert len(answer.data[0].embedding) == 8


@pytest.mark.parametrize("given", [[1, 2], [[1, 2]], "", [], ["a", 1], ["x"] * 2049, None])
def test_an_input_that_is_no_text_is_refused(http: httpx.Client, given: Any) -> None:
    reply = http.post("/v1/embeddings", json={"model": "nomic-embed-text", "input": given})
    assert reply.status_code == 400
    assert reply.json()["error"]["param"].startswith("input")


def test_models_and_aliases_of_installed_ones_are_listed(client: openai.OpenAI) -> None:
    models = {model.id: model for model in client.models.list()}
    assert {"llama3.2:latest", "qwen3:8b", "gpt-4o-mini"} <= set(models)
    assert "missing" not in models
    assert models["gpt-4o-mini"].created == models["llama3.2:latest"].created > 1_700_000_000


def test_a_model_is_found_by_its_name_and_by_an_alias(client: openai.OpenAI) -> None:
    assert client.models.retrieve("llama3.2").id == "llama3.2"
    assert client.models.retrieve("gpt-4o-mini").id == "gpt-4o-mini"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("llama9")
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize("path", ["hf.co/someone/model-GGUF:Q4_K_M", "hf.co%2Fsomeone%2Fmodel-GGUF:Q4_K_M"])
def test_a_models_name_may_hold_slashes(http: httpx.Client, path: str) -> None:
    reply = http.get(f"/v1/models/{path}")
    assert reply.status_code == 404
    assert "'hf.co/someone/model-GGUF:Q4_K_M'" in reply.json()["detail"]


def test_health_tells_of_the_engine(http: httpx.Client, ollama: FakeOllama) -> None:
    health = http.get("/health").json()
    assert (health["status"], health["ollama_url"], health["reachable"]) == ("ok", ollama.url, True)
    assert http.get("/health/ready").status_code == 200


def test_health_asks_the_engine_once_in_two_seconds() -> None:
    with FakeOllama.in_thread() as fake, serving(lambda: OllamaEngine(fake.url)) as url:
        for path in ("/health", "/health/ready", "/health"):
            httpx.get(url + path, trust_env=False)
        assert [request.path for request in fake.requests].count("/api/version") == 1
        httpx.get(url + "/health/live", trust_env=False)
        assert len(fake.requests) == 3


def test_without_an_engine_the_server_is_alive_but_not_ready() -> None:
    with serving(lambda: OllamaEngine("http://127.0.0.1:1")) as url:
        health = httpx.get(f"{url}/health", trust_env=False)
        assert (health.status_code, health.json()["status"]) == (200, "unreachable")
        assert health.json()["advice"]
        assert httpx.get(f"{url}/health/live", trust_env=False).json() == {"status": "ok"}
        assert httpx.get(f"{url}/health/ready", trust_env=False).status_code == 503
