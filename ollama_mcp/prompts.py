"""Prompts a person can pick in the client; each asks for one job that a small model does well."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Annotated

from mcp.server import MCPServer
from mcp.server.mcpserver.prompts.base import Prompt, PromptArgument

from ollama_mcp.files import fenced

Code = Annotated[str, "The code"]
Language = Annotated[str, "The programming language, if it is not plain from the code"]


def add_prompts(mcp: MCPServer) -> None:
    """Register the prompts on a server."""

    def prompt(title: str, description: str) -> Callable[[Callable[..., Awaitable[str]]], None]:
        return lambda function: mcp.add_prompt(_prompt(function, title, description))

    @prompt("Explain code", "What a piece of code does and why")
    async def explain_code(
        code: Code,
        language: Language = "",
        audience: Annotated[str, 'For whom, such as "a beginner"'] = "an experienced developer",
    ) -> str:
        return (
            f"Explain to {audience} what this code does. Start with its purpose in one sentence, then go through it "
            f"in order, and end with what is surprising or easy to get wrong.\n\n{fenced(code, language)}"
        )

    @prompt("Review code", "Bugs and risks in a piece of code, worst first")
    async def review_code(
        code: Code,
        language: Language = "",
        focus: Annotated[str, 'What to look for, such as "security" or "performance"'] = "",
    ) -> str:
        focused = f" Look above all for {focus}." if focus else ""
        return (
            "Review this code. List real problems only, the worst first; for each give the line, what goes wrong, an "
            f"input that shows it, and the fix. If there are none, say so.{focused}\n\n{fenced(code, language)}"
        )

    @prompt("Summarize", "The main points of a text")
    async def summarize(
        text: Annotated[str, "The text"],
        length: Annotated[str, 'How long, such as "one sentence"'] = "five bullet points",
    ) -> str:
        return (
            f"Summarize the text below in {length}. Use only what it says; keep names, numbers and dates exact.\n\n"
            f"{fenced(text)}"
        )

    @prompt("Translate", "A text in another language")
    async def translate(
        text: Annotated[str, "The text"],
        target_language: Annotated[str, 'Into which language, such as "German"'],
    ) -> str:
        return (
            f"Translate the text below into {target_language}. Keep its tone and formatting, leave code and names "
            f"as they are, and answer with the translation alone.\n\n{fenced(text)}"
        )

    @prompt("Write tests", "Unit tests for a piece of code")
    async def write_tests(
        code: Code,
        language: Language = "",
        framework: Annotated[str, 'Such as "pytest" or "vitest"'] = "",
    ) -> str:
        using = f" with {framework}" if framework else ""
        return (
            f"Write unit tests{using} for this code: the usual case, the edges, and the errors it should raise. Name "
            f"each test after the behaviour it checks. Answer with the test file alone.\n\n{fenced(code, language)}"
        )

    @prompt("Commit message", "A commit message for a diff")
    async def commit_message(
        diff: Annotated[str, "The output of git diff --staged"],
        style: Annotated[str, 'Such as "conventional commits"'] = "",
    ) -> str:
        styled = f" Follow {style}." if style else ""
        return (
            "Write a commit message for this diff: a subject of at most 72 characters in the imperative, a blank "
            f"line, and a short body that says why, if that is not plain.{styled} Answer with the message alone.\n\n"
            f"{fenced(diff, 'diff')}"
        )


def _prompt(function: Callable[..., Awaitable[str]], title: str, description: str) -> Prompt:
    # The SDK's own way makes a model of each function and a schema of that, which takes longer than all tools.
    arguments = [
        PromptArgument(name=name, description=told.annotation.__metadata__[0], required=told.default is told.empty)
        for name, told in inspect.signature(function).parameters.items()
    ]
    return Prompt(name=function.__name__, title=title, description=description, arguments=arguments, fn=function)
