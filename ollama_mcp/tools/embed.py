"""The tool `embed`: texts as vectors."""

from typing import Annotated

from mcp.types import CallToolResult, TextContent
from pydantic import Field

from ollama_mcp.chat import Lazy, Usage
from ollama_mcp.service import Service
from ollama_mcp.tools.answer import waited_for
from ollama_mcp.tools.base import Arguments, ServiceTool, ToolContext
from ollama_mcp.tools.models import READ_ONLY


class EmbedArguments(Arguments):
    """What `embed` takes."""

    input: str | Annotated[list[str], Field(min_length=1, max_length=1000)]
    model: str | None = Field(None, description="Default: the newest embedding model")
    dimensions: int | None = Field(None, ge=1, description="Shorter vectors, if the model can")


class Embeddings(Lazy):
    """A vector for each text, in their order."""

    model: str
    dimensions: int
    embeddings: list[list[float]]
    usage: Usage


def embed_tool(service: Service) -> ServiceTool:
    """The tool over a service."""

    async def embed(arguments: EmbedArguments, ctx: ToolContext) -> CallToolResult:
        texts = [arguments.input] if isinstance(arguments.input, str) else arguments.input
        work = service.embed(texts, model=arguments.model, dimensions=arguments.dimensions)
        result = await waited_for(work, ctx, service, what=f"The embedding of {len(texts)} texts")
        answer = Embeddings(
            model=result.model,
            dimensions=len(result.embeddings[0]),
            embeddings=result.embeddings,
            usage=result.usage,
        )
        # Without the indentation of other results, which would give each number a line.
        return CallToolResult(
            content=[TextContent(text=answer.model_dump_json(exclude_none=True))],
            structured_content=answer.model_dump(mode="json", exclude_none=True),
        )

    return ServiceTool.of(
        embed,
        title="Embed",
        description="A vector for each text, by a local embedding model.",
        annotations=READ_ONLY,
        output=Embeddings,
    )
