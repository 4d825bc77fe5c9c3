"""Named counters.

    {"add":{"name":"apples","by":5}}   ->  {"value":5}
    {"get":{"name":"apples"}}          ->  {"value":5}

The state is in the module's memory, as in any Python program. It can be replicated because `apply` is a function of the
state and the command alone: no clock but `at.time_ms`, no `random`, no iteration order of a `set`.
"""

import json

from messages import Refusal, integer, only_field, string

# A state that only grows reaches the memory limit of the host.
MAX_COUNTERS = 100_000

MIN, MAX = -(2**63), 2**63 - 1


class StateMachine:
    """The state and its commands."""

    # When the state changes, raise the version, and convert the state of older versions in `read`. Then `oarlock upgrade`
    # replaces the module while the cluster serves clients.
    name = "{{name}}"
    version = 1

    def __init__(self) -> None:
        self.values: dict[str, int] = {}

    def apply(self, at, command: object) -> object:
        """Executes one command and returns its reply. `at` has `index` and `time_ms` of the log entry."""
        _, content = only_field(command, "command", {"add": ["name", "by"]})
        name = string(content["name"], "name")
        by = integer(content["by"], "by")
        # Check first, change after: a refused command must not change the state.
        if name not in self.values and len(self.values) >= MAX_COUNTERS:
            raise Refusal("full", "there are too many counters", "name")
        value = self.values.get(name, 0) + by
        if not MIN <= value <= MAX:
            raise Refusal("overflow", "the sum is too large", "by")
        self.values[name] = value
        return {"value": value}

    def query(self, at, query: object) -> object:
        """Evaluates a query. Changes nothing."""
        _, content = only_field(query, "query", {"get": ["name"]})
        name = string(content["name"], "name", "query")
        return {"value": self.values.get(name, 0)}

    def wake(self, at) -> None:
        """Called when the time of `host.wake_at` has passed. These counters never request that."""

    def write(self) -> bytes:
        """The complete state as bytes, for a snapshot. Equal states must have equal bytes."""
        return json.dumps(self.values, sort_keys=True).encode()

    def read(self, written_by: int, state: bytes) -> None:
        """Replaces the state with the bytes of `write`. Version `written_by` of this guest wrote them."""
        if written_by > self.version:
            raise ValueError(f"version {written_by} wrote the state, this is version {self.version}")
        self.values = json.loads(state)
