"""Text that does not fit, through a real MCP client over a fake Ollama; the fake counts words as tokens."""

import pytest

from ollama_mcp.long_input import split

from .fake_ollama import FakeOllama, Gate, failure, says
from .harness import client_over, text_of, warm_ollama

pytestmark = pytest.mark.anyio

PARAGRAPH = "The committee of the old town met again and again, and wrote down what it had found in the archive. "
TEXT = "\n\n".join(f"Chapter {number}. {PARAGRAPH * 6}" for number in range(60))


def asking(**arguments) -> dict:
    prompt = f"Summarize this:\n\n{TEXT}\n\nIn one sentence."
    return {"model": "llama3.2", "prompt": prompt, "overflow": "map_reduce", **arguments}


def contents(fake: FakeOllama) -> list[str]:
    return [sent["messages"][-1]["content"] for sent in fake.sent("/api/chat")]


async def test_text_that_does_not_fit_is_read_in_parts_and_the_answers_are_combined() -> None:
    second = Gate()

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        if "reading part 2 of" in (message or ""):
            second.open()

    async with warm_ollama() as fake, client_over(fake, max_num_ctx=4096) as client:
        fake.on("/api/chat", _summaries(second))
        result = await client.call_tool("chat_completion", asking(), progress_callback=on_progress)
    assert not result.is_error, text_of(result)
    parts = result.structured_content["parts"]
    assert parts > 1
    assert result.content[0].text == "The whole."
    assert f"in {parts} parts" in text_of(result)
    _, *read, combined = contents(fake)
    assert len(read) == parts
    for number in range(60):
        assert sum(f"Chapter {number}." in text for text in read) == 1
    assert all(text.startswith("Summarize this:") and text.endswith("In one sentence.") for text in contents(fake))
    assert all(f"[Part {number}]\nSummary." in combined for number in range(1, parts + 1))
    assert result.structured_content["usage"]["completion_tokens"] == parts + 2


async def test_text_that_fits_is_read_at_once() -> None:
    async with warm_ollama() as fake, client_over(fake) as client:
        fake.chat_script = [says("The whole.")]
        result = await client.call_tool("chat_completion", asking())
    assert "parts" not in result.structured_content
    assert len(contents(fake)) == 1


async def test_by_default_text_that_does_not_fit_is_an_error() -> None:
    async with warm_ollama() as fake, client_over(fake, max_num_ctx=4096) as client:
        result = await client.call_tool("chat_completion", asking(overflow="error"))
    assert result.is_error
    assert result.meta["ollama-mcp/error"]["type"] == "ContextLengthExceeded"


async def test_a_part_that_the_engine_finds_too_long_is_halved() -> None:
    refused = failure(400, "the prompt is longer than the context length of the model")
    async with warm_ollama() as fake, client_over(fake) as client:
        fake.chat_script = [refused, refused, says("a"), says("b"), says("c"), says("The whole.")]
        result = await client.call_tool("chat_completion", asking())
    assert result.structured_content["parts"] == 3
    assert result.content[0].text == "The whole."


async def test_answers_that_do_not_fit_together_are_combined_in_steps() -> None:
    refused = failure(400, "the prompt is longer than the context length of the model")
    async with warm_ollama() as fake, client_over(fake) as client:
        read = [says(word) for word in ("a", "b", "c", "d")]
        fake.chat_script = [refused, refused, refused, *read, refused]
        fake.chat_script += [says("a and b"), says("c and d"), says("The whole.")]
        result = await client.call_tool("chat_completion", asking())
    assert not result.is_error, text_of(result)
    assert result.content[0].text == "The whole."
    assert "[Part 1]\na and b\n\n[Part 2]\nc and d" in contents(fake)[-1]


