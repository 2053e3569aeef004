"""Chat in Ollama's JSON: a request becomes a body, and the lines of an answer become events. No I/O."""

from collections.abc import Callable
from typing import Any

import orjson

from ollama_mcp.chat import ChatEvent, ChatRequest, Delta, Done, FinishReason, FunctionCall, Timings, ToolCall, Usage
from ollama_mcp.engines.ollama_failures import failure, words_of
from ollama_mcp.engines.ollama_options import options_of
from ollama_mcp.engines.ollama_tool_choice import call_schema, forced_tools, instruction, read_call
from ollama_mcp.errors import EngineFailed, GenerationBroken, InvalidRequest, MalformedAnswer, ServiceError

THINK_BY_EFFORT: dict[str, bool | str] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "max",
    "max": "max",
}


def chat_body(request: ChatRequest) -> dict[str, Any]:
    """The body of /api/chat for a request; what is not set stays out, so that the model's own settings hold."""
    messages = _messages(request)
    body: dict[str, Any] = {"model": request.model, "messages": messages, "stream": True}
    body |= {"truncate": False, "shift": False}  # both would drop parts of the conversation without a word
    if request.response_format is not None:
        if request.response_format.json_schema is not None:
            body["format"] = request.response_format.json_schema.schema_
        elif request.response_format.type == "json_object":
            body["format"] = "json"
    if forced := forced_tools(request):
        body["format"] = call_schema(forced)
        _instruct(messages, instruction(forced))
    elif request.tools and request.tool_choice != "none":
        body["tools"] = [tool.model_dump(exclude_none=True) for tool in request.tools]
    if (think := _think(request)) is not None:
        body["think"] = think
    if request.keep_alive is not None:
        body["keep_alive"] = request.keep_alive
    if request.logprobs:
        body["logprobs"] = True
        if request.top_logprobs is not None:
            body["top_logprobs"] = request.top_logprobs
    if options := options_of(request):
        body["options"] = options
    return body


def _think(request: ChatRequest) -> bool | str | None:
    if request.think is not None or request.reasoning_effort is None:
        return request.think
    return THINK_BY_EFFORT[request.reasoning_effort]


def _messages(request: ChatRequest) -> list[dict[str, Any]]:
    tool_names: dict[str, str] = {}
    messages = []
    for index, message in enumerate(request.messages):
        role = "system" if message.role == "developer" else message.role
        sent: dict[str, Any] = {"role": role, "content": message.text}
        if message.reasoning_content:
            sent["thinking"] = message.reasoning_content
        if images := message.images:
            sent["images"] = images
        if message.tool_calls:
            sent["tool_calls"] = [
                _sent_call(call, place, f"messages[{index}].tool_calls[{place}].function.arguments")
                for place, call in enumerate(message.tool_calls)
            ]
            tool_names |= {call.id: call.function.name for call in message.tool_calls}
        if message.role == "tool":
            if message.tool_call_id is not None:
                sent["tool_call_id"] = message.tool_call_id
            if name := tool_names.get(message.tool_call_id or "", message.name):
                sent["tool_name"] = name
        messages.append(sent)
    return messages


def _sent_call(call: ToolCall, index: int, param: str) -> dict[str, Any]:
    text = call.function.arguments
    try:
        # Clients send an empty text for a call without arguments.
        arguments = orjson.loads(text) if text.strip() else {}
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"{param} is not valid JSON: {error}.", param=param) from error
    if not isinstance(arguments, dict):
        raise InvalidRequest(f"{param} must be a JSON object as a text.", param=param)
    return {"id": call.id, "function": {"index": index, "name": call.function.name, "arguments": arguments}}


def _instruct(messages: list[dict[str, Any]], text: str) -> None:
    """Add to the system message; many templates take but one, at the beginning."""
    if messages[0]["role"] == "system":
        messages[0]["content"] += f"\n\n{text}"
    else:
        messages.insert(0, {"role": "system", "content": text})


_NOTHING = Delta()
_NONE: list[Any] = []


