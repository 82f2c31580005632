"""The tools, made of the endpoint table: what each takes and gives as JSON Schemas, and the call that its arguments mean."""

from collections.abc import Mapping
from typing import Any

import msgspec
from attrs import frozen

from zart.http import wire
from zart.http.endpoints import ENDPOINTS, Access, AnyJson, Endpoint, Tool
from zart.http.operations import Call, Reply
from zart.http.refusals import Refusal
from zart.http.schemas import described

LONGEST_WAIT = 50.0
"""Seconds that one call waits: agents' programs give calls up after a minute. It may always wait again."""
PAYLOAD, KEY = "data", "event_id"
"""How agents call an event's payload and id, which stand in the body and in a header over HTTP."""


@frozen
class AgentTool:
    """One tool of agents: an endpoint, and how it is shown to them."""

    endpoint: Endpoint
    tool: Tool

    @property
    def name(self) -> str:
        """Its name."""
        return self.tool.name

    @property
    def writes(self) -> bool:
        """Whether it changes something, and so needs the operator's scope."""
        return self.endpoint.access is Access.OPERATOR

    def takes(self) -> dict[str, Any]:
        """Return the JSON Schema of its arguments."""
        endpoint = self.endpoint
        properties: dict[str, Any] = {name: msgspec.json.schema(wire.Name) for name in endpoint.parameters}
        required = list(endpoint.parameters)
        for declared in self._declared():
            schema = described(declared)
            properties |= schema["properties"]
            required += schema.get("required", ())
        if endpoint.body is AnyJson:
            properties[PAYLOAD] = {"description": "The payload: any JSON value.", "default": None}
        if endpoint.event_key:
            properties[KEY] = {
                **msgspec.json.schema(wire.Name),
                "description": "The event's own id: sent twice, it is one event.",
            }
        if endpoint.name == "wait":
            properties["timeout"] = {**properties["timeout"], "maximum": LONGEST_WAIT, "description": "Seconds."}
        for name in self.tool.hidden:
            del properties[name]
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}

    def gives(self) -> dict[str, Any]:
        """Return the JSON Schema of its answer."""
        answer = next(kind for kind, _ in self.endpoint.results.values() if kind is not None)
        _, components = msgspec.json.schema_components([answer], ref_template="#/$defs/{name}")
        for schema in components.values():
            for name in self.tool.left_out:
                schema.get("properties", {}).pop(name, None)
            schema["required"] = [name for name in schema.get("required", ()) if name not in self.tool.left_out]
        return {**components.pop(answer.__name__), "$defs": components}

    def call(self, arguments: Mapping[str, Any]) -> Call:
        """Return the call that arguments mean.

        Raises:
            Refusal: (invalid_request) they are not as declared.
        """
        given = dict(arguments)
        hidden = [name for name in self.tool.hidden if name in given]
        if hidden:
            raise Refusal("invalid_request", f"there is no argument {hidden[0]!r}", "leave it out")
        path = {name: self._named(given, name) for name in self.endpoint.parameters}
        key = self._named(given, KEY) if self.endpoint.event_key and given.get(KEY) is not None else None
        given.pop(KEY if self.endpoint.event_key else "", None)
        body: Any = given.pop(PAYLOAD, None) if self.endpoint.body is AnyJson else None
        query: Any = wire.Nothing()
        parts = self._declared()
        for declared in parts:
            known = {field.encode_name for field in msgspec.structs.fields(declared)}
            # What belongs to neither goes to the last, whose error then names it.
            part = {name: given.pop(name) for name in list(given) if name in known or declared is parts[-1]}
            try:
                value = msgspec.convert(part, declared)
            except msgspec.ValidationError as error:
                raise Refusal("invalid_request", f"the arguments are wrong: {error}", "see the tool's schema") from None
            if declared is self.endpoint.query:
                query = value
            else:
                body = value
        if isinstance(query, wire.WaitQuery):
            query.timeout = min(query.timeout, LONGEST_WAIT)
        return Call(path=path, query=query, body=body, event_key=key)

    def shown(self, reply: Reply) -> dict[str, Any]:
        """Return what an agent is shown of an answer."""
        found: dict[str, Any] = msgspec.to_builtins(reply.answer)
        return _without(found, self.tool.left_out)

    def _declared(self) -> list[type[wire.Request]]:
        body = self.endpoint.body
        return [self.endpoint.query, *([body] if isinstance(body, type) and issubclass(body, wire.Request) else [])]

    def _named(self, given: dict[str, Any], name: str) -> str:
        value = given.pop(name, None)
        if not isinstance(value, str):
            raise Refusal("invalid_request", f"the argument {name!r} must be text, not {value!r:.80}", "see the tool's schema")
        return value


def _without(found: dict[str, Any], left_out: tuple[str, ...]) -> dict[str, Any]:
    shown = {name: value for name, value in found.items() if name not in left_out}
    for name, value in shown.items():
        if name == "executions":
            shown[name] = [_without(each, left_out) for each in value]
    return shown


TOOLS: Mapping[str, AgentTool] = {tool.name: AgentTool(endpoint, tool) for endpoint in ENDPOINTS for tool in endpoint.tools}
"""All tools by name."""