async def test_text_that_an_old_server_cuts_in_silence_is_read_in_parts_too() -> None:
    async with warm_ollama(cuts_silently=True) as fake, client_over(fake, max_num_ctx=4096) as client:
        fake.chat_script = [says("of a part", prompt=2000), says("a", prompt=4000), says("b", prompt=2500)]
        fake.chat_script += [says("The whole.")]
        result = await client.call_tool("chat_completion", asking())
    assert result.content[0].text == "The whole."
    assert result.structured_content["parts"] == 2


async def test_parts_whose_answers_are_cut_are_told() -> None:
    refused = failure(400, "the prompt is longer than the context length of the model")
    async with warm_ollama() as fake, client_over(fake) as client:
        fake.chat_script = [refused, says("a", reason="length"), says("b"), says("The whole.")]
        result = await client.call_tool("chat_completion", asking())
    assert "1 were cut off at max_tokens" in text_of(result)


async def test_the_combined_answer_is_checked_and_the_parts_are_not() -> None:
    schema = {"type": "object", "required": ["summary"]}
    form = {"type": "json_schema", "json_schema": {"schema": schema}}
    refused = failure(400, "the prompt is longer than the context length of the model")
    async with warm_ollama() as fake, client_over(fake) as client:
        fake.chat_script = [refused, says("{}"), says("{}"), says("{}"), says('{"summary": "x"}')]
        result = await client.call_tool("chat_completion", asking(response_format=form))
    assert result.structured_content["checks"]["tries"] == 2
    assert result.structured_content["parts"] == 2


async def test_what_stands_beside_the_long_text_goes_with_each_part() -> None:
    messages = [
        {"role": "system", "content": "You are terse."},
        {"role": "user", "content": [{"type": "text", "text": "What is in it?"}, {"type": "text", "text": TEXT}]},
    ]
    async with warm_ollama() as fake, client_over(fake, max_num_ctx=4096) as client:
        fake.on("/api/chat", _summaries())
        result = await client.call_tool(
            "chat_completion", {"model": "llama3.2", "messages": messages, "overflow": "map_reduce"}
        )
    assert not result.is_error, text_of(result)
    for sent in fake.sent("/api/chat"):
        assert sent["messages"][0]["content"] == "You are terse."
        assert sent["messages"][1]["content"].startswith("What is in it?")


async def test_no_room_beside_the_rest_of_the_conversation_is_an_error_that_says_so() -> None:
    messages = [{"role": "system", "content": "word " * 2300}, {"role": "user", "content": TEXT}]
    async with warm_ollama() as fake, client_over(fake, max_num_ctx=4096) as client:
        result = await client.call_tool(
            "chat_completion", {"model": "llama3.2", "messages": messages, "overflow": "map_reduce"}
        )
    assert result.is_error
    assert "no room" in text_of(result)


@pytest.mark.parametrize("size", [20, 50, 333, 5000])
async def test_splitting_loses_nothing_and_keeps_to_the_size(size: int) -> None:
    text = f"{PARAGRAPH * 3}\n\n{PARAGRAPH}\n{'x' * 120}\n\n第一句。第二句。第三句。" + "字" * 60
    pieces = split(text, size)
    assert max(map(len, pieces)) <= size
    assert "".join("".join(pieces).split()) == "".join(text.split())


async def test_text_is_split_at_paragraphs_then_sentences() -> None:
    assert split("One two.\n\nThree four.", 12) == ["One two.", "Three four."]
    assert split("One two. Three four.", 14) == ["One two.", "Three four."]


def _summaries(second: Gate | None = None):
    """Answers of an Ollama with room for 4096 words; the second part waits for the gate."""

    async def respond(exchange) -> None:
        messages = exchange.request.body["messages"]
        asked, words = messages[-1]["content"], sum(len(message["content"].split()) for message in messages)
        if words > 4096:
            said = f"request ({words} tokens) exceeds the available context size (4096 tokens), try increasing it"
            await exchange.error(400, said)
            return
        if second is not None and "[Part 2 of" in asked:
            await second.wait()
        await says("The whole." if "Combine it" in asked else "Summary.", prompt=words)(exchange)

    return respond
