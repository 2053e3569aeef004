"""What can go wrong, in the caller's terms; each face has one table from these to its protocol.

ServiceError
├── InvalidRequest            the request cannot be served as it stands
│   ├── ContextLengthExceeded the prompt is longer than the model's context
│   └── Unsupported           the model or the engine cannot do what was asked
├── ModelNotFound             no such model, or none at all
├── EngineUnavailable         the engine could not be reached
├── EngineBusy                the engine is full for the moment
│   └── QueueFull             so is the queue before it
├── EngineTimeout             the engine was silent for too long
├── EngineRejected            the engine did not accept our credentials or our address
├── EngineFailed              the engine answered with a failure
│   └── MalformedAnswer       with nonsense
├── ServerEnding              the server was told to end before the answer was whole
└── GenerationBroken          an answer began and did not end as it should
    └── PromptTruncated       the answer was made from a prompt the engine had cut
ConfigurationError            settings that contradict each other or cannot be read
"""

from collections.abc import Sequence


class ConfigurationError(Exception):
    """The settings cannot be used; the message is one line that says which and why."""


class ServiceError(Exception):
    """Base of everything a caller can be told; the message is one sentence that says what to do."""

    retryable = False
    """Whether the same request can succeed later without a change."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidRequest(ServiceError):
    """The request cannot be served as it stands; `param` names the field."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class ContextLengthExceeded(InvalidRequest):
    """The prompt is longer than the context; both lengths in tokens where they are known."""

    def __init__(self, message: str, *, prompt_tokens: int | None = None, context_length: int | None = None) -> None:
        super().__init__(message, param="messages")
        self.prompt_tokens = prompt_tokens
        self.context_length = context_length


class Unsupported(InvalidRequest):
    """The model or the engine cannot do what was asked."""


class ModelNotFound(ServiceError):
    """The named model is not there, or no model is; `suggestions` are close names that are."""

    def __init__(self, message: str, *, model: str | None = None, suggestions: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.model = model
        self.suggestions = tuple(suggestions)


class EngineUnavailable(ServiceError):
    """The engine could not be reached at its address."""

    retryable = True


class EngineBusy(ServiceError):
    """The engine is full for the moment; `retry_after` in seconds."""

    retryable = True

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class QueueFull(EngineBusy):
    """As many requests wait for the engine as may."""


class EngineTimeout(ServiceError):
    """The engine was silent for longer than a deadline allows; `partial` is the text until then."""

    def __init__(self, message: str, *, partial: str = "") -> None:
        super().__init__(message)
        self.partial = partial


class EngineRejected(ServiceError):
    """The engine did not accept our credentials or our address."""


class EngineFailed(ServiceError):
    """The engine answered with a failure; `status` is its HTTP status, if any."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class MalformedAnswer(EngineFailed):
    """The engine answered with nonsense, so that it may not be what it is taken for."""


class ServerEnding(ServiceError):
    """The server was told to end before the answer was whole."""

    retryable = True

    def __init__(self) -> None:
        super().__init__("The server was told to end before the answer was complete; ask again once it is back.")


class GenerationBroken(ServiceError):
    """An answer began and did not end as it should; `partial` is the text until then."""

    def __init__(self, message: str, *, partial: str = "") -> None:
        super().__init__(message)
        self.partial = partial


class PromptTruncated(GenerationBroken):
    """The engine cut the prompt without a word; `partial` is the answer it made from the rest."""
