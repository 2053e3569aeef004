"""Text that does not fit into the context: it is answered in parts, and the answers are combined."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from ollama_mcp.chat import Ask, ChatRequest, ChatResult, Message, TextPart, Usage
from ollama_mcp.context import ANSWER_RESERVE, Estimate
from ollama_mcp.errors import ContextLengthExceeded, InvalidRequest, PromptTruncated

QUESTION_BEFORE = 500
QUESTION_AFTER = 200
"""Characters up to which the first and the last paragraph are taken for the question, which each part repeats."""

SMALLEST_PART = 400
"""Characters; below that a context is too small to be worth reading parts in."""

INSTRUCTION_TOKENS = 100
MARGIN = 0.85

_PARAGRAPHS = re.compile(r"\n[ \t]*\n\s*")
_BORDERS = (
    _PARAGRAPHS,
    re.compile(r"\n"),
    re.compile(r"(?<=[.!?])\s+|(?<=[\u3002\uff01\uff1f])"),
    re.compile(r"\s+"),
)

TOO_LONG = (ContextLengthExceeded, PromptTruncated)
"""How an engine refuses a text, and how it is found out that one has read but a part of it."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Place:
    """The longest text that the user gave, and where it stands."""

    message: int
    part: int | None
    text: str

    def filled(self, request: ChatRequest, text: str) -> ChatRequest:
        """The request with another text in this place."""
        messages = list(request.messages)
        message = messages[self.message]
        content: object = text
        if self.part is not None and isinstance(message.content, list):
            content = [*message.content]
            content[self.part] = TextPart(type="text", text=text)
        messages[self.message] = message.model_copy(update={"content": content})
        return request.model_copy(update={"messages": messages})


async def map_reduce(ask: Ask, ask_part: Ask, request: ChatRequest, *, tell: Tell) -> ChatResult:
    """The answer, in parts if the text does not fit; `ask` makes the last one and `ask_part` those for parts."""
    try:
        return await ask(request)
    except TOO_LONG as error:
        too_long = error
    place = _longest(request)
    # Beside files and images the question stands in a part of its own, which each request has anyhow.
    head, body, tail = _framed(place.text) if place.part is None else ("", place.text, "")
    length = too_long.context_length if isinstance(too_long, ContextLengthExceeded) else None
    if isinstance(too_long, ContextLengthExceeded) and length is not None:
        bare = place.filled(request, _joined(head, tail))
        parts = split(body, _part_size(request, bare, len(place.text), too_long, length))
    else:
        parts = _halves(body)
    if not parts:
        raise too_long
    return await _Reading(ask, ask_part, request, place, head, tail, tell).answer(parts, length)


class _Reading:
    """One text that is read in parts."""

    def __init__(
        self, ask: Ask, ask_part: Ask, request: ChatRequest, place: _Place, head: str, tail: str, tell: Tell
    ) -> None:
        self._ask = ask
        self._ask_part = ask_part
        self._request = request
        self._place = place
        self._head = head
        self._tail = tail
        self._tell = tell
        self._usage: Usage | None = None
        self._cut = 0

    async def answer(self, parts: list[str], context_length: int | None) -> ChatResult:
        """Read the parts one after another, and combine what was made of them."""
        answers: list[str] = []
        while len(answers) < len(parts):
            number = len(answers) + 1
            self._tell(f"reading part {number} of {len(parts)}")
            try:
                answer = await self._ask_part(self._part(parts[number - 1], number, len(parts)))
            except TOO_LONG:
                if len(parts[number - 1]) < SMALLEST_PART:
                    raise
                parts[number - 1 : number] = _halves(parts[number - 1])
            else:
                self._count(answer)
                answers.append(answer.content)
        result = await self._combined(answers)
        context = f" of {context_length} tokens" if context_length else ""
        warning = (
            f"The text did not fit into the context{context}: it was answered in {len(parts)} parts and the answers "
            "were combined, so what only shows across parts may be missing."
        )
        warnings = [*result.warnings, warning]
        if self._cut:
            warnings.append(f"Of the answers for parts {self._cut} were cut off at max_tokens; more of it may help.")
        update = {"parts": len(parts), "usage": self._usage, "timings": None, "warnings": warnings}
        return result.model_copy(update=update)

    async def _combined(self, answers: list[str], *, ask: Ask | None = None) -> ChatResult:
        self._tell(f"combining {len(answers)} answers")
        request = self._place.filled(self._request, self._reduction(answers))
        try:
            result = await (ask or self._ask)(request)
        except TOO_LONG:
            if len(answers) < 3:  # two that do not fit together will not be shorter the next time
                raise
            middle = len(answers) // 2
            halves = [
                (await self._combined(half, ask=self._ask_part)).content if len(half) > 1 else half[0]
                for half in (answers[:middle], answers[middle:])
            ]
            return await self._combined(halves, ask=ask)
        self._count(result, is_last=ask is None)
        return result

    def _count(self, result: ChatResult, *, is_last: bool = False) -> None:
        self._cut += result.finish_reason == "length" and not is_last
        if result.usage is not None:
            self._usage = result.usage if self._usage is None else self._usage + result.usage

    def _part(self, text: str, number: int, count: int) -> ChatRequest:
        told = f"[Part {number} of {count} of the text]"
        filled = self._place.filled(self._request, _joined(self._head, told, text, self._tail))
        return filled.model_copy(update={"logprobs": None, "top_logprobs": None})

    def _reduction(self, answers: list[str]) -> str:
        told = f"[What was found in the {len(answers)} parts of the text. Combine it into one answer.]"
        listed = [f"[Part {number}]\n{answer}" for number, answer in enumerate(answers, 1)]
        return _joined(self._head, told, *listed, self._tail)


