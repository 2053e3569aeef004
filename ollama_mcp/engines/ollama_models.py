"""Models, loaded models and downloads in Ollama's JSON; what Ollama leaves out stays None."""

from datetime import UTC, datetime
from typing import Any

import orjson

from ollama_mcp.engines.base import ModelDetails, ModelInfo, PullProgress, RunningModel
from ollama_mcp.engines.ollama_failures import words_of
from ollama_mcp.errors import EngineFailed, MalformedAnswer, ModelNotFound, ServiceError


def models_of(answer: dict[str, Any]) -> list[ModelInfo]:
    """The models in an answer of /api/tags, most recently changed first."""
    models = [ModelInfo(**_info(entry), digest=_text(entry, "digest")) for entry in _entries(answer)]
    return sorted(models, key=lambda model: _moment(model.modified_at), reverse=True)


def details_of(answer: dict[str, Any], name: str) -> ModelDetails:
    """The model in an answer of /api/show."""
    return ModelDetails(
        **_info(answer | {"name": name}),
        license=_text(answer, "license"),
        template=_text(answer, "template"),
        system=_text(answer, "system"),
        default_parameters=_parameters(_text(answer, "parameters") or ""),
    )


def running_of(answer: dict[str, Any]) -> list[RunningModel]:
    """The loaded models in an answer of /api/ps."""
    return [
        RunningModel(
            name=_name(entry),
            size_bytes=_number(entry, "size"),
            vram_bytes=_number(entry, "size_vram"),
            context_length=_number(entry, "context_length"),
            expires_at=_text(entry, "expires_at"),
        )
        for entry in _entries(answer)
    ]


def progress_of(line: dict[str, Any]) -> PullProgress:
    """One line of an answer of /api/pull."""
    return PullProgress(
        status=_text(line, "status") or "",
        digest=_text(line, "digest"),
        completed=_number(line, "completed"),
        total=_number(line, "total"),
    )


def pull_failure(error: object, model: str) -> ServiceError:
    """What an `error` line of /api/pull stands for."""
    words = words_of(error)
    if "file does not exist" in words or "not found" in words:
        return ModelNotFound(
            f"There is no {model} to download; look up its name at https://ollama.com/search.", model=model
        )
    return EngineFailed(f"Ollama could not download {model}: {words}.")


def _info(entry: dict[str, Any]) -> dict[str, Any]:
    details = entry.get("details")
    details = details if isinstance(details, dict) else {}
    capabilities = entry.get("capabilities")
    capabilities = capabilities if isinstance(capabilities, list) else []
    return {
        "name": _name(entry),
        "size_bytes": _number(entry, "size"),
        "parameters": _text(details, "parameter_size"),
        "quantization": _text(details, "quantization_level"),
        "family": _text(details, "family"),
        "context_length": _context_length(entry, details),
        "capabilities": [text for text in capabilities if isinstance(text, str)],
        "modified_at": _text(entry, "modified_at"),
    }


def _context_length(entry: dict[str, Any], details: dict[str, Any]) -> int | None:
    facts = entry.get("model_info")
    if isinstance(facts, dict):
        found = _number(facts, f"{facts.get('general.architecture')}.context_length")
        if found is not None:
            return found
    return _number(details, "context_length")


def _parameters(text: str) -> dict[str, list[str]]:
    """`stop    "<|im_end|>"`, a line each; a name may come several times."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, _, value = line.strip().partition(" ")
        if name:
            found.setdefault(name, []).append(_unquoted(value.strip()))
    return found


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    try:
        return str(orjson.loads(value))
    except orjson.JSONDecodeError:
        return value.strip('"')  # quoted as Go does it, in a way that JSON does not know


def _entries(answer: dict[str, Any]) -> list[dict[str, Any]]:
    entries = answer.get("models")
    if entries is None:  # how Go writes an empty list that was never filled
        return []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise MalformedAnswer(
            "Ollama sent a list of models that is none; check that the address is that of an Ollama."
        )
    return entries


def _name(entry: dict[str, Any]) -> str:
    name = _text(entry, "name") or _text(entry, "model")
    if name is None:
        raise MalformedAnswer("Ollama listed a model without a name; check that the address is that of an Ollama.")
    return name


def _text(entry: dict[str, Any], key: str) -> str | None:
    value = entry.get(key)
    return value if isinstance(value, str) and value else None


def _number(entry: dict[str, Any], key: str) -> int | None:
    value = entry.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _moment(text: str | None) -> datetime:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
