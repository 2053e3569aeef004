"""The console command: parsing only. What a command needs is imported once it is known which."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from ollama_mcp import __version__
from ollama_mcp.errors import ConfigurationError

EXIT_CODES = """exit codes:
  0  done                                4  the engine was silent for too long
  1  an error of ollama-mcp itself       5  the engine refused (no such model, bad request)
  2  wrong arguments or settings         6  the answer broke off, or makes no sense
  3  the engine cannot be reached        7  the engine is busy
  130  stopped by Ctrl-C"""

SETTING_FLAGS = (
    "engine",
    "ollama_host",
    "model_file",
    "base_url",
    "default_model",
    "num_ctx",
    "soft_deadline",
    "state_dir",
    "protocol",
    "allow_dirs",
    "allow_pull",
    "allow_delete",
    "host",
    "port",
    "log_level",
)


class _Parser(argparse.ArgumentParser):
    """Errors in one line, without the usage before them."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    # Absent rather than None where not given, so that a flag before the command outlives the command's own.
    common = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    engine = common.add_argument_group("engine")
    engine.add_argument("--engine", choices=("ollama", "embedded", "openai"), help="what runs the models (ollama)")
    engine.add_argument("--ollama-host", metavar="URL", help="where Ollama is (OLLAMA_HOST, else 127.0.0.1:11434)")
    engine.add_argument("--model-file", metavar="X.gguf", help="the model of the embedded engine (SmolLM2 135M)")
    engine.add_argument("--base-url", metavar="URL", help="the OpenAI-compatible server of the engine openai")
    engine.add_argument("--num-ctx", metavar="N", help="a fixed context length in tokens, instead of a growing one")
    common.add_argument("--log-level", metavar="LEVEL", help="debug, info, warning or error, to stderr (warning)")
    common.add_argument("--version", action="version", version=f"ollama-mcp {__version__}")

    serving = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    serving.add_argument("--default-model", metavar="M", help="the model for calls that name none")
    serving.add_argument(
        "--soft-deadline", metavar="S", help="seconds after which a call returns what it has (50; 0 is never)"
    )
    serving.add_argument("--state-dir", metavar="DIR", help="keep jobs and their answers here across restarts")

    serving.add_argument(
        "--allow-dir", action="append", dest="allow_dirs", metavar="DIR", help="let tools read its files; repeatable"
    )
    serving.add_argument("--allow-pull", action="store_true", help="let clients download models")
    serving.add_argument("--allow-delete", action="store_true", help="let clients delete models")

    wire = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    wire.add_argument(
        "--protocol", metavar="P", help="auto, or legacy for clients that mix the eras of MCP (error -32022)"
    )

    parser = _Parser(
        prog="ollama-mcp",
        parents=[common, serving, wire],
        description="Local models in any MCP client, and as an OpenAI-compatible API. Without a command: stdio.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)

    def command(name: str, text: str, *parents: _Parser) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, parents=[common, *parents])

    command("stdio", "Serve MCP over stdin and stdout.", serving, wire)
    http = command("http", "Serve MCP at /mcp and the OpenAI-compatible API at /v1.", serving)
    http.add_argument("--host", help="the address to listen on (127.0.0.1)")
    http.add_argument("--port", help="the port to listen on (4891)")

    chat = command("chat", "Ask a model; without a prompt on a terminal, hold a conversation.")
    chat.add_argument("prompt", nargs="?", help="the question; what is piped in is added to it")
    chat.add_argument(
        "--model",
        dest="default_model",
        default=argparse.SUPPRESS,
        metavar="M",
        help="the model (the first one there is)",
    )
    chat.add_argument("--file", action="append", dest="files", metavar="F", help="a file to read along; repeatable")
    chat.add_argument(
        "--allow-dir",
        action="append",
        dest="allow_dirs",
        metavar="DIR",
        default=argparse.SUPPRESS,
        help="where to look for files; repeatable",
    )
    chat.add_argument("--system", metavar="S", help="instructions for the model")
    chat.add_argument("--no-stream", action="store_true", help="print the answer when it is whole")

    models = command("models", "List the installed models.")
    health = command("health", "See whether the engine is there; exit code 3 if not.")
    pull = command("pull", "Download a model.")
    pull.add_argument("model", help="such as llama3.2")
    for scripted in (models, health, pull):
        scripted.add_argument("--json", action="store_true", help="JSON for scripts")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    parsed = build_parser().parse_args(arguments)
    try:
        return _run(parsed)
    except ConfigurationError as error:
        print(f"ollama-mcp: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read the output has enough; what is still buffered must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0


def _run(parsed: argparse.Namespace) -> int:
    from ollama_mcp.settings import load

    flags = {name: getattr(parsed, name, None) for name in SETTING_FLAGS}
    settings = load(flags, os.environ, Path.cwd())
    match parsed.command:
        case "stdio" | None:
            from ollama_mcp.serve import serve_stdio

            return serve_stdio(settings)
        case "http":
            from ollama_mcp.serve import serve_http

            return serve_http(settings)
        case "chat":
            from ollama_mcp.client import chat

            files = parsed.files or ()
            return chat(settings, parsed.prompt, files=files, system=parsed.system, stream=not parsed.no_stream)
        case _:
            from ollama_mcp import admin

            return admin.run(parsed.command, settings, model=getattr(parsed, "model", None), as_json=parsed.json)
