"""Which models there are: names, defaults, close names, and what each can do."""

import difflib
import re
from collections.abc import Mapping, Sequence

import anyio

from ollama_mcp.engines.base import Engine, ModelDetails, ModelInfo
from ollama_mcp.errors import InvalidRequest, ModelNotFound, ServiceError

SHOW_CONCURRENCY = 8

_NAME = re.compile(r"[A-Za-z0-9_][\w.\-]*(:\d+)?(/\w[\w.\-]*){0,3}(:\w[\w.\-]*)?", re.ASCII)
_MAX_NAME = 256
_HUGGING_FACE = ("hf.co", "huggingface.co")


class ListedModel(ModelInfo):
    """An installed model, and whether it is loaded now."""

    loaded: bool = False


def check_name(name: str) -> str:
    """Return the name if it can be a model's, such as `llama3.2`, `user/model:tag` or `hf.co/user/model:Q4_K_M`.

    A name with a registry's address in front of it is refused: it would have Ollama contact that address.
    """
    if len(name) > _MAX_NAME or not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"{name[:80]!r} is not a model name; names look like llama3.2, qwen3:8b or hf.co/user/model:Q4_K_M.",
            param="model",
        )
    host, _, rest = name.partition("/")
    if ("." in host or ":" in host) and "/" in rest and host.lower() not in _HUGGING_FACE:
        raise _names_a_registry(name, host)
    return name


def check_source(name: str) -> str:
    """Return the name if Ollama would get the model from its own registry or from Hugging Face.

    It takes the first of three parts for a host, whatever that looks like; other engines list models by such names.
    """
    host, *rest = check_name(name).split("/")
    if len(rest) > 1 and host.lower() not in _HUGGING_FACE:
        raise _names_a_registry(name, host)
    return name


def _names_a_registry(name: str, host: str) -> InvalidRequest:
    return InvalidRequest(
        f"{name!r} names the registry {host}, which is not allowed: leave it out for Ollama's own, or use hf.co.",
        param="model",
    )


def with_tag(name: str) -> str:
    """The full form of a name: without a tag, Ollama means `:latest`."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def same_model(left: str, right: str) -> bool:
    """Whether two names mean one model; case does not matter, as in Ollama."""
    return with_tag(left).lower() == with_tag(right).lower()


def close_names(name: str, candidates: Sequence[str]) -> list[str]:
    """Up to three of the candidates that a person may have meant."""
    by_key = {candidate.lower(): candidate for candidate in candidates}
    wanted = name.lower()
    starts = [candidate for key, candidate in by_key.items() if key.partition(":")[0] == wanted.partition(":")[0]]
    close = [by_key[key] for key in difflib.get_close_matches(wanted, list(by_key), n=3, cutoff=0.5)]
    return list(dict.fromkeys([*starts, *close]))[:3]


class Catalog:
    """The engine's models, with the aliases and the default of the settings."""

    def __init__(self, engine: Engine, *, default: str | None, aliases: Mapping[str, str]) -> None:
        self._engine = engine
        self._default = default
        self._aliases = aliases
        self._details: dict[tuple[str, str | None], ModelDetails] = {}

    @property
    def aliases(self) -> Mapping[str, str]:
        """The names that stand for other names."""
        return self._aliases

    async def resolve(self, name: str | None) -> str:
        """The model that a request means; without a name the default, a loaded or the newest chat model."""
        if name is not None:
            return check_name(self._aliases.get(name, name))
        if self._default is not None:
            return check_name(self._aliases.get(self._default, self._default))
        installed = await self._engine.models()
        for loaded in await self._engine.running():
            info = next(
                (info for info in installed if same_model(info.name, loaded.name)),
                ModelInfo(name=loaded.name),
            )
            if await self._can_chat(info):
                return info.name
        for info in installed:
            if await self._can_chat(info):
                return info.name
        raise ModelNotFound(self._nothing_to_chat_with(installed))

    async def resolve_embedder(self, name: str | None) -> str:
        """The model that a request for vectors means; without a name the newest embedding model."""
        if name is not None:
            return await self.resolve(name)
        installed = await self._engine.models()
        for info in installed:
            if "embedding" in (info.capabilities or (await self.details(info)).capabilities):
                return info.name
        if self._engine.name == "ollama":
            raise ModelNotFound(
                f"No embedding model is installed at {self._engine.address}; get one with "
                "`ollama pull nomic-embed-text`."
            )
        return await self.resolve(None)

    def _nothing_to_chat_with(self, installed: Sequence[ModelInfo]) -> str:
        what = "No chat model is installed" if installed else "No model is installed"
        if self._engine.name == "ollama":
            return f"{what} at {self._engine.address}; get one with `ollama pull llama3.2`."
        return f"{what} at {self._engine.address}; name one with the argument `model`."

    async def _can_chat(self, info: ModelInfo) -> bool:
        capabilities = info.capabilities or (await self.details(info)).capabilities
        return "completion" in capabilities or not capabilities

    async def details(self, info: ModelInfo) -> ModelDetails:
        """All about an installed model; asked of the engine once for each version of it."""
        key = (info.name, info.digest)
        if key not in self._details:
            self._details[key] = await self._engine.show(info.name)
        return self._details[key]

    async def listing(self) -> list[ListedModel]:
        """The installed models, newest first, with what only their details tell."""
        installed = await self._engine.models()
        loaded = await self._engine.running()
        limiter = anyio.CapacityLimiter(SHOW_CONCURRENCY)
        listed: list[ListedModel] = []

        async def complete(info: ModelInfo, into: ListedModel) -> None:
            async with limiter:
                try:
                    details = await self.details(info)
                except ModelNotFound:
                    return  # deleted since it was listed; what the list said of it stands
            into.capabilities = into.capabilities or details.capabilities
            into.context_length = into.context_length or details.context_length

        async with anyio.create_task_group() as tasks:
            for info in installed:
                model = ListedModel(
                    **info.model_dump(), loaded=any(same_model(info.name, running.name) for running in loaded)
                )
                listed.append(model)
                if not (info.capabilities and info.context_length):
                    tasks.start_soon(complete, info, model)
        return listed

    async def explain_missing(self, error: ModelNotFound, name: str) -> ModelNotFound:
        """The same error with close names and the command that gets the model."""
        try:
            names = [info.name for info in await self._engine.models()]
        except ServiceError:
            return error
        suggestions = close_names(name, [*names, *self._aliases])
        sentence = f"Model {name!r} is not installed."
        if suggestions:
            sentence += f" Did you mean {' or '.join(suggestions)}?"
        if self._engine.name == "ollama":
            sentence += f" Get it with `ollama pull {name}`."
        elif names:
            sentence += f" There is: {', '.join(names[:10])}."
        return ModelNotFound(sentence, model=name, suggestions=suggestions)
