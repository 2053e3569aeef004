"""Embeddings in Ollama's JSON. No I/O."""

from typing import Any

from pydantic import ValidationError

from ollama_mcp.engines.base import EmbedRequest, EmbedResult
from ollama_mcp.engines.ollama_wire import usage_of
from ollama_mcp.errors import InvalidRequest, MalformedAnswer


def embed_body(request: EmbedRequest) -> dict[str, Any]:
    """The body of /api/embed for a request."""
    body: dict[str, Any] = {"model": request.model, "input": request.input, "truncate": False}
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    if request.keep_alive is not None:
        body["keep_alive"] = request.keep_alive
    return body


def embed_result(answer: dict[str, Any], request: EmbedRequest) -> EmbedResult:
    """The vectors in an answer of /api/embed; Ollama gives shorter ones than asked for without a word."""
    vectors = answer.get("embeddings")
    if not isinstance(vectors, list) or len(vectors) != len(request.input):
        raise MalformedAnswer(f"Ollama did not send a vector for each of the {len(request.input)} texts.")
    try:
        result = EmbedResult(model=request.model, embeddings=vectors, usage=usage_of(answer))
    except ValidationError as error:
        raise MalformedAnswer("Ollama sent vectors that are not lists of numbers.") from error
    length = len(result.embeddings[0]) if result.embeddings else 0
    if request.dimensions is not None and length < request.dimensions and result.embeddings:
        raise InvalidRequest(
            f"The vectors of {request.model} have {length} dimensions; ask for no more.", param="dimensions"
        )
    return result
