"""Decisions in the JSON of Ollama's /v1/systemone. No I/O."""

from typing import Any

from ollama_mcp.engines.base import DecideRequest, Decision
from ollama_mcp.errors import MalformedAnswer

QUESTION = "decision"


def decide_body(request: DecideRequest) -> dict[str, Any]:
    """The body for a request; its one question is named "decision"."""
    question: dict[str, Any] = {"instructions": request.instruction}
    match request.kind:
        case "choice":
            question |= {"type": "choice", "criteria": dict.fromkeys(request.choices)}
        case "yes_no":
            question |= {"type": "noul"}
        case "score":
            question |= {"type": "score", "criteria": request.choices}
    return {"model": request.model, "state": request.text, "questions": {QUESTION: question}}


def decision_of(answer: dict[str, Any], request: DecideRequest) -> Decision:
    """The probabilities of all choices in an answer."""
    try:
        said = answer["answers"][QUESTION]
        if request.kind == "yes_no":
            yes, no = request.choices
            probabilities = {yes: float(said["noul"]), no: 1 - float(said["noul"])}
        else:
            # Scores are counted from zero; the legend says which criterion each number stands for.
            legend = said.get("legend") or {}
            named = {
                request.choices[int(key)] if key in legend else key: float(share)
                for key, share in said["probabilities"].items()
            }
            probabilities = {choice: named[choice] for choice in request.choices}
        return Decision(model=str(answer.get("model") or request.model), probabilities=probabilities)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise MalformedAnswer("Ollama decided in a form that is not known; use a newer ollama-mcp.") from error
