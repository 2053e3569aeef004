"""The answer of /v1/responses as it grows: its items, and the events that tell of each step."""

import time
from collections.abc import Sequence
from typing import Any

from ollama_mcp.chat import Delta, ToolCall, Usage
from ollama_mcp.openai_api.errors import body_of
from ollama_mcp.openai_api.responses_schemas import FunctionChoice, ResponseBody
from ollama_mcp.openai_api.wire import dumps, new_id

_CUT_BY: dict[str, str] = {"length": "max_output_tokens", "content_filter": "content_filter"}
_PART = {"message": "content_part", "reasoning": "reasoning_summary_part"}


class Answer:
    """One answer under way. Each step gives its events, encoded and numbered."""

    def __init__(self, body: ResponseBody) -> None:
        self._body = body
        self._id = new_id("resp_")
        self._created = int(time.time())
        self._items: list[dict[str, Any]] = []
        self._is_open = False  # whether the last item still grows
        self._texts: list[str] = []
        self._logprobs: list[dict[str, Any]] = []
        self._end: dict[str, Any] = {"status": "in_progress"}
        self._sequence = 0

    def start(self) -> bytes:
        """The answer has begun."""
        response = self.response()
        return self._event("response.created", response=response) + self._event(
            "response.in_progress", response=response
        )

    def add(self, delta: Delta) -> bytes:
        """Take in a piece of the answer."""
        events = b""
        if delta.reasoning:
            events += self._opened("reasoning")
            events += self._part_event("response.reasoning_summary_text.delta", delta=delta.reasoning)
            self._texts.append(delta.reasoning)
        if delta.content or delta.logprobs:
            logprobs = [_logprob(token) for token in delta.logprobs]
            events += self._opened("message")
            events += self._part_event("response.output_text.delta", delta=delta.content, logprobs=logprobs)
            self._texts.append(delta.content)
            self._logprobs += logprobs
        for call in delta.tool_calls:
            events += self._closed() + self._call(call)
        return events

    def finish(self, reason: str, usage: Usage | None, warnings: Sequence[str]) -> bytes:
        """The answer has come to its end."""
        events = b"" if self._items else self._opened("message")
        cut = _CUT_BY.get(reason)
        events += self._closed("incomplete" if cut else "completed")
        self._end = {"status": "incomplete" if cut else "completed", "usage": _usage(usage)}
        if cut:
            self._end["incomplete_details"] = {"reason": cut}
        else:
            self._end["completed_at"] = int(time.time())
        if warnings:
            self._end["warnings"] = list(warnings)
        return events + self._event(f"response.{self._end['status']}", response=self.response())

    def fail(self, error: Exception) -> bytes:
        """The answer broke off: told in the response, and in an event that the official clients raise."""
        problem = body_of(error)["error"]
        events = b"" if self._sequence else self.start()
        events += self._closed("incomplete")
        self._end = {"status": "failed", "error": {"code": problem["code"], "message": problem["message"]}}
        events += self._event("response.failed", response=self.response())
        return events + self._event("error", **problem, error=problem)

    def response(self) -> dict[str, Any]:
        """The answer so far, with the request's own settings as OpenAI gives them back.

        Clients want numbers there, so what was not set, and is the model's own, bears OpenAI's defaults.
        """
        body = self._body
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "completed_at": None,
            "error": None,
            "incomplete_details": None,
            "instructions": body.instructions,
            "max_output_tokens": body.max_output_tokens,
            "model": body.model,
            "output": list(self._items),
            "parallel_tool_calls": body.parallel_tool_calls is not False,
            "previous_response_id": None,
            "reasoning": {"effort": body.reasoning.effort if body.reasoning else None, "summary": None},
            "store": False,
            "temperature": _or(body.temperature, 1.0),
            "text": {"format": _format(body)},
            "tool_choice": _tool_choice(body),
            "tools": [tool.model_dump() for tool in body.tools or ()],
            "top_logprobs": _or(body.top_logprobs, 0),
            "top_p": _or(body.top_p, 1.0),
            "presence_penalty": _or(body.presence_penalty, 0.0),
            "frequency_penalty": _or(body.frequency_penalty, 0.0),
            "max_tool_calls": None,
            "service_tier": "default",
            "safety_identifier": None,
            "prompt_cache_key": None,
            "truncation": "disabled",
            "usage": None,
            "background": False,
            "metadata": body.metadata or {},
            **self._end,
        }

    def _event(self, kind: str, **values: Any) -> bytes:
        values["type"] = kind
        values["sequence_number"] = self._sequence
        self._sequence += 1
        return b"event: " + kind.encode() + b"\ndata: " + dumps(values) + b"\n\n"

    def _item_event(self, kind: str, **values: Any) -> bytes:
        return self._event(kind, output_index=len(self._items) - 1, **values)

    def _part_event(self, kind: str, **values: Any) -> bytes:
        item = self._items[-1]
        index = "summary_index" if item["type"] == "reasoning" else "content_index"
        return self._item_event(kind, item_id=item["id"], **{index: 0}, **values)

    def _opened(self, kind: str) -> bytes:
        """An item of the kind is open; one of another kind has ended with it."""
        if self._is_open and self._items[-1]["type"] == kind:
            return b""
        events = self._closed()
        self._is_open = True
        if kind == "message":
            item = {"type": kind, "id": new_id("msg_"), "role": "assistant", "content": []}
        else:
            # As a summary, which all clients show; the event for the reasoning itself has no common name.
            item = {"type": kind, "id": new_id("rs_"), "summary": []}
        self._items.append({**item, "status": "in_progress"})
        events += self._item_event("response.output_item.added", item=self._items[-1])
        return events + self._part_event(f"response.{_PART[kind]}.added", part=self._part())

    def _part(self) -> dict[str, Any]:
        text = "".join(self._texts)
        if self._items[-1]["type"] == "reasoning":
            return {"type": "summary_text", "text": text}
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": list(self._logprobs)}

    def _closed(self, status: str = "completed") -> bytes:
        """The open item, if there is one, has ended."""
        if not self._is_open:
            return b""
        item, part = self._items[-1], self._part()
        if item["type"] == "message":
            events = self._part_event("response.output_text.done", text=part["text"], logprobs=part["logprobs"])
        else:
            events = self._part_event("response.reasoning_summary_text.done", text=part["text"])
        events += self._part_event(f"response.{_PART[item['type']]}.done", part=part)
        item["content" if item["type"] == "message" else "summary"] = [part]
        item["status"] = status
        self._is_open = False
        self._texts, self._logprobs = [], []
        return events + self._item_event("response.output_item.done", item=item)

    def _call(self, call: ToolCall) -> bytes:
        item = {"type": "function_call", "id": new_id("fc_"), "call_id": call.id, "name": call.function.name}
        self._items.append({**item, "arguments": "", "status": "in_progress"})
        events = self._item_event("response.output_item.added", item=self._items[-1])
        arguments = call.function.arguments
        events += self._item_event("response.function_call_arguments.delta", item_id=item["id"], delta=arguments)
        events += self._item_event(
            "response.function_call_arguments.done", item_id=item["id"], name=item["name"], arguments=arguments
        )
        self._items[-1] |= {"arguments": arguments, "status": "completed"}
        return events + self._item_event("response.output_item.done", item=self._items[-1])


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _tool_choice(body: ResponseBody) -> str | dict[str, Any]:
    if isinstance(body.tool_choice, FunctionChoice):
        return body.tool_choice.model_dump()
    return body.tool_choice or "auto"


def _format(body: ResponseBody) -> dict[str, Any]:
    wanted = body.text.format if body.text else None
    return {"type": "text"} if wanted is None else wanted.model_dump(by_alias=True)


def _logprob(token: dict[str, Any]) -> dict[str, Any]:
    return {"bytes": [], "top_logprobs": [], **token}


def _usage(usage: Usage | None) -> dict[str, Any] | None:
    """Token counts in the names of this endpoint, where all of them must be there."""
    if usage is None:
        return None
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens or 0, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.total_tokens,
    }
