"""Between our words and OpenAI's JSON: a request to a body, the events of a stream to ours. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from ollama_mcp.chat import (
    ChatEvent,
    ChatRequest,
    Delta,
    Done,
    FinishReason,
    FunctionCall,
    Message,
    Timings,
    ToolCall,
    Usage,
)
from ollama_mcp.engines.openai_failures import said_in
from ollama_mcp.errors import GenerationBroken, MalformedAnswer, Unsupported

_SAME_NAME = {
    "model",
    "temperature",
    "top_p",
    "max_tokens",
    "stop",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning_effort",
    "logprobs",
    "top_logprobs",
    # Not OpenAI's, but read by llama.cpp and, most of them, by vLLM and LM Studio.
    "top_k",
    "min_p",
    "typical_p",
    "repeat_penalty",
    "repeat_last_n",
}
_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
_STREAM_FIELDS = (b"data", b"", b"event", b"id", b"retry")  # b"" begins a comment
_UNLIKELY = -9999.0
"""OpenAI's own word for a probability of next to nothing; some servers send null, since JSON has no infinity."""
KEEP_ALIVE_IGNORED = "keep_alive was ignored: only Ollama unloads models by the clock."


def refuse_num_ctx() -> Unsupported:
    """Why a request cannot choose the context."""
    return Unsupported(
        "num_ctx cannot be set for a request here: the server's context is fixed when it is started; leave num_ctx "
        "out, or start the server with the context you need.",
        param="num_ctx",
    )


def chat_body(request: ChatRequest) -> dict[str, Any]:
    """The body of /chat/completions; `Unsupported` if the request asks for what only Ollama has."""
    if request.num_ctx is not None:
        raise refuse_num_ctx()
    if request.options:
        raise Unsupported(
            "options are Ollama's own and this engine cannot pass them on; use the named fields, such as "
            "temperature, top_k or repeat_penalty.",
            param="options",
        )
    body = request.model_dump(include=_SAME_NAME, exclude_none=True)
    body["messages"] = [_message(message) for message in request.messages]
    body["stream"] = True
    body["stream_options"] = {"include_usage": True}
    if request.response_format is not None:
        body["response_format"] = request.response_format.model_dump(by_alias=True, exclude_none=True)
    if request.repeat_penalty is not None:
        body["repetition_penalty"] = request.repeat_penalty  # vLLM's name for it
    if request.think is not None:
        # OpenAI has no switch for thinking. vLLM and llama-server both hand this to the model's chat template,
        # where Qwen, GLM, Gemma and others look for it; an `enable_thinking` of the top level only few read.
        body["chat_template_kwargs"] = {"enable_thinking": request.think is not False}
        if isinstance(request.think, str):
            body.setdefault("reasoning_effort", request.think)
    return body


def warnings_for(request: ChatRequest) -> tuple[str, ...]:
    """What of a request is left out though it is accepted."""
    return () if request.keep_alive is None else (KEEP_ALIVE_IGNORED,)


def _message(message: Message) -> dict[str, Any]:
    body = message.model_dump(exclude_none=True)
    body.setdefault("content", None)  # some servers want the field even beside tool calls
    if message.role == "developer":
        body["role"] = "system"  # chat templates know no developer
    return body


