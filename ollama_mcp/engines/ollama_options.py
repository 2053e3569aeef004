"""The sampling and loading options of Ollama, checked: Ollama ignores an unknown one and fails on a wrong type."""

import difflib
import math
from typing import Any

from ollama_mcp.chat import ChatRequest
from ollama_mcp.errors import InvalidRequest

INTEGERS = frozenset(
    {
        "draft_num_predict",
        "main_gpu",
        "num_batch",
        "num_ctx",
        "num_gpu",
        "num_keep",
        "num_predict",
        "num_thread",
        "repeat_last_n",
        "seed",
        "top_k",
    }
)
NUMBERS = frozenset(
    {"frequency_penalty", "min_p", "presence_penalty", "repeat_penalty", "temperature", "top_p", "typical_p"}
)
KNOWN = INTEGERS | NUMBERS | {"stop", "use_mmap"}

NAMED = {
    "temperature": "temperature",
    "top_p": "top_p",
    "max_tokens": "num_predict",
    "stop": "stop",
    "seed": "seed",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "num_ctx": "num_ctx",
    "top_k": "top_k",
    "min_p": "min_p",
    "typical_p": "typical_p",
    "repeat_penalty": "repeat_penalty",
    "repeat_last_n": "repeat_last_n",
}
"""Fields of a request and the options they set."""


def options_of(request: ChatRequest) -> dict[str, Any]:
    """Ollama's options for a request: its `options`, overridden by its named fields."""
    options = dict(request.options or {})
    for name, value in options.items():
        _check(name, value)
    for field, name in NAMED.items():
        if (value := getattr(request, field)) is not None:
            options[name] = value
    return options


def _check(name: str, value: object) -> None:
    if name not in KNOWN:
        close = difflib.get_close_matches(name, KNOWN, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else f"the known ones are {', '.join(sorted(KNOWN))}."
        raise InvalidRequest(f"Ollama has no option {name!r}; {hint}", param=f"options.{name}")
    if name in INTEGERS:
        right, wanted = _is_integer(value), "an integer of at most 64 bits"
    elif name in NUMBERS:
        right, wanted = _is_integer(value) or (isinstance(value, float) and math.isfinite(value)), "a number"
    elif name == "stop":
        right, wanted = isinstance(value, list) and all(isinstance(text, str) for text in value), "a list of texts"
    else:
        right, wanted = isinstance(value, bool), "true or false"
    if not right:
        raise InvalidRequest(f"The option {name} must be {wanted}.", param=f"options.{name}")


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
