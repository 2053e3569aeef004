"""What every tool of the MCP face shares: validated arguments, a lean schema, and the one table of errors."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, Self, cast, get_type_hints

from mcp.server.mcpserver.context import Context
from mcp.server.mcpserver.tools import Tool
from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase, FuncMetadata
from mcp.types import CallToolResult, InputRequiredResult, TextContent, ToolAnnotations
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from ollama_mcp.catalog import close_names
from ollama_mcp.chat import Strict
from ollama_mcp.errors import EngineTimeout, GenerationBroken, ServiceError
from ollama_mcp.tools.schemas import make_schemas, written_schemas

ERROR_META = "ollama-mcp/error"

FILES = "Paths of local text files and images for the model; their text does not pass through you"

ToolContext = Context[Any, Any]
"""What a tool knows of the call it answers."""


def takes_progress(ctx: ToolContext) -> bool:
    """Whether the client asked for progress, and so knows that the call is alive."""
    meta: Any = ctx.request_context.meta
    return bool(meta) and meta.get("progress_token") is not None


class Arguments(Strict):
    """Arguments of a tool. Unknown ones are an error, since an ignored one would change the answer unseen."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _read_nested_json(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Some clients send lists and objects as JSON texts."""
        read = dict(values)
        for name, value in values.items():
            if isinstance(value, str) and name in cls.nested() and value.lstrip()[:1] in ("[", "{"):
                try:
                    read[name] = json.loads(value)
                except ValueError as error:
                    raise ValueError(f"{name} is a string that is not valid JSON: {error}") from None
        return read

    @classmethod
    def nested(cls) -> frozenset[str]:
        """The arguments that are lists or objects and never strings."""
        return frozenset()


class ServiceTool(Tool):
    """A tool that takes one model of arguments and answers with a pydantic model or a finished result.

    The SDK's own way reads any string that looks like JSON as JSON, ignores unknown arguments, and puts
    a prefix before each error; all three would show to the caller.
    """

    arguments: type[Arguments]

    @classmethod
    def of(
        cls,
        handler: Callable[[Any, ToolContext], Awaitable[BaseModel]],
        *,
        title: str,
        description: str,
        annotations: ToolAnnotations,
        output: type[BaseModel],
    ) -> Self:
        """Make a tool of `async def name(arguments: SomeArguments, ctx: ToolContext)`."""
        arguments = cast("type[Arguments]", get_type_hints(handler)["arguments"])
        schemas = written_schemas().get(handler.__name__) or make_schemas(arguments, output)
        return cls(
            fn=handler,
            name=handler.__name__,
            title=title,
            description=description,
            parameters=schemas["input"],
            fn_metadata=FuncMetadata(arg_model=ArgModelBase, output_model=output, output_schema=schemas["output"]),
            is_async=True,
            annotations=annotations,
            arguments=arguments,
        )

    async def run(
        self, arguments: dict[str, Any], context: ToolContext, convert_result: bool = False
    ) -> CallToolResult | InputRequiredResult:
        """Validate, call, and tell what went wrong in a sentence."""
        try:
            result = await self.fn(self.arguments.model_validate(arguments), context)
        except ValidationError as error:
            return failed(self._explain(error), "InvalidRequest")
        except ServiceError as error:
            return failure(error)
        if isinstance(result, CallToolResult | InputRequiredResult):
            return result
        structured = result.model_dump(mode="json", exclude_none=True)
        text = json.dumps(structured, ensure_ascii=False, indent=1)
        return CallToolResult(content=[TextContent(text=text)], structured_content=structured)

    def _explain(self, error: ValidationError) -> str:
        """Name each wrong argument and what it must be, without repeating what it was."""
        problems = []
        for problem in error.errors(include_input=False, include_url=False)[:5]:
            place = ".".join(str(part) for part in problem["loc"])
            message = problem["msg"].removeprefix("Value error, ")
            if problem["type"] == "extra_forbidden":
                known = list(self.arguments.model_fields)
                close = close_names(place, known)
                message = f"is not an argument of {self.name}"
                message += f"; did you mean {close[0]}?" if close else f", which takes {', '.join(known)}"
            else:
                message = message.replace("Input should be", "must be").replace("Field required", "is required")
            problems.append(f"{place} {message}" if place else message)
        return f"Wrong arguments: {'; '.join(problems)}."


def failure(error: ServiceError) -> CallToolResult:
    """The result for a failed call: the sentence, and the text that there was, marked as incomplete."""
    partial = error.partial if isinstance(error, GenerationBroken | EngineTimeout) else ""
    return failed(error.message, type(error).__name__, retryable=error.retryable, partial=partial)


def failed(text: str, kind: str, *, retryable: bool = False, partial: str = "") -> CallToolResult:
    """The result for something that failed, by the name of its error."""
    if partial:
        text += f"\n\nThe incomplete answer until then:\n{partial}"
    return CallToolResult(
        content=[TextContent(text=text)],
        is_error=True,
        _meta={ERROR_META: {"type": kind, "retryable": retryable}},
    )
