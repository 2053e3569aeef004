"""`ollama-mcp chat`: an MCP client of this project's own server, in one process with it."""

import concurrent.futures
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import Client
from mcp.types import CallToolResult, TextContent

from ollama_mcp import logs
from ollama_mcp.exit_codes import UNREACHABLE, complain, exit_code_of_name
from ollama_mcp.serve import build_server, build_service
from ollama_mcp.settings import Settings
from ollama_mcp.tools.base import ERROR_META

INTERRUPTED = 130
ENDED_EARLY = 6

Conversation = list[dict[str, Any]]


def chat(
    settings: Settings, prompt: str | None, *, files: Sequence[str] = (), system: str | None, stream: bool
) -> int:
    """Answer one prompt, or hold a conversation, about files if there are any; the exit code."""
    paths = [_found(name, settings.allow_dirs) for name in files]
    # By naming a file the person has opened it; the only client here asks for no others.
    settings = replace(settings, allow_dirs=(*settings.allow_dirs, *(path.parent for path in paths)))
    logs.configure(settings.log_level, settings.log_format)
    piped = "" if sys.stdin.isatty() else sys.stdin.read()
    question = "\n\n".join(part for part in (prompt, piped.strip()) if part)
    if not question and not sys.stdin.isatty():
        complain('there is no prompt: give one as an argument, as in ollama-mcp chat "Why is the sky blue?"')
        return 2
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(_connected(settings)) as client:
        asker = _Asker(portal, client, files=list(map(str, paths)), system=system, stream=stream)
        try:
            if question:
                return asker.ask([{"role": "user", "content": question}])
            return _converse(asker, settings)
        except BrokenPipeError as error:
            unread = error  # raised below, since in here it would become one of a group
    raise unread


def _found(name: str, directories: Sequence[Path]) -> Path:
    """The real path of a file in the working directory, or else in one of the open directories."""
    here = Path.cwd()
    return next((path for at in (here, *directories) if (path := at / name).exists()), here / name).resolve()


@asynccontextmanager
async def _connected(settings: Settings) -> AsyncGenerator[Client]:
    # A person who watches the text come needs no deadline, and Ctrl-C is at hand.
    settings = replace(settings, soft_deadline=0)
    async with build_service(settings) as service, Client(build_server(service, serving_http=False)) as client:
        yield client


def _converse(asker: "_Asker", settings: Settings) -> int:
    with suppress(ImportError):
        import readline  # noqa: F401 - gives `input` its history and editing

    complain("Ctrl-C stops an answer, Ctrl-D leaves.")
    conversation: Conversation = []
    while True:
        try:
            question = input("> ").strip()
        except EOFError:
            print()
            return 0
        except KeyboardInterrupt:
            print()
            continue
        if not question:
            continue
        conversation.append({"role": "user", "content": question})
        code = asker.ask(conversation)
        if asker.said:
            conversation.append({"role": "assistant", "content": asker.said})
        else:
            conversation.pop()
        if code == UNREACHABLE and not asker.answered:
            return code


class _Asker:
    """Asks over MCP and prints the answer as it comes; the rest of what there is to say goes to stderr."""

    def __init__(
        self, portal: BlockingPortal, client: Client, *, files: list[str], system: str | None, stream: bool
    ) -> None:
        self._portal = portal
        self._client = client
        self._files = files
        self._system = system
        self._stream = stream
        self._model: str | None = None
        self._waiting = False
        self._stop: Callable[[], object] = lambda: None
        self.said = ""
        self.answered = False

    def ask(self, messages: Conversation) -> int:
        """Print the answer to a conversation; the exit code. `said` is what the model said."""
        arguments: dict[str, Any] = {"messages": messages}
        if self._files:
            arguments["files"] = self._files
        if self._system is not None:
            arguments["system"] = self._system
        if self._model is not None:
            arguments["model"] = self._model
        self.said = ""
        future: concurrent.futures.Future[CallToolResult] = self._portal.start_task_soon(self._call, arguments)
        self._stop = future.cancel
        try:
            result = future.result()
        except concurrent.futures.CancelledError:
            raise BrokenPipeError from None
        except KeyboardInterrupt:
            future.cancel()
            self._clear_waiting()
            if self.said:
                print(flush=True)
            complain("stopped")
            return INTERRUPTED
        self._clear_waiting()
        return self._finish(result)

    async def _call(self, arguments: dict[str, Any]) -> CallToolResult:
        result = await self._client.call_tool("chat_completion", arguments, progress_callback=self._show)
        if not isinstance(result, CallToolResult):
            raise TypeError(f"chat_completion asked back: {type(result).__name__}")
        return result

    async def _show(self, progress: float, total: float | None, message: str | None) -> None:
        text = message or ""
        if len(self.said) + len(text) != progress:  # a heartbeat: the number did not grow by the text
            if sys.stderr.isatty():
                print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
                self._waiting = True
            return
        self.said += text
        if self._stream:
            self._clear_waiting()
            try:
                print(text, end="", flush=True)
            except BrokenPipeError:  # nobody reads the answer, so it need not be made
                self._stop()

    def _clear_waiting(self) -> None:
        if self._waiting:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._waiting = False

    def _finish(self, result: CallToolResult) -> int:
        texts = [block.text for block in result.content if isinstance(block, TextContent)]
        if result.is_error:
            if self.said and self._stream:
                print(flush=True)
            complain(texts[0].partition("\n\n")[0] if texts else "the call failed")
            return exit_code_of_name(((result.meta or {}).get(ERROR_META) or {}).get("type", ""))
        answer: dict[str, Any] = result.structured_content or {}
        content = answer.get("content", "")
        print(content[len(self.said) :] if self._stream else content, flush=True)
        self.said, self._model, self.answered = content, answer.get("model"), True
        for warning in answer.get("warnings", []):
            complain(warning)
        print(_summary(answer), file=sys.stderr)
        return ENDED_EARLY if answer.get("finish_reason") == "deadline" else 0


def _summary(answer: dict[str, Any]) -> str:
    usage, timings = answer.get("usage") or {}, answer.get("timings") or {}
    parts = [
        str(answer.get("model")),
        f"{usage.get('prompt_tokens', 0)} + {usage.get('completion_tokens', 0)} tokens",
    ]
    if rate := timings.get("tokens_per_second"):
        parts.append(f"{rate:.1f} tokens/s")
    return f"[{', '.join(parts)}]"
