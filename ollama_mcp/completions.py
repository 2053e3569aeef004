"""What a client may suggest while a person types an argument of a prompt or a resource."""

import logging
from collections.abc import Sequence

import anyio
from mcp.server import MCPServer
from mcp.server.context import ServerRequestContext
from mcp.types import CompleteRequestParams, CompleteResult, Completion, ResourceTemplateReference

from ollama_mcp.errors import ServiceError
from ollama_mcp.resources import MODELS
from ollama_mcp.service import Service

MAX_VALUES = 100
"""The protocol's own limit."""
TIMEOUT = 1.0

FRAMEWORKS = {
    "python": ("pytest", "unittest", "hypothesis"),
    "typescript": ("vitest", "jest", "playwright", "node:test"),
    "javascript": ("vitest", "jest", "mocha", "node:test"),
    "java": ("JUnit 5", "TestNG"),
    "kotlin": ("JUnit 5", "Kotest"),
    "c#": ("xUnit", "NUnit", "MSTest"),
    "go": ("testing", "testify"),
    "rust": ("cargo test", "proptest"),
    "c++": ("GoogleTest", "Catch2"),
    "ruby": ("RSpec", "Minitest"),
    "php": ("PHPUnit", "Pest"),
    "swift": ("Swift Testing", "XCTest"),
}
CHOICES: dict[str, tuple[str, ...]] = {
    "language": (
        *("Python", "TypeScript", "JavaScript", "Java", "Kotlin", "C", "C#", "C++", "Go", "Rust", "Ruby", "PHP"),
        *("Swift", "Scala", "R", "Shell", "PowerShell", "SQL", "HTML", "CSS"),
    ),
    "target_language": (
        *("English", "German", "French", "Spanish", "Italian", "Portuguese", "Dutch", "Polish", "Czech", "Swedish"),
        *("Ukrainian", "Russian", "Turkish", "Arabic", "Hebrew", "Hindi", "Chinese", "Japanese", "Korean"),
    ),
    "audience": ("a beginner", "an experienced developer", "a reviewer", "a manager", "an end user"),
    "style": ("conventional commits", "gitmoji", "one line", "the Linux kernel's style"),
    "focus": ("bugs", "security", "performance", "readability", "error handling", "concurrency"),
    "length": ("one sentence", "three bullet points", "five bullet points", "one paragraph", "one page"),
}

logger = logging.getLogger(__name__)


class Completions:
    """Answers `completion/complete`: installed models wherever one is named, else a short list."""

    def __init__(self, mcp: MCPServer, service: Service) -> None:
        self._mcp = mcp
        self._service = service

    def attach(self) -> None:
        """Register with the server."""
        self._mcp._lowlevel_server.add_request_handler("completion/complete", CompleteRequestParams, self._complete)

    async def _complete(
        self, ctx: ServerRequestContext[object, object], params: CompleteRequestParams
    ) -> CompleteResult:
        given = (params.context.arguments if params.context else None) or {}
        argument = params.argument
        if isinstance(params.ref, ResourceTemplateReference):
            names_model = params.ref.uri == MODELS + "/{name}" and argument.name == "name"
            candidates = await self._models() if names_model else ()
        else:
            candidates = await self._for_prompt(params.ref.name, argument.name, given)
        return CompleteResult(completion=_completion(candidates, argument.value))

    async def _for_prompt(self, prompt: str, argument: str, given: dict[str, str]) -> Sequence[str]:
        prompts = {known.name: known for known in await self._mcp.list_prompts()}
        if prompt not in prompts or argument not in [known.name for known in prompts[prompt].arguments or []]:
            return ()
        if argument == "model":
            return await self._models()
        if argument == "framework":
            every = [name for names in FRAMEWORKS.values() for name in names]
            return FRAMEWORKS.get(given.get("language", "").strip().lower(), every)
        return CHOICES.get(argument, ())

    async def _models(self) -> Sequence[str]:
        """The installed models, newest first, and the aliases; none where the engine does not tell."""
        try:
            with anyio.fail_after(TIMEOUT):
                installed = await self._service.engine.models()
        except (ServiceError, TimeoutError) as error:
            logger.info("no models to suggest: %s", getattr(error, "message", "") or "the engine is slow to answer")
            return ()
        return [*(info.name for info in installed), *self._service.settings.aliases]


def _completion(candidates: Sequence[str], typed: str) -> Completion:
    start = typed.casefold()
    values = [value for value in dict.fromkeys(candidates) if value.casefold().startswith(start)]
    return Completion(values=values[:MAX_VALUES], total=len(values), has_more=len(values) > MAX_VALUES)
