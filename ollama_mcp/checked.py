"""Answers that are checked, and asked for again with what was wrong with them."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from ollama_mcp.chat import Ask, ChatRequest, ChatResult, Checks, Message
from ollama_mcp.errors import ContextLengthExceeded, InvalidRequest

QUOTE_WORDS = 4
"""Shorter spans in quotation marks are names and words in an unusual sense, not quotes."""

MAX_PROBLEM = 400

Rule = Callable[[ChatResult], str | None]
"""Tells what is wrong with an answer, as the end of a sentence that begins with "it"; None if nothing is."""

_QUOTED = re.compile(r'"((?:[^"\n]|\n(?!\s*\n))+)"|“([^”]+)”')


def rules_of(request: ChatRequest, *, quotes_from_input: bool) -> list[Rule]:
    """What an answer to a request must hold to; `InvalidRequest` if its JSON schema is none."""
    rules: list[Rule] = []
    wanted = request.response_format
    is_json = wanted is not None and wanted.type != "text"
    if wanted is not None and wanted.json_schema is not None and wanted.type == "json_schema":
        rules.append(_schema_rule(wanted.json_schema.schema_))
    elif is_json:
        rules.append(lambda answer: _parse(answer)[1])
    if quotes_from_input:
        given = "\n".join(message.text for message in request.messages if message.role != "assistant")
        rules.append(_quotes_rule(_plain(given), is_json=is_json))
    return rules


async def checked(
    ask: Ask, request: ChatRequest, rules: list[Rule], *, retries: int, tell: Callable[[str], None]
) -> ChatResult:
    """The first answer that holds to the rules, else the last one; `checks` says which.

    An answer that calls tools is not checked: it is not the final one.
    """
    answer = await ask(request)
    if not rules or answer.tool_calls:
        return answer
    failures: list[str] = []
    usage, tries = answer.usage, 1
    while (problem := _problem(answer, rules)) is not None:
        failures.append(f"it {problem}")
        if tries > retries:
            break
        tell(f"asking again ({tries} of {retries}), since the answer is wrong: it {problem}")
        try:
            answer = await ask(_again(request, answer, problem))
        except ContextLengthExceeded:
            failures.append("the context has no room to ask again")
            break
        tries += 1
        if usage is not None and answer.usage is not None:
            usage += answer.usage
    checks = Checks(passed=problem is None, tries=tries, failures=failures)
    timings = answer.timings if tries == 1 else None
    return answer.model_copy(update={"checks": checks, "usage": usage, "timings": timings})


def _problem(answer: ChatResult, rules: list[Rule]) -> str | None:
    problem = next((found for rule in rules if (found := rule(answer)) is not None), None)
    return problem if problem is None or len(problem) <= MAX_PROBLEM else f"{problem[:MAX_PROBLEM]}…"


def _again(request: ChatRequest, answer: ChatResult, problem: str) -> ChatRequest:
    complaint = f"That answer is wrong: it {problem}. Answer again, with nothing but the corrected answer."
    messages = [Message(role="assistant", content=answer.content), Message(role="user", content=complaint)]
    return request.model_copy(update={"messages": [*request.messages, *messages]})


def _parse(answer: ChatResult) -> tuple[Any, str | None]:
    """The JSON of an answer, and what is wrong with it."""
    try:
        return orjson.loads(answer.content), None
    except orjson.JSONDecodeError as error:
        if answer.finish_reason == "length":
            return None, "was cut off at max_tokens or the end of the context"
        return None, f"is not valid JSON ({error})"


def _schema_rule(schema: dict[str, Any]) -> Rule:
    # Imported here: most answers are not checked.
    from jsonschema import SchemaError
    from jsonschema.exceptions import best_match
    from jsonschema.validators import validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    kind = validator_for(schema)
    try:
        kind.check_schema(schema)
    except SchemaError as error:
        raise InvalidRequest(
            f"The schema in response_format is not a valid JSON schema: {error.message[:MAX_PROBLEM]}.",
            param="response_format",
        ) from error
    # A registry of its own, since the default one would fetch what a $ref names from the network.
    validator = kind(schema, registry=Registry())

    def rule(answer: ChatResult) -> str | None:
        found, problem = _parse(answer)
        if problem is not None:
            return problem
        try:
            error = best_match(validator.iter_errors(found))
        except Unresolvable as unresolvable:
            raise InvalidRequest(
                f"The schema in response_format refers to {unresolvable.ref!r}, which is not in it.",
                param="response_format",
            ) from unresolvable
        return None if error is None else f"does not match the schema: at {error.json_path}, {error.message}"

    return rule


def _quotes_rule(given: str, *, is_json: bool) -> Rule:
    def rule(answer: ChatResult) -> str | None:
        texts = [answer.content]
        if is_json:
            found, problem = _parse(answer)
            texts = [] if problem is not None else list(_texts_in(found))
        for text in texts:
            for match in _QUOTED.finditer(text):
                quote = _plain(match[1] or match[2])
                # The full stop or comma at its end may be the answer's own.
                if len(quote.split()) >= QUOTE_WORDS and quote.rstrip(".,;:!?…") not in given:
                    return f'quotes "{quote}", which does not stand in the input'
        return None

    return rule


def _texts_in(found: Any) -> Iterator[str]:
    if isinstance(found, str):
        yield found
    elif isinstance(found, list | dict):
        for inner in found.values() if isinstance(found, dict) else found:
            yield from _texts_in(inner)


def _plain(text: str) -> str:
    """The text with one space for any white space, and straight apostrophes."""
    return " ".join(text.replace("\u2019", "'").replace("\u2018", "'").split())
