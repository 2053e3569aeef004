"""Decisions through a real MCP client, over a fake Ollama."""

import math

import pytest
from jsonschema import validate

from .fake_ollama import answer, failure, last, line, says, stream
from .harness import ERAS, client_over, text_of, warm_ollama

pytestmark = pytest.mark.anyio

MOODS = {"model": "llama3.2", "text": "What a day!", "choices": ["happy", "sad", "angry"]}


def next_token(**shares: float):
    """An answer of one token, with the probabilities of what might have stood there; `_` is a space."""
    tokens = [
        {"token": token.replace("_", " "), "logprob": math.log(share), "bytes": None}
        for token, share in sorted(shares.items(), key=lambda pair: -pair[1])
    ]
    first = tokens[0] | {"top_logprobs": tokens}
    return stream(line(tokens[0]["token"], logprobs=[first]), last(reason="length", tokens=1))


def decides(**said):
    usage = {"input_tokens": 9, "output_tokens": 0}
    return answer(200, {"model": "llama3.2:latest", "answers": {"decision": said}, "usage": usage})


@pytest.mark.parametrize("mode", ERAS)
async def test_without_a_decision_endpoint_the_next_token_decides(mode: str) -> None:
    async with warm_ollama() as fake, client_over(fake, mode=mode) as client:
        fake.chat_script = [next_token(A=0.5, _A=0.1, B=0.2, The=0.2)]
        result = await client.call_tool("classify", {**MOODS, "instruction": "Which mood?"})
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    found = result.structured_content
    validate(found, tools["classify"].output_schema)
    assert found["method"] == "logprobs"
    assert found["choice"] == "happy"
    assert found["probabilities"] == pytest.approx({"happy": 0.75, "sad": 0.25, "angry": 0.0}, abs=1e-5)
    assert found["coverage"] == pytest.approx(0.8, abs=1e-3)
    sent = fake.sent("/api/chat")[-1]
    assert sent["top_logprobs"] == 20
    assert sent["options"]["num_predict"] == 1
    assert "Which mood?" in sent["messages"][0]["content"]
    assert "B. sad" in sent["messages"][0]["content"]


async def test_a_probability_is_never_more_than_certain() -> None:
    token = {"token": "B", "logprob": 1e6, "top_logprobs": [{"token": "A", "logprob": -1e6}]}
    async with warm_ollama() as fake, client_over(fake) as client:
        fake.chat_script = [stream(line("B", logprobs=[token]), last(reason="length", tokens=1))]
        result = await client.call_tool("classify", {"model": "llama3.2", "text": "2 + 2 = 5", "type": "yes_no"})
    assert result.structured_content["probabilities"] == {"yes": 0.0, "no": 1.0}


async def test_yes_or_no() -> None:
    async with warm_ollama() as fake, client_over(fake) as client:
        fake.chat_script = [next_token(B=0.9, A=0.1)]
        result = await client.call_tool("classify", {"model": "llama3.2", "text": "2 + 2 = 5", "type": "yes_no"})
    assert result.structured_content["choice"] == "no"
    assert result.structured_content["probabilities"] == pytest.approx({"yes": 0.1, "no": 0.9}, abs=1e-5)


async def test_a_score_is_the_expected_one() -> None:
    asked = {"model": "llama3.2", "text": "Not bad.", "type": "score", "min": 0, "max": 2}
    async with warm_ollama() as fake, client_over(fake) as client:
        fake.chat_script = [next_token(B=0.5, C=0.5)]
        result = await client.call_tool("classify", asked)
    assert result.structured_content["score"] == pytest.approx(1.5)
    assert list(result.structured_content["probabilities"]) == ["0", "1", "2"]


async def test_without_probabilities_the_answer_itself_decides() -> None:
    async with warm_ollama() as fake, client_over(fake) as client:
        fake.chat_script = [says("Well"), says('"sad"')]
        result = await client.call_tool("classify", MOODS)
    found = result.structured_content
    assert (found["method"], found["choice"]) == ("answer", "sad")
    assert "probabilities" not in found
    assert fake.sent("/api/chat")[-1]["format"] == {"enum": MOODS["choices"]}


async def test_a_token_that_is_no_choice_is_not_taken_for_one() -> None:
    async with warm_ollama() as fake, client_over(fake) as client:
        fake.chat_script = [next_token(The=0.99, A=0.01), says('"angry"')]
        result = await client.call_tool("classify", MOODS)
    assert result.structured_content["method"] == "answer"


