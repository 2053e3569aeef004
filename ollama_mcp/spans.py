"""OpenTelemetry spans of requests to models, named as its conventions for generative AI have it.

Only the API is used: without an SDK that somebody configured, such as by `opentelemetry-instrument`, nothing is
recorded and nothing leaves this process.
"""

import time
from collections.abc import Callable

from opentelemetry.trace import SpanKind, StatusCode, get_tracer

from ollama_mcp import __version__
from ollama_mcp.observation import Observed, Observer
from ollama_mcp.settings import EngineName


def spans_of(engine: EngineName) -> Observer:
    """An observer that makes a span of each request, within the span that is open when it begins."""
    tracer = get_tracer("ollama-mcp", __version__)

    def observe(seen: Observed) -> Callable[[], None]:
        began = time.time_ns()
        span = tracer.start_span(seen.operation, kind=SpanKind.CLIENT, start_time=began)

        def end() -> None:
            if span.is_recording():
                if seen.model is not None:
                    span.update_name(f"{seen.operation} {seen.model}")
                    span.set_attribute("gen_ai.request.model", seen.model)
                span.set_attribute("gen_ai.operation.name", seen.operation)
                span.set_attribute("gen_ai.provider.name", engine)
                if seen.usage is not None:
                    span.set_attribute("gen_ai.usage.input_tokens", seen.usage.prompt_tokens)
                    span.set_attribute("gen_ai.usage.output_tokens", seen.usage.completion_tokens)
                for name, seconds in (("admitted", seen.queued), ("first_token", seen.first_token)):
                    if seconds is not None:
                        span.add_event(name, timestamp=began + round(seconds * 1e9))
                if seen.error is not None:
                    span.set_attribute("error.type", seen.error)
                    span.set_status(StatusCode.ERROR)
            span.end()

        return end

    return observe
