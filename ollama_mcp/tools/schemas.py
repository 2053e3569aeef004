"""The JSON schemas of the tools: lean, and written down beforehand.

To make them takes pydantic a twentieth of the time from the start of the process to its first answer, so they are
in `schemas.json`, which a test compares with what the models say.
"""

import functools
from pathlib import Path
from typing import Any, cast

import orjson
from pydantic import BaseModel

WRITTEN = Path(__file__).with_name("schemas.json")

Schemas = dict[str, dict[str, Any]]
"""Of one tool: `input` and `output`."""


@functools.cache
def written_schemas() -> dict[str, Schemas]:
    """The schemas that are written down, by the names of the tools."""
    return cast("dict[str, Schemas]", orjson.loads(WRITTEN.read_bytes()))


def make_schemas(arguments: type[BaseModel], output: type[BaseModel]) -> Schemas:
    """The schemas of a tool from its models."""
    return {
        "input": _own_first(arguments, _lean(arguments.model_json_schema())),
        "output": _lean(output.model_json_schema(mode="serialization")),
    }


def _own_first(arguments: type[BaseModel], schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with what the tool itself adds before what it inherits, and without the class's docstring."""
    properties: dict[str, Any] = schema.get("properties", {})
    own = {name: properties[name] for name in arguments.__annotations__ if name in properties}
    return {"type": "object", "properties": {**own, **properties}} | {
        key: value for key, value in schema.items() if key not in ("type", "properties", "description")
    }


def _lean(schema: dict[str, Any]) -> dict[str, Any]:
    """The same JSON schema without what says nothing: titles, null alternatives, defaults of null.

    Every caller pays for each byte of it with its context.
    """
    lean = {
        key: value
        for key, value in schema.items()
        if not (key == "title" or (key == "default" and value is None) or (key == "description" and "$ref" in schema))
    }
    for key in ("properties", "$defs"):
        if key in lean:
            lean[key] = {name: _lean(inner) for name, inner in lean[key].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(lean.get(key), dict):
            lean[key] = _lean(lean[key])
    if "anyOf" in lean:
        choices = [_lean(choice) for choice in lean.pop("anyOf") if choice != {"type": "null"}]
        lean = {**choices[0], **lean} if len(choices) == 1 else {**lean, "anyOf": choices}
    return lean
