"""The smallest guest, in Python: a number, one command and one query.

    {"add":{"by":5}}   ->  {"value":5}
    {"get":{}}         ->  {"value":5}

The state is in the module's memory, as in any Python program. It can be replicated because `apply` is a function of the
state and the command alone: no clock, no `random`, no iteration order of a `set`.
"""

from messages import Refusal, only_field, integer

MIN, MAX = -(2**63), 2**63 - 1


class Counter:
    """The state and its commands."""

    def __init__(self) -> None:
        self.value = 0

    def apply(self, command: object) -> object:
        """Executes one command and returns its reply. A refused command changes nothing."""
        _, content = only_field(command, "command", {"add": ["by"]})
        by = integer(content["by"], "by")
        if not MIN <= self.value + by <= MAX:
            message = f"{self.value} + {by} does not fit into 64 bits; the value did not change"
            raise Refusal("overflow", message, "by")
        self.value += by
        return {"value": self.value}

    def query(self, query: object) -> object:
        """Evaluates a query. Changes nothing."""
        only_field(query, "query", {"get": []})
        return {"value": self.value}

    def write(self) -> bytes:
        """The state as bytes, for a snapshot."""
        return self.value.to_bytes(8, "little", signed=True)

    def read(self, state: bytes) -> None:
        """Replaces the state with the bytes of `write`."""
        if len(state) != 8:
            raise ValueError(f"the state of a counter has 8 bytes, the snapshot has {len(state)}")
        self.value = int.from_bytes(state, "little", signed=True)
