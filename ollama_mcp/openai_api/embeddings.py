"""POST /v1/embeddings."""

import base64
import struct
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from ollama_mcp.openai_api.body import read_body
from ollama_mcp.openai_api.disconnect import unless_gone
from ollama_mcp.openai_api.schemas import EmbeddingBody
from ollama_mcp.openai_api.wire import JSON
from ollama_mcp.service import Service


class Embeddings:
    """The route over a service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def create(self, request: Request) -> Response:
        """A vector for each text."""
        body = await read_body(request, EmbeddingBody)
        work = self._service.embed(body.input, model=body.model, dimensions=body.dimensions)
        result = await unless_gone(request, work)
        packed = body.encoding_format == "base64"
        data = [
            {"object": "embedding", "index": index, "embedding": _packed(vector) if packed else vector}
            for index, vector in enumerate(result.embeddings)
        ]
        usage = {"prompt_tokens": result.usage.prompt_tokens, "total_tokens": result.usage.total_tokens}
        return JSON({"object": "list", "data": data, "model": body.model, "usage": usage})


def _packed(vector: Sequence[float]) -> str:
    """The numbers as little-endian 32-bit floats in base64, which the official clients ask for."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
