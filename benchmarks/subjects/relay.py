"""What many write first: a FastAPI relay to Ollama with a new httpx client for each request."""

import json
import os
import time
from collections.abc import AsyncGenerator
from typing import Any

import httpx
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

OLLAMA = os.environ["OLLAMA_HOST"]
app = FastAPI()


class ChatBody(BaseModel):
    model: str
    messages: list[dict[str, Any]]
    stream: bool = False
    max_tokens: int | None = None


@app.post("/v1/chat/completions", response_model=None)
async def chat(body: ChatBody) -> dict[str, Any] | StreamingResponse:
    options = {} if body.max_tokens is None else {"num_predict": body.max_tokens}
    asked = {"model": body.model, "messages": body.messages, "stream": body.stream, "options": options}
    if body.stream:
        return StreamingResponse(stream(asked), media_type="text/event-stream")
    async with httpx.AsyncClient(timeout=60) as client:
        found = (await client.post(f"{OLLAMA}/api/chat", json=asked)).json()
    usage = {"prompt_tokens": found["prompt_eval_count"], "completion_tokens": found["eval_count"]}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body.model,
        "choices": [{"index": 0, "message": found["message"], "finish_reason": "stop"}],
        "usage": usage | {"total_tokens": sum(usage.values())},
    }


async def stream(asked: dict[str, Any]) -> AsyncGenerator[str]:
    async with (
        httpx.AsyncClient(timeout=60) as client,
        client.stream("POST", f"{OLLAMA}/api/chat", json=asked) as response,
    ):
        async for line in response.aiter_lines():
            found = json.loads(line)
            choice = {
                "index": 0,
                "delta": {"content": found["message"]["content"]},
                "finish_reason": "stop" if found["done"] else None,
            }
            chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": int(time.time())}
            yield f"data: {json.dumps(chunk | {'model': asked['model'], 'choices': [choice]})}\n\n"
    yield "data: [DONE]\n\n"