@dataclass(slots=True)
class _Call:
    """A tool call under way."""

    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Answer:
    """Reads the events of one answer. `model` stands in where the server does not name it."""

    model: str
    new_id: Callable[[], str]
    warnings: tuple[str, ...] = ()
    begun: bool = False
    """Whether an event has come, and with it the certainty that this is such a stream."""
    ended: bool = False
    """Whether the server has said that the stream is over."""
    _calls: list[_Call] = field(default_factory=list)
    _open: dict[int, _Call] = field(default_factory=dict)
    _finish: str | None = None
    _usage: Usage = field(default_factory=Usage)
    _timings: Timings = field(default_factory=Timings)

    def read(self, line: bytes) -> Delta | None:
        """What a line of the stream adds to the answer, if anything; `GenerationBroken` if it is an error."""
        name, colon, data = line.partition(b":")
        if not colon or name not in _STREAM_FIELDS:
            if self.begun:
                raise _nonsense("a line that is no event")
            raise MalformedAnswer("The model server did not stream its answer; check that its address ends in /v1.")
        if name != b"data":
            return None
        self.begun = True
        data = data.strip()
        if data == b"[DONE]":
            self.ended = True
            return None
        return self._event(data)

    def events(self, line: bytes) -> tuple[ChatEvent, ...]:
        """The same as `read`, as a list; nothing of what comes after the end."""
        delta = None if self.ended else self.read(line)
        return () if delta is None else (delta,)

    def _event(self, data: bytes) -> Delta | None:
        try:
            event = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise GenerationBroken(f"The model server sent an event that is not JSON: {error}.") from error
        if not isinstance(event, dict):
            raise _nonsense("an event that is no object")
        if event.get("error") is not None:
            raise GenerationBroken(f"The model server broke off its answer: {said_in(event)}.")
        self.model = _text(event, "model") or self.model
        if isinstance(usage := event.get("usage"), dict):
            self._usage = usage_of(usage)
        if isinstance(timings := event.get("timings"), dict):
            self._timings = timings_of(timings)
        choices = _objects(event, "choices")
        return self._choice(choices[0]) if choices else None

    def end(self) -> list[ChatEvent]:
        """The last events; `GenerationBroken` if the stream stopped without its end or a reason to finish."""
        if self._finish is None and not self.ended:
            raise GenerationBroken("The model server stopped in the middle of its answer.")
        reason = _FINISH.get(self._finish or "stop")
        if reason is None:
            raise GenerationBroken(f"The model server broke off its answer, giving as its reason {self._finish!r}.")
        calls = tuple(
            ToolCall(
                id=call.id or self.new_id(),
                function=FunctionCall(name=call.name, arguments="".join(call.arguments) or "{}"),
            )
            for call in self._calls
        )
        if calls and reason == "stop":
            reason = "tool_calls"
        done = Done(self.model, reason, self._usage, self._timings, self.warnings)
        return [Delta(tool_calls=calls), done] if calls else [done]

    def _choice(self, choice: dict[str, Any]) -> Delta | None:
        delta = choice.get("delta") or {}
        if not isinstance(delta, dict):
            raise _nonsense("a delta that is none")
        self._finish = _text(choice, "finish_reason") or self._finish
        for piece in _objects(delta, "tool_calls"):
            self._gather(piece)
        logprobs = choice.get("logprobs")
        found = Delta(
            content=_text(delta, "content") or _text(delta, "refusal"),
            reasoning=_text(delta, "reasoning_content") or _text(delta, "reasoning"),
            logprobs=_tokens(logprobs) if isinstance(logprobs, dict) else (),
        )
        return found if found != _NOTHING else None

    def _gather(self, piece: dict[str, Any]) -> None:
        """Take in a piece of a tool call.

        Pieces belong together by their index. Some servers give none, or 0 to every call: a new id then
        begins a new call.
        """
        index, identity = _count(piece, "index") or 0, _text(piece, "id")
        call = self._open.get(index)
        if call is None or (identity and call.id and identity != call.id):
            call = self._open[index] = _Call()
            self._calls.append(call)
        function = piece.get("function") or {}
        if not isinstance(function, dict):
            raise _nonsense("a function that is none")
        call.id = call.id or identity
        call.name = call.name or _text(function, "name")
        arguments = function.get("arguments") or ""
        call.arguments.append(arguments if isinstance(arguments, str) else _written(arguments))


def _tokens(logprobs: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    return tuple(
        _likely(token) | {"top_logprobs": [_likely(other) for other in _objects(token, "top_logprobs")]}
        for token in _objects(logprobs, "content")
    )


def _likely(token: dict[str, Any]) -> dict[str, Any]:
    logprob = token.get("logprob")
    if not isinstance(token.get("token"), str) or not isinstance(logprob, int | float | None):
        raise _nonsense("a log probability that is none")
    return token if logprob is not None else token | {"logprob": _UNLIKELY}


def _written(arguments: object) -> str:
    try:
        return orjson.dumps(arguments).decode()
    except orjson.JSONEncodeError as error:  # it reads a thousand levels and writes 254
        raise _nonsense("arguments of too many levels") from error


_NOTHING = Delta()


def usage_of(usage: dict[str, Any]) -> Usage:
    """The token counts of an answer."""
    prompt, completion = _count(usage, "prompt_tokens") or 0, _count(usage, "completion_tokens") or 0
    details = usage.get("prompt_tokens_details")
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=_count(usage, "total_tokens") or prompt + completion,
        cached_tokens=_count(details, "cached_tokens") if isinstance(details, dict) else None,
    )


def timings_of(timings: dict[str, Any]) -> Timings:
    """llama.cpp's own account, in milliseconds."""

    def seconds(key: str) -> float | None:
        value = timings.get(key)
        return value / 1000 if isinstance(value, int | float) else None

    rate = timings.get("predicted_per_second")
    return Timings(
        prompt=seconds("prompt_ms"),
        generation=seconds("predicted_ms"),
        tokens_per_second=rate if isinstance(rate, int | float) else None,
    )


def vectors_of(answer: Any) -> tuple[list[list[float]], Usage]:
    """The vectors in an answer of /embeddings, in the order of the texts."""
    try:
        ordered = sorted(answer["data"], key=lambda entry: int(entry["index"]))
        vectors = [[float(number) for number in entry["embedding"]] for entry in ordered]
    except (TypeError, KeyError, ValueError) as error:
        raise MalformedAnswer("The model server sent vectors that are none.") from error
    usage = answer.get("usage")
    return vectors, usage_of(usage) if isinstance(usage, dict) else Usage()


def _objects(fields: dict[str, Any], key: str) -> list[dict[str, Any]]:
    value = fields.get(key) or []
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise _nonsense(f"{key} that are none")
    return value


def _text(fields: dict[str, Any], key: str) -> str:
    value = fields.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _nonsense(f"a {key} that is no text")
    return value


def _count(fields: dict[str, Any], key: str) -> int | None:
    value = fields.get(key)
    return value if isinstance(value, int) else None


def _nonsense(what: str) -> GenerationBroken:
    return GenerationBroken(f"The model server sent {what}.")