def split(text: str, size: int) -> list[str]:
    """The text in pieces of at most `size` characters, cut at paragraphs, else lines, sentences, words.

    Nothing is lost but the white space at the cuts.
    """
    pieces: list[str] = []
    rest = text.strip()
    while len(rest) > size:
        cut = _border(rest, size)
        pieces.append(rest[:cut].strip())
        rest = rest[cut:].strip()
    return [piece for piece in [*pieces, rest] if piece]


def _halves(text: str) -> list[str]:
    cut = _border(text, len(text) * 5 // 8)
    return [piece for piece in (text[:cut].strip(), text[cut:].strip()) if piece]


def _border(text: str, size: int) -> int:
    for border in _BORDERS:
        ends = [match.end() for match in border.finditer(text, 0, size)]
        if ends and ends[-1] >= size // 2:
            return ends[-1]
    return size


def _joined(*pieces: str) -> str:
    return "\n\n".join(piece for piece in pieces if piece)


def _longest(request: ChatRequest) -> _Place:
    places = [
        _Place(number, part, text)
        for number, message in enumerate(request.messages)
        if message.role == "user"
        for part, text in _texts(message)
    ]
    if not places:
        raise InvalidRequest('overflow "map_reduce" needs a user message with text to split.', param="overflow")
    return max(places, key=lambda place: len(place.text))


def _texts(message: Message) -> list[tuple[int | None, str]]:
    if isinstance(message.content, list):
        return [(number, part.text) for number, part in enumerate(message.content) if isinstance(part, TextPart)]
    return [(None, message.content or "")]


def _framed(text: str) -> tuple[str, str, str]:
    """The text's first paragraph, what is between, and its last one; "" for one too long to be a question."""
    text = text.strip()
    head = tail = ""
    for border in _BORDERS[:2]:
        if not head and (match := border.search(text)) and match.start() <= QUESTION_BEFORE:
            head, text = text[: match.start()], text[match.end() :]
        matches = list(border.finditer(text, max(0, len(text) - QUESTION_AFTER))) if not tail else []
        if matches:
            text, tail = text[: matches[-1].start()], text[matches[-1].end() :]
    return head, text, tail


def _part_size(
    request: ChatRequest, bare: ChatRequest, characters: int, error: ContextLengthExceeded, length: int
) -> int:
    """How many characters of the text fit into the context beside all else; the error again if none do."""
    whole = Estimate.of(request)
    scale = 1.0
    if error.prompt_tokens is not None and error.prompt_tokens > whole.least:  # counted by the engine
        scale = error.prompt_tokens / whole.safe
    answer = request.max_tokens or min(ANSWER_RESERVE, length // 4)
    room = length - Estimate.of(bare).safe * scale - answer - INSTRUCTION_TOKENS
    size = int(room * MARGIN * characters / max(whole.safe * scale, 1))
    if size < SMALLEST_PART:
        raise ContextLengthExceeded(
            f"Beside the long text there is no room in the context of {length} tokens: shorten the rest of the "
            "conversation, ask for fewer max_tokens, or raise num_ctx.",
            prompt_tokens=error.prompt_tokens,
            context_length=length,
        ) from error
    return size
