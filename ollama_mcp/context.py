"""How long a context a prompt gets, so that it is neither cut in silence nor reloads the model needlessly.

Ollama's own default is small, and a prompt that does not fit loses its oldest messages unless the
request forbids it. A larger `num_ctx` takes memory and each change reloads the model, so a model gets
one of few lengths, which is kept and only ever grows.
"""

import json
from dataclasses import dataclass

from ollama_mcp.catalog import with_tag
from ollama_mcp.chat import ChatRequest, Usage
from ollama_mcp.engines.base import Engine
from ollama_mcp.errors import ContextLengthExceeded, PromptTruncated

BUCKETS = (4096, 8192, 16384, 32768, 65536, 131072, 262144)
SMALLEST_DEFAULT = 4096
"""No Ollama of today loads a model with less unless its Modelfile says so."""

ANSWER_RESERVE = 1024
MESSAGE_TOKENS = 8
IMAGE_TOKENS = 1024


@dataclass(frozen=True, slots=True)
class Estimate:
    """The length of a prompt in tokens, guessed from its UTF-8 bytes; only the engine can count."""

    least: int
    likely: int
    safe: int

    @classmethod
    def of(cls, request: ChatRequest) -> "Estimate":
        """3 bytes a token is dense code, 4.5 is English prose, and nothing sensible reaches 10."""
        size = sum(len(message.text.encode(errors="replace")) for message in request.messages)
        size += sum(len(call.function.arguments) for message in request.messages for call in message.tool_calls or ())
        if request.tools and request.tool_choice != "none":
            size += len(json.dumps([tool.model_dump(exclude_none=True) for tool in request.tools]))
        images = sum(len(message.images) for message in request.messages)
        fixed = len(request.messages) * MESSAGE_TOKENS + images * IMAGE_TOKENS
        return cls(least=size // 10, likely=size * 2 // 9, safe=size // 3 + fixed)


@dataclass(frozen=True, slots=True)
class ContextPlan:
    """The `num_ctx` to send (None: the engine's own), and what is known of the context and the prompt."""

    num_ctx: int | None
    length: int | None
    estimate: Estimate


class ContextPolicy:
    """Chooses `num_ctx` for an engine that lets each request choose, and remembers it by model."""

    def __init__(self, engine: Engine, *, fixed: int | None, cap: int) -> None:
        self._engine = engine
        self._fixed = fixed
        self._cap = cap
        self._chosen: dict[str, int] = {}
        self._maximum: dict[str, int] = {}
        self._modelfile: dict[str, int] = {}

    async def plan(self, model: str, request: ChatRequest) -> ContextPlan:
        """Choose the context for a request; `ContextLengthExceeded` if it certainly cannot fit."""
        estimate = Estimate.of(request)
        if not self._engine.sets_context:
            return ContextPlan(request.num_ctx, None, estimate)
        key = with_tag(model).lower()
        if (wanted := _asked_for(request) or self._fixed) is not None:
            self._chosen[key] = wanted
            self._refuse_if_too_long(model, estimate, wanted)
            return ContextPlan(wanted, wanted, estimate)
        current = self._chosen.get(key) or await self._loaded_length(key)
        need = estimate.safe + (request.max_tokens or ANSWER_RESERVE)
        if need <= (current or SMALLEST_DEFAULT):
            return ContextPlan(current, current, estimate)
        limit = await self._limit(key, model)
        if current is None:
            current = self._modelfile.get(key)
        length = max(min(next((bucket for bucket in BUCKETS if bucket >= need), limit), limit), current or 0)
        self._chosen[key] = length
        self._refuse_if_too_long(model, estimate, length)
        return ContextPlan(length, length, estimate)

    async def to_load(self, model: str, num_ctx: int | None) -> int | None:
        """The context to load a model with while there is no prompt; None: the engine's own."""
        if not self._engine.sets_context:
            return num_ctx
        key = with_tag(model).lower()
        if (wanted := num_ctx or self._fixed) is not None:
            self._chosen[key] = wanted
            return wanted
        return self._chosen.get(key) or await self._loaded_length(key)

    async def _loaded_length(self, key: str) -> int | None:
        for running in await self._engine.running():
            if with_tag(running.name).lower() == key and running.context_length:
                self._chosen[key] = running.context_length
                return running.context_length
        return None

    async def _limit(self, key: str, model: str) -> int:
        if key not in self._maximum:
            details = await self._engine.show(model)
            self._maximum[key] = details.context_length or self._cap
            if (set_there := details.default_parameters.get("num_ctx")) and set_there[0].isdecimal():
                self._modelfile[key] = int(set_there[0])
        return min(self._cap, self._maximum[key])

    def _refuse_if_too_long(self, model: str, estimate: Estimate, length: int) -> None:
        if estimate.least <= length:
            return
        raise ContextLengthExceeded(
            f"The prompt has at least {estimate.least} tokens and the context of {model} holds {length}: "
            f"shorten it by {estimate.least - length} tokens or more, split it, or raise num_ctx.",
            prompt_tokens=estimate.least,
            context_length=length,
        )


def _asked_for(request: ChatRequest) -> int | None:
    asked = request.num_ctx or (request.options or {}).get("num_ctx")
    return asked if isinstance(asked, int) else None


def check_not_cut(model: str, plan: ContextPlan, usage: Usage) -> None:
    """Raise if the engine counted far fewer prompt tokens than were sent and the prompt hardly fitted.

    Servers that do not know `truncate` cut all the same; the count is the only trace of it.
    """
    counted = usage.prompt_tokens
    length = plan.length or SMALLEST_DEFAULT
    if counted == 0 or plan.estimate.safe <= length:
        return
    likely = plan.estimate.likely
    looks_cut = counted < plan.estimate.least or (likely > length >= counted and counted * 4 < likely * 3)
    if looks_cut:
        raise PromptTruncated(
            f"The engine read only {counted} tokens of a prompt of about {plan.estimate.likely}, so the answer "
            f"ignores a part of it: shorten the prompt, split it, or raise num_ctx for {model}."
        )
