"""What the command line tells a script by its exit code, for each kind of error."""

import sys

from ollama_mcp import errors

USAGE = 2
UNREACHABLE = 3

_BY_ERROR: dict[type[errors.ServiceError], int] = {
    errors.EngineUnavailable: UNREACHABLE,
    errors.EngineTimeout: 4,
    errors.InvalidRequest: 5,
    errors.ModelNotFound: 5,
    errors.EngineRejected: 5,
    errors.EngineFailed: 5,
    errors.MalformedAnswer: 6,
    errors.GenerationBroken: 6,
    errors.EngineBusy: 7,
}


def exit_code(error: errors.ServiceError) -> int:
    """The exit code for an error."""
    return _of_class(type(error))


def exit_code_of_name(name: str) -> int:
    """The exit code for the name of an error's class, as a tool's result carries it."""
    return _of_class(getattr(errors, name, errors.ServiceError))


def _of_class(kind: type[errors.ServiceError]) -> int:
    return next((_BY_ERROR[base] for base in kind.__mro__ if base in _BY_ERROR), 1)


def complain(text: str) -> None:
    """One line to stderr."""
    print(f"ollama-mcp: {text}", file=sys.stderr)
