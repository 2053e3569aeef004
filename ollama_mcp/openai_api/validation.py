"""What is wrong with a request, in the words of the one who wrote it: the field, and its bound."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ollama_mcp.errors import InvalidRequest

Model = TypeVar("Model", bound=BaseModel)

MAX_TOLD = 3

_WORDS = {
    "missing": "is required",
    "string_type": "must be a string",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "literal_error": "must be one of {expected}",
    "union_tag_invalid": "must have a {discriminator} of {expected_tags}",
    "union_tag_not_found": "needs a {discriminator}",
    "less_than_equal": "must be at most {le}",
    "greater_than_equal": "must be at least {ge}",
    "too_short": "must have {min_length} or more items",
    "too_long": "must have {max_length} or fewer items",
    "string_too_short": "must have {min_length} or more characters",
    "string_too_long": "must have {max_length} or fewer characters",
    "value_error": "{error}",
}


def validate(model: type[Model], data: object) -> Model:
    """The data as a model; `InvalidRequest` that names the first bad field and tells of up to three."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise _explain(error, data) from None


def _explain(error: ValidationError, data: object) -> InvalidRequest:
    found: dict[str, list[str]] = {}
    for item in error.errors(include_url=False):
        missing = item["type"] == "missing"
        path = _path(item["loc"], data, missing=missing)
        template = _WORDS.get(item["type"])
        words = template.format_map(_plain(item.get("ctx", {}))) if template else item["msg"]
        said = found.setdefault(path, [])
        if words not in said:
            said.append(words)
    # A union tells of each of its branches; only the one that came farthest is what was meant.
    paths = [path for path in found if not any(other != path and _within(other, path) for other in found)]
    told = [_sentence(path, found[path]) for path in paths[:MAX_TOLD]]
    if len(paths) > MAX_TOLD:
        told.append(f"and {len(paths) - MAX_TOLD} more")
    message = "; ".join(told)
    return InvalidRequest(message, param=paths[0] or _first_word(message, data))


def _plain(context: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in context.items()
    }


def _within(path: str, outer: str) -> bool:
    return path.startswith((outer + ".", outer + "[")) if outer else False


def _sentence(path: str, words: Sequence[str]) -> str:
    joined = " or ".join([words[0], *(word.removeprefix("must be ") for word in words[1:])])
    return f"{path}: {joined}" if path else joined


def _first_word(message: str, data: object) -> str | None:
    """The field that a rule about several fields speaks of first."""
    word = message.partition(" ")[0]
    return word if isinstance(data, dict) and word in data else None


def _path(loc: Sequence[int | str], data: Any, *, missing: bool) -> str:
    """The place in the data, such as `messages[0].content`; what pydantic adds for unions is left out."""
    path = ""
    for position, part in enumerate(loc):
        if isinstance(part, int):
            if not isinstance(data, list):
                continue
            path += f"[{part}]"
            data = data[part] if part < len(data) else None
        elif isinstance(data, dict) and (part in data or (missing and position == len(loc) - 1)):
            path += f".{part}" if path else part
            data = data.get(part)
    return path
