"""Asks the person before something is changed, in the way of either era of the protocol."""

import hashlib
from typing import Any

from mcp.types import ElicitRequest, ElicitRequestFormParams, ElicitResult, InputRequiredResult

from ollama_mcp.errors import InvalidRequest, ServiceError
from ollama_mcp.tools.base import ToolContext

ASKS_BY_RESULT = "2026-07-28"
"""From this version on a server asks by a result that the client answers in a second call."""

NOTHING_TO_FILL_IN: dict[str, Any] = {"type": "object", "properties": {}}


class Declined(ServiceError):
    """The person was asked and did not agree."""


async def consent(ctx: ToolContext, question: str) -> InputRequiredResult | None:
    """None once the person agreed, or where the client cannot ask; else the result that asks; or `Declined`."""
    if not _can_ask(ctx):
        return None
    if (ctx.protocol_version or "") < ASKS_BY_RESULT:
        answer = await ctx.session.elicit_form(question, NOTHING_TO_FILL_IN, ctx.request_context.request_id)
    else:
        # Named after the question, so that no other one is taken for answered. No state goes along: the
        # second call may reach another replica of the server.
        key = "consent-" + hashlib.sha256(question.encode()).hexdigest()[:16]
        given = (ctx.input_responses or {}).get(key)
        if given is None:
            params = ElicitRequestFormParams(message=question, requested_schema=NOTHING_TO_FILL_IN)
            return InputRequiredResult(input_requests={key: ElicitRequest(params=params)})
        if not isinstance(given, ElicitResult):
            raise InvalidRequest("The question was answered with something else than an answer to it; call again.")
        answer = given
    if answer.action != "accept":
        raise Declined("The person did not agree, so nothing was changed; do not try again unless they ask for it.")
    return None


def _can_ask(ctx: ToolContext) -> bool:
    capability = ctx.client_capabilities.elicitation if ctx.client_capabilities else None
    if capability is None or (capability.form is None and capability.url is not None):
        return False
    return (ctx.protocol_version or "") >= ASKS_BY_RESULT or ctx.session.can_send_request
