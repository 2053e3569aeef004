"""A tool call that must happen: Ollama has no `tool_choice`, so the answer's form is bound to that of a call."""

from typing import Any

import orjson

from ollama_mcp.chat import ChatRequest, FunctionCall, NamedToolChoice, ToolCall, ToolDefinition


def forced_tools(request: ChatRequest) -> list[ToolDefinition]:
    """The tools of which one must be called; none if the model is free."""
    tools = request.tools or []
    choice = request.tool_choice
    if isinstance(choice, NamedToolChoice):
        return [tool for tool in tools if tool.function.name == choice.function.name]
    return tools if choice == "required" else []


def call_schema(tools: list[ToolDefinition]) -> dict[str, Any]:
    """A JSON schema for a call of one of the tools."""
    if len(tools) == 1:
        return _one_call(tools[0], "#")
    # Named, since llama.cpp follows no reference through a list.
    calls = {f"call_{index}": _one_call(tool, f"#/$defs/call_{index}") for index, tool in enumerate(tools)}
    return {"anyOf": [{"$ref": f"#/$defs/{name}"} for name in calls], "$defs": calls}


def _one_call(tool: ToolDefinition, place: str) -> dict[str, Any]:
    arguments = _moved(tool.function.parameters or {}, f"{place}/properties/arguments")
    return {
        "type": "object",
        "properties": {"name": {"enum": [tool.function.name]}, "arguments": {"type": "object"} | arguments},
        "required": ["name", "arguments"],
    }


def _moved(schema: Any, place: str) -> Any:
    """The schema with its references pointing into itself at its new place."""
    if isinstance(schema, list):
        return [_moved(item, place) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: place + value[1:]
        if key == "$ref" and isinstance(value, str) and value.startswith("#")
        else _moved(value, place)
        for key, value in schema.items()
    }


def instruction(tools: list[ToolDefinition]) -> str:
    """What tells the model about the tools, since they are not sent as such."""
    described = [tool.function.model_dump(exclude_none=True, exclude={"strict"}) for tool in tools]
    listed = "\n".join(orjson.dumps(tool).decode() for tool in described)
    return (
        "Call exactly one of these functions. Answer with nothing but the call, as a JSON object "
        f'{{"name": <name of the function>, "arguments": <object with its arguments>}}.\n{listed}'
    )


def read_call(text: str, tools: list[ToolDefinition], new_id: str) -> ToolCall | None:
    """The call in a model's answer; None if there is none."""
    try:
        call = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(call, dict) or not isinstance(call.get("arguments"), dict):
        return None
    name = call.get("name")
    if not isinstance(name, str) or name not in {tool.function.name for tool in tools}:
        return None
    try:
        arguments = orjson.dumps(call["arguments"]).decode()
    except orjson.JSONEncodeError:  # it reads a thousand levels and writes 254
        return None
    return ToolCall(id=new_id, function=FunctionCall(name=name, arguments=arguments))
