"""`ollama-mcp models`, `health` and `pull`: the service on a terminal, or as JSON for scripts."""

import json
import sys
from contextlib import aclosing

import anyio

from ollama_mcp import logs
from ollama_mcp.catalog import ListedModel
from ollama_mcp.engines.base import PullProgress
from ollama_mcp.errors import GenerationBroken, ServiceError
from ollama_mcp.exit_codes import UNREACHABLE, complain, exit_code
from ollama_mcp.serve import build_service
from ollama_mcp.service import Service
from ollama_mcp.settings import Settings

BAR_WIDTH = 30
UNITS = ("B", "kB", "MB", "GB", "TB")


def run(command: str, settings: Settings, *, model: str | None, as_json: bool) -> int:
    """Run one of the commands; the exit code."""
    logs.configure(settings.log_level, settings.log_format)

    async def command_on_service() -> int:
        async with build_service(settings) as service:
            match command:
                case "models":
                    return await _models(service, as_json=as_json)
                case "health":
                    return await _health(service, as_json=as_json)
                case _:
                    return await _pull(service, model or "", as_json=as_json)

    try:
        return anyio.run(command_on_service)
    except ServiceError as error:
        complain(error.message)
        return exit_code(error)


async def _models(service: Service, *, as_json: bool) -> int:
    models = await service.models()
    if as_json:
        _print_json({"models": [model.model_dump(mode="json", exclude_none=True) for model in models]})
        return 0
    if not models:
        complain("no model is installed; get one with `ollama-mcp pull llama3.2`")
        return 0
    rows = [("NAME", "SIZE", "WEIGHTS", "QUANTIZATION", "CONTEXT", "CAPABILITIES", ""), *map(_row, models)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _row(model: ListedModel) -> tuple[str, ...]:
    return (
        model.name,
        size(model.size_bytes) if model.size_bytes is not None else "-",
        model.parameters or "-",
        model.quantization or "-",
        str(model.context_length or "-"),
        ", ".join(model.capabilities) or "-",
        "loaded" if model.loaded else "",
    )


async def _health(service: Service, *, as_json: bool) -> int:
    health = await service.health()
    if as_json:
        _print_json(health.model_dump(mode="json", exclude_none=True))
    else:
        version = f" {health.version}" if health.version else ""
        latency = f", {health.latency_ms:.0f} ms" if health.latency_ms is not None else ""
        print(f"{health.status}: {health.engine}{version} at {health.address}{latency}")
        for loaded in health.loaded_models:
            print(f"loaded: {loaded.name}")
        if health.advice:
            print(health.advice)
    return 0 if health.reachable else UNREACHABLE


async def _pull(service: Service, model: str, *, as_json: bool) -> int:
    last = PullProgress(status="")
    async with aclosing(service.pull(model)) as steps:
        async for step in steps:
            if as_json:
                _print_json(step.model_dump(mode="json", exclude_none=True))
            else:
                _show_step(step, last)
            last = step
    if not as_json and sys.stderr.isatty() and last.total:
        print(file=sys.stderr)
    if last.status != "success":
        raise GenerationBroken(f"The download of {model} stopped at {last.status!r}; run the command again to go on.")
    return 0


def _show_step(step: PullProgress, last: PullProgress) -> None:
    terminal = sys.stderr.isatty()
    if step.total and terminal:
        part = min((step.completed or 0) / step.total, 1.0)
        bar = ("█" * round(part * BAR_WIDTH)).ljust(BAR_WIDTH, "░")
        done = f"{size(step.completed or 0)} of {size(step.total)}"
        print(f"\r\x1b[K{step.status} {bar} {part:4.0%} {done}", end="", file=sys.stderr, flush=True)
    elif step.status != last.status:
        start = "\n" if terminal and last.total else ""
        print(f"{start}{step.status}", file=sys.stderr, flush=True)


def size(count: float) -> str:
    """Bytes as a person reads them, such as 4.7 GB."""
    for unit in UNITS[:-1]:
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} {UNITS[-1]}"


def _print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)
