"""The models of an OpenAI-compatible server, in the shapes of llama-server, vLLM, LM Studio and OpenAI itself."""

from typing import Any

from ollama_mcp.engines.base import ModelInfo, RunningModel
from ollama_mcp.errors import MalformedAnswer

# What these list is what they have loaded; elsewhere the list says nothing of that.
_SERVE_WHAT_THEY_LIST = ("llamacpp", "vllm")


def entries_of(answer: Any) -> list[dict[str, Any]]:
    """The models in an answer of /models, as they stand."""
    entries = answer.get("data") if isinstance(answer, dict) else answer
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict) and isinstance(entry.get("id"), str) for entry in entries
    ):
        raise MalformedAnswer(
            "The model server sent a list of models that is none; check that its address ends in /v1."
        )
    return entries


def names_of(entry: dict[str, Any]) -> list[str]:
    """The model's name and its aliases."""
    aliases = entry.get("aliases")
    more = [alias for alias in aliases if isinstance(alias, str)] if isinstance(aliases, list) else []
    return [entry["id"], *more]


def info_of(entry: dict[str, Any]) -> ModelInfo:
    """A model of the list. Only llama-server tells more than its name and context."""
    meta = _object(entry, "meta")
    count = _number(meta, "n_params")
    return ModelInfo(
        name=entry["id"],
        size_bytes=_number(meta, "size"),
        parameters=readable_count(count) if count else None,
        quantization=_text(meta, "ftype") or _text(entry, "quantization"),
        family=_text(entry, "arch"),
        context_length=_context(entry),
        capabilities=_capabilities(entry),
    )


def running_of(entry: dict[str, Any]) -> RunningModel | None:
    """The same model as a loaded one; None if it is not loaded or the server does not say."""
    state = _text(_object(entry, "status"), "value")  # llama-server with several models
    if state is None and entry.get("owned_by") not in _SERVE_WHAT_THEY_LIST:
        return None
    if state not in (None, "loaded"):
        return None
    return RunningModel(
        name=entry["id"], size_bytes=_number(_object(entry, "meta"), "size"), context_length=_context(entry)
    )


def readable_count(count: int) -> str:
    """A number of weights as people write it, such as "8.0B" or "135M"."""
    return f"{count / 1e9:.1f}B" if count >= 1e9 else f"{count / 1e6:.0f}M"


def _context(entry: dict[str, Any]) -> int | None:
    """The context it is served with, which is all that a request can have of it."""
    meta = _object(entry, "meta")
    places = (
        (meta, "n_ctx"),
        (meta, "n_ctx_train"),
        (entry, "max_model_len"),
        (entry, "max_context_length"),
        (entry, "context_length"),
    )
    return next((number for fields, key in places if (number := _number(fields, key))), None)


def _capabilities(entry: dict[str, Any]) -> list[str]:
    kind = entry.get("type")
    if kind == "embeddings":
        return ["embedding"]
    modalities = _object(entry, "architecture").get("input_modalities")
    sees = kind == "vlm" or (isinstance(modalities, list) and "image" in modalities)
    if sees:
        return ["completion", "vision"]
    return ["completion"] if kind == "llm" or modalities else []


def _object(fields: dict[str, Any], key: str) -> dict[str, Any]:
    value = fields.get(key)
    return value if isinstance(value, dict) else {}


def _text(fields: dict[str, Any], key: str) -> str | None:
    value = fields.get(key)
    return value if isinstance(value, str) and value else None


def _number(fields: dict[str, Any], key: str) -> int | None:
    value = fields.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
