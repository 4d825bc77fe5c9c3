"""Named counters.

    {"add":{"name":"apples","by":5}}   ->  {"value":5}
    {"get":{"name":"apples"}}          ->  {"value":5}

The state is in the module's memory, as in any Python program. It can be replicated because `apply` is a function of the
state and the command alone: no clock but `cx.time_ms`, no `random`, no iteration order of a `set`. `oarlock.py` describes
what else `cx` can do: events, timers, replies that come later.
"""

import json

from fields import integer, message, text
from oarlock import Refusal

# A state that only grows reaches the memory limit of the host.
MAX_COUNTERS = 100_000

MIN, MAX = -(2**63), 2**63 - 1


class StateMachine:
    """The state and its commands."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}

    def apply(self, cx, command: object) -> object:
        """Executes one command and returns its reply."""
        _, content = message(command, "command", {"add": ["name", "by"]})
        name = text(content["name"], "name")
        by = integer(content["by"], "by")
        # Check first, change after: a refused command must not change the state.
        if name not in self.values and len(self.values) >= MAX_COUNTERS:
            raise Refusal("full", "there are too many counters", "name")
        value = self.values.get(name, 0) + by
        if not MIN <= value <= MAX:
            raise Refusal("overflow", "the sum is too large", "by")
        self.values[name] = value
        return {"value": value}

    def query(self, cx, query: object) -> object:
        """Evaluates a query. Changes nothing."""
        _, content = message(query, "query", {"get": ["name"]})
        name = text(content["name"], "name", "query")
        return {"value": self.values.get(name, 0)}

    def write(self) -> bytes:
        """The complete state as bytes, for a snapshot. Equal states must have equal bytes."""
        return json.dumps(self.values, sort_keys=True).encode()

    def read(self, written_by: int, state: bytes) -> None:
        """Replaces the state with the bytes of `write` of version `written_by` of this guest."""
        self.values = json.loads(state)


# The types of the messages, for people and for generated clients: `oarlock client`. Change it with the messages.
SCHEMA = json.dumps({
    "title": "{{name}}",
    "type": "object",
    "properties": {
        "command": {
            "type": "object",
            "properties": {
                "add": {
                    "description": "Adds to a counter. A new counter is 0.",
                    "type": "object",
                    "properties": {"name": {"type": "string"}, "by": {"type": "integer", "format": "int64"}},
                    "required": ["name", "by"],
                },
            },
        },
        "reply": {"type": "object", "properties": {"add": {"$ref": "#/$defs/Value"}}},
        "query": {
            "type": "object",
            "properties": {
                "get": {
                    "description": "The value of a counter.",
                    "type": "object",
                    "properties": {"name": {"type": "string"}},
                    "required": ["name"],
                },
            },
        },
        "response": {"type": "object", "properties": {"get": {"$ref": "#/$defs/Value"}}},
        "refusal": {
            "type": "object",
            "properties": {
                "error": {
                    "type": "object",
                    "properties": {"code": {"type": "string", "enum": ["bad_command", "bad_query", "full", "overflow"]}},
                },
            },
        },
    },
    "$defs": {
        "Value": {
            "type": "object",
            "properties": {"value": {"type": "integer", "format": "int64"}},
            "required": ["value"],
        },
    },
})