class ChatReader:
    """Reads the lines of one answer, in order; `new_id` makes the id of a tool call that has none."""

    def __init__(self, request: ChatRequest, new_id: Callable[[], str]) -> None:
        self.warnings: list[str] = []
        """Told with the end of the answer."""
        self._request = request
        self._new_id = new_id
        self._forced = forced_tools(request)
        self._held_back: list[str] = []
        self._ids: set[str] = set()
        self._called = self._dropped = 0
        self._started = self._ended = False

    def read(self, line: bytes) -> list[ChatEvent]:
        """The events of a line, `Done` last in the last one; none of what comes after that.

        A forced tool call comes whole at the end; until then its lines give empty deltas, as signs of life.
        """
        if self._ended:
            return []
        try:
            found = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise self.broken(f"Ollama sent a line that is not valid JSON ({error}).") from error
        if not isinstance(found, dict):
            raise self.broken("Ollama sent a line that is not a JSON object.")
        if found.get("error") is not None:
            raise self._told(found, line)
        delta = self._delta(found)
        self._started = True
        if not found.get("done"):
            return [] if delta == _NOTHING and not self._held_back else [delta]
        self._ended = True
        events: list[ChatEvent] = [] if delta == _NOTHING else [delta]
        reason = found.get("done_reason")
        if self._forced:
            events.append(self._forced_call(cut=reason == "length"))
        if self._dropped:
            self.warnings.append(
                f"Tool calls after the first were left out, since parallel_tool_calls is false: {self._dropped}."
            )
        finish: FinishReason = "length" if reason == "length" else "tool_calls" if self._called else "stop"
        model = found.get("model")
        events.append(
            Done(
                model=model if isinstance(model, str) else self._request.model or "",
                finish_reason=finish,
                usage=usage_of(found),
                timings=_timings(found),
                warnings=tuple(self.warnings),
            )
        )
        return events

    def broken(self, message: str) -> ServiceError:
        """The error for nonsense: before the answer has begun it may be no Ollama at all."""
        if self._started:
            return GenerationBroken(message, partial="".join(self._held_back))
        return MalformedAnswer(f"{message} Check that the address is that of an Ollama.")

    def ended(self) -> GenerationBroken:
        """The error for an answer that is over without a last line."""
        return GenerationBroken(
            f"Ollama's answer stopped before its end; the model {self._request.model} may have crashed.",
            partial="".join(self._held_back),
        )

    def _told(self, line: dict[str, Any], text: bytes) -> ServiceError:
        if not self._started and type(known := failure(500, text, model=self._request.model)) is not EngineFailed:
            return known
        where = "in the middle of the answer" if self._started else "before the answer"
        return GenerationBroken(
            f"Ollama broke off {where}: {words_of(line['error'])}.", partial="".join(self._held_back)
        )

    def _delta(self, line: dict[str, Any]) -> Delta:
        message = line.get("message")
        if message is None and line.get("done"):
            message = {}
        if not isinstance(message, dict):
            raise self.broken("Ollama sent a line without a message.")
        content, thinking = message.get("content") or "", message.get("thinking") or ""
        calls, logprobs = message.get("tool_calls") or _NONE, line.get("logprobs") or _NONE
        if not isinstance(content, str) or not isinstance(thinking, str):
            raise self.broken("Ollama sent a message whose content is not a text.")
        if not isinstance(calls, list) or not isinstance(logprobs, list):
            raise self.broken("Ollama sent a message whose parts are not lists.")
        if self._forced and content:
            self._held_back.append(content)
            content = ""
        return Delta(
            content,
            thinking,
            tuple(self._received_calls(calls)) if calls else (),
            tuple(self._logprob(token) for token in logprobs) if logprobs else (),
        )

    def _received_calls(self, calls: list[Any]) -> list[ToolCall]:
        kept = []
        for call in calls:
            function = call.get("function") if isinstance(call, dict) else None
            name = function.get("name") if isinstance(function, dict) else None
            if not isinstance(function, dict) or not isinstance(name, str):
                raise self.broken("Ollama sent a tool call without a name.")
            if self._called and self._request.parallel_tool_calls is False:
                self._dropped += 1
                continue
            arguments = function.get("arguments")
            text = arguments if isinstance(arguments, str) else self._written(arguments or {})
            kept.append(ToolCall(id=self._id(call.get("id")), function=FunctionCall(name=name, arguments=text)))
            self._called += 1
        return kept

    def _written(self, arguments: object) -> str:
        try:
            return orjson.dumps(arguments).decode()
        except orjson.JSONEncodeError as error:  # it reads a thousand levels and writes 254
            raise self.broken(f"Ollama sent a tool call with arguments of too many levels ({error}).") from error

    def _id(self, given: object) -> str:
        call_id = given if isinstance(given, str) and given and given not in self._ids else self._new_id()
        self._ids.add(call_id)
        return call_id

    def _forced_call(self, *, cut: bool) -> Delta:
        text = "".join(self._held_back)
        if (call := read_call(text, self._forced, self._new_id())) is not None:
            self._called += 1
            return Delta(tool_calls=(call,))
        if cut:
            return Delta(content=text)
        raise GenerationBroken(
            f"{self._request.model} did not call a tool although it had to; try again, or use a model that supports "
            "tools.",
            partial=text,
        )

    def _logprob(self, token: Any) -> dict[str, Any]:
        """One token in OpenAI's form."""
        plain, others = self._plain_logprob(token), token.get("top_logprobs") or []
        if not isinstance(others, list):
            raise self.broken("Ollama sent log probabilities that are not a list.")
        return plain | {"top_logprobs": [self._plain_logprob(other) for other in others]}

    def _plain_logprob(self, token: Any) -> dict[str, Any]:
        if not isinstance(token, dict) or not isinstance(token.get("token"), str):
            raise self.broken("Ollama sent a log probability without its token.")
        logprob, data = token.get("logprob", 0.0), token.get("bytes")
        numbers = [logprob, *data] if isinstance(data, list) else [logprob]
        if not all(isinstance(number, int | float) for number in numbers) or not isinstance(data, list | None):
            raise self.broken("Ollama sent a log probability that is not a number.")
        return {"token": token["token"], "logprob": logprob, "bytes": data}


def usage_of(line: dict[str, Any]) -> Usage:
    """The token counts of an answer; Ollama leaves out a count of zero."""
    prompt, completion = _count(line, "prompt_eval_count"), _count(line, "eval_count")
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        cached_tokens=_count(line, "prompt_eval_cached_count") if "prompt_eval_cached_count" in line else None,
    )


def _timings(line: dict[str, Any]) -> Timings:
    generation, tokens = _seconds(line, "eval_duration"), _count(line, "eval_count")
    return Timings(
        load=_seconds(line, "load_duration"),
        prompt=_seconds(line, "prompt_eval_duration"),
        generation=generation,
        tokens_per_second=round(tokens / generation, 2) if generation and tokens else None,
    )


def _count(line: dict[str, Any], name: str) -> int:
    value = line.get(name)
    return value if isinstance(value, int) and value > 0 else 0


def _seconds(line: dict[str, Any], name: str) -> float | None:
    value = line.get(name)
    return value / 1e9 if isinstance(value, (int, float)) else None