async def test_an_answer_that_is_none_of_the_choices_is_an_error() -> None:
    async with warm_ollama() as fake, client_over(fake) as client:
        fake.chat_script = [says("Hm"), says("I would rather not say.")]
        result = await client.call_tool("classify", MOODS)
    assert result.is_error
    assert "I would rather not say." in text_of(result)


async def test_the_engines_endpoint_decides_where_there_is_one() -> None:
    async with warm_ollama() as fake, client_over(fake) as client:
        shares = {"happy": 0.2, "sad": 0.7, "angry": 0.1}
        fake.on("/v1/systemone", decides(type="choice", choice="sad", probabilities=shares, confidence=0.7))
        choice = await client.call_tool("classify", {**MOODS, "instruction": "Which mood?"})
        fake.on("/v1/systemone", decides(type="noul", noul=0.25))
        truth = await client.call_tool("classify", {"model": "llama3.2", "text": "So?", "type": "yes_no"})
        legend = {"0": "3", "1": "4", "2": "5"}
        scored = decides(type="score", score=1.5, legend=legend, probabilities={"0": 0, "1": 0.5, "2": 0.5})
        fake.on("/v1/systemone", scored)
        score = await client.call_tool(
            "classify", {"model": "llama3.2", "text": "So?", "type": "score", "min": 3, "max": 5}
        )
    assert choice.structured_content == {
        "model": "llama3.2:latest",
        "choice": "sad",
        "probabilities": shares,
        "method": "decision_endpoint",
    }
    assert truth.structured_content["probabilities"] == {"yes": 0.25, "no": 0.75}
    assert score.structured_content["score"] == 4.5
    assert fake.sent("/api/chat") == []
    assert fake.sent("/v1/systemone")[0] == {
        "model": "llama3.2",
        "state": "What a day!",
        "questions": {
            "decision": {
                "type": "choice",
                "instructions": "Which mood?",
                "criteria": {"happy": None, "sad": None, "angry": None},
            }
        },
    }


@pytest.mark.parametrize("missing", [answer(404, "404 page not found"), answer(405, "405 method not allowed")])
async def test_an_endpoint_that_is_not_there_is_asked_for_once(missing) -> None:
    async with warm_ollama() as fake, client_over(fake) as client:
        fake.on("/v1/systemone", missing)
        for _ in range(2):
            fake.chat_script = [next_token(A=1.0)]
            result = await client.call_tool("classify", MOODS)
    assert result.structured_content["method"] == "logprobs"
    assert len(fake.sent("/v1/systemone")) == 1


async def test_a_model_that_cannot_decide_so_answers_the_other_way() -> None:
    async with warm_ollama() as fake, client_over(fake) as client:
        fake.on("/v1/systemone", failure(400, '"llama3.2" does not support systemone'))
        fake.chat_script = [next_token(A=1.0)]
        result = await client.call_tool("classify", MOODS)
    assert result.structured_content["method"] == "logprobs"


async def test_a_failing_endpoint_is_an_error() -> None:
    async with warm_ollama() as fake, client_over(fake) as client:
        fake.on("/v1/systemone", failure(500, "out of memory"))
        result = await client.call_tool("classify", MOODS)
        fake.on("/v1/systemone", answer(200, {"answers": {}}))
        strange = await client.call_tool("classify", MOODS)
    assert "out of memory" in text_of(result)
    assert result.is_error
    assert strange.is_error


async def test_an_unknown_model_is_an_error_with_close_names() -> None:
    async with warm_ollama() as fake, client_over(fake) as client:
        result = await client.call_tool("classify", {**MOODS, "model": "lama3.2"})
    assert result.is_error
    assert "llama3.2:latest" in text_of(result)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"text": "?"}, "either choices, or type"),
        ({"text": "?", "choices": ["a", "b"], "type": "yes_no"}, "either choices, or type"),
        ({"text": "?", "choices": ["a"]}, "choices"),
        ({"text": "?", "choices": ["a", "a"]}, "names one twice"),
        ({"text": "?", "type": "score", "min": 5, "max": 5}, "max must be above min"),
        ({"text": "?", "type": "score", "min": 0, "max": 20}, "less than 20"),
    ],
)
async def test_bad_arguments_are_told_in_a_sentence(arguments: dict, words: str) -> None:
    async with warm_ollama() as fake, client_over(fake) as client:
        result = await client.call_tool("classify", arguments)
    assert result.is_error
    assert words in text_of(result)
