"""The OpenAPI document, made from the models that validate the requests."""

from http import HTTPStatus
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from ollama_mcp import __version__
from ollama_mcp.openai_api import answers
from ollama_mcp.openai_api.errors import TABLE
from ollama_mcp.openai_api.responses_schemas import ResponseBody
from ollama_mcp.openai_api.schemas import ChatCompletionBody, CompletionBody, EmbeddingBody


class Operation(NamedTuple):
    """One method of one path; `example` lacks the model, which the settings know."""

    method: str
    path: str
    name: str
    summary: str
    tag: str
    answer: type[BaseModel]
    body: type[BaseModel] | None = None
    example: dict[str, Any] | None = None
    streams: bool = False


_HELLO = "Why is the sky blue?"

OPERATIONS = (
    Operation(
        "post",
        "/v1/chat/completions",
        "createChatCompletion",
        "Continue a conversation",
        "OpenAI",
        answers.ChatCompletion,
        ChatCompletionBody,
        {"messages": [{"role": "user", "content": _HELLO}]},
        streams=True,
    ),
    Operation(
        "post",
        "/v1/responses",
        "createResponse",
        "Answer an input",
        "OpenAI",
        answers.ResponseAnswer,
        ResponseBody,
        {"input": _HELLO},
        streams=True,
    ),
    Operation(
        "post",
        "/v1/completions",
        "createCompletion",
        "Answer a prompt, the older form",
        "OpenAI",
        answers.Completion,
        CompletionBody,
        {"prompt": _HELLO},
        streams=True,
    ),
    Operation(
        "post",
        "/v1/embeddings",
        "createEmbedding",
        "Turn texts into vectors",
        "OpenAI",
        answers.EmbeddingList,
        EmbeddingBody,
        {"input": ["a text", "another one"]},
    ),
    Operation("get", "/v1/models", "listModels", "List the models", "OpenAI", answers.ModelList),
    Operation("get", "/v1/models/{id}", "retrieveModel", "Look up a model", "OpenAI", answers.Model),
    Operation("get", "/health", "health", "The server and its engine", "Health", answers.HealthAnswer),
    Operation("get", "/health/live", "live", "Whether the process answers", "Health", answers.Live),
    Operation(
        "get",
        "/health/ready",
        "ready",
        "Whether requests can be served; 503 if the engine is not reachable",
        "Health",
        answers.HealthAnswer,
    ),
)
_REFS = "#/components/schemas/{model}"


def build_document(model: str, *, keyed: bool) -> dict[str, Any]:
    """The document, with a model's name for the examples; `keyed` if requests need a key."""
    bodies = [(operation.body, "validation") for operation in OPERATIONS if operation.body]
    replies = [(operation.answer, "serialization") for operation in OPERATIONS]
    _, schemas = models_json_schema(
        [*bodies, *replies, (answers.ErrorAnswer, "serialization")],  # type: ignore[list-item] # the modes are literals
        ref_template=_REFS,
    )
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _describe(operation, model)
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "ollama-mcp",
            "version": __version__,
            "description": "Local models through the API of OpenAI.",
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": schemas["$defs"]},
    }
    if keyed:
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"key": []}]
    return document


def _describe(operation: Operation, model: str) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": _schema(operation.answer)}
    if operation.streams:
        content["text/event-stream"] = {}
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.tag],
        "responses": {"200": {"description": operation.answer.__doc__, "content": content}},
    }
    if operation.body:
        body = {**_schema(operation.body), "example": {"model": model, **(operation.example or {})}}
        described["requestBody"] = {"required": True, "content": {"application/json": body}}
    if "{id}" in operation.path:
        described["parameters"] = [
            {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}, "example": model}
        ]
    if operation.path == "/health/ready":
        described["responses"]["503"] = {
            "description": "The engine is not reachable",
            "content": {"application/json": _schema(operation.answer)},
        }
    elif operation.tag == "OpenAI":
        own = {400, 413, 415} if operation.body else set()
        for status in sorted(own | {shape.status for shape in TABLE.values()}):
            described["responses"][str(status)] = {
                "description": HTTPStatus(status).phrase,
                "content": {"application/json": _schema(answers.ErrorAnswer)},
            }
    return described


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return {"schema": {"$ref": _REFS.format(model=model.__name__)}}
