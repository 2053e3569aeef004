"""Decisions with probabilities: from the engine's own endpoint where it has one, else from the model's next token."""

import math
import string
from collections.abc import Sequence
from typing import Any, Literal

import orjson
from pydantic import Field

from ollama_mcp.chat import Ask, ChatRequest, ChatResult, JsonSchemaFormat, Lazy, Message, ResponseFormat
from ollama_mcp.engines.base import DecideRequest, Decision
from ollama_mcp.errors import GenerationBroken

MAX_CHOICES = 20
"""As many alternatives of a token as engines tell."""

LEAST_COVERAGE = 0.05
"""Below that the model's next token is no choice, and what the choices share of it means nothing."""

INSTRUCTIONS = {
    "choice": "Which of the answers fits the text best?",
    "yes_no": "Is this so?",
    "score": "Which score does the text deserve?",
}

Method = Literal["decision_endpoint", "logprobs", "answer"]


class Classification(Lazy):
    """What was decided, and how sure the model was."""

    model: str
    choice: str = Field(description="The most probable choice")
    probabilities: dict[str, float] | None = Field(None, description="Of each choice; absent for the method answer")
    score: float | None = Field(None, description="The expected score, where one was asked for")
    method: Method
    coverage: float | None = Field(
        None, description="For logprobs: what share of the model's next token the choices had; low means unsure"
    )


def from_endpoint(request: DecideRequest, decision: Decision) -> Classification:
    """What the engine's endpoint decided."""
    return _classified(request, decision.model, decision.probabilities, method="decision_endpoint")


async def from_answers(ask: Ask, request: DecideRequest) -> Classification:
    """What the model would say next, else what it says."""
    letters = dict(zip(string.ascii_uppercase, request.choices, strict=False))
    answer = await ask(_question(request, letters, max_tokens=1, logprobs=True, top_logprobs=MAX_CHOICES))
    weights = _weights(answer, letters)
    coverage = sum(weights.values())
    if coverage >= LEAST_COVERAGE:
        shares = {letters[letter]: weight / coverage for letter, weight in weights.items()}
        return _classified(request, answer.model, shares, method="logprobs", coverage=round(min(coverage, 1.0), 4))
    form = JsonSchemaFormat.model_validate({"schema": {"enum": request.choices}})
    said = await ask(
        _question(request, letters, response_format=ResponseFormat(type="json_schema", json_schema=form))
    )
    choice = _choice_in(said.content, request.choices, letters)
    if choice is None:
        raise GenerationBroken(
            f"{said.model} chose none of the answers; use another model, or put the question more plainly.",
            partial=said.content,
        )
    score = float(choice) if request.kind == "score" else None
    return Classification(model=said.model, choice=choice, score=score, method="answer")


def _question(request: DecideRequest, letters: dict[str, str], **options: Any) -> ChatRequest:
    listed = "\n".join(f"{letter}. {choice}" for letter, choice in letters.items())
    form = "the answer alone, as JSON" if "response_format" in options else "the letter of one answer alone"
    text = f"{request.instruction}\n\nText:\n{request.text}\n\nAnswers:\n{listed}\n\nReply with {form}."
    return ChatRequest(
        model=request.model,
        messages=[Message(role="user", content=text)],
        temperature=0.0,
        think=False,  # a model that thinks would not choose with its first token
        **options,
    )


def _weights(answer: ChatResult, letters: dict[str, str]) -> dict[str, float]:
    """The probability of each letter as the first token, however the token is written: "A", " A", "A."."""
    weights = dict.fromkeys(letters, 0.0)
    if not answer.logprobs:
        return weights
    first = answer.logprobs[0]
    tokens = {token["token"]: token["logprob"] for token in [*(first.get("top_logprobs") or ()), first]}
    for token, logprob in tokens.items():
        if (letter := token.strip(" \n\t▁Ġ*().:\"'`[]")) in weights:
            weights[letter] += math.exp(min(logprob, 0.0))  # above 0 it is nonsense, and far above it no number
    return weights


def _choice_in(text: str, choices: Sequence[str], letters: dict[str, str]) -> str | None:
    try:
        said = orjson.loads(text)
    except orjson.JSONDecodeError:
        said = text
    plain = str(said).strip(" \n\t*.\"'").casefold()
    for choice in choices:
        if choice.casefold() == plain:
            return choice
    return letters.get(plain.upper())


def _classified(
    request: DecideRequest,
    model: str,
    probabilities: dict[str, float],
    *,
    method: Method,
    coverage: float | None = None,
) -> Classification:
    expected = (
        sum(float(choice) * share for choice, share in probabilities.items()) if request.kind == "score" else None
    )
    return Classification(
        model=model,
        choice=max(probabilities, key=lambda choice: probabilities[choice]),
        probabilities={choice: round(share, 6) for choice, share in probabilities.items()},
        score=None if expected is None else round(expected, 4),
        method=method,
        coverage=coverage,
    )
