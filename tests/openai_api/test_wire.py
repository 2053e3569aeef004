"""JSON as it leaves."""

import json

import pytest

from ollama_mcp.openai_api.wire import dumps


@pytest.mark.parametrize("text", ["plain", "Grüße", "\u2028\u2029\u0085", "\U0001f600", '"\\\n\r\x00'])
def test_any_text_leaves_as_one_line_of_ascii_and_comes_back_whole(text: str) -> None:
    data = dumps({"text": text})
    assert data.isascii()
    assert len(data.splitlines()) == 1
    assert json.loads(data) == {"text": text}


@pytest.mark.parametrize("text", ["a", "ä"])
def test_a_number_that_json_does_not_know_becomes_null(text: str) -> None:
    assert json.loads(dumps({"text": text, "logprob": float("-inf")})) == {"text": text, "logprob": None}
