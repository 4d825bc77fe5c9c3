"""The smallest guest, in Python: a number, one command and one query.

    {"add":{"by":5}}   ->  {"value":5}
    {"get":{}}         ->  {"value":5}

The state is in the module's memory, as in any Python program. What makes it a replicated one is that `apply` is a
function of the state and the command alone: no clock, no `random`, no order of a `set`.
"""

from messages import Refusal, only_field, whole_number

MIN, MAX = -(2**63), 2**63 - 1


class Counter:
    """The state, and what changes it."""

    def __init__(self) -> None:
        self.value = 0

    def apply(self, command: object) -> object:
        """Carries out one command and gives its reply. A command that is refused has changed nothing."""
        _, content = only_field(command, "command", {"add": ["by"]})
        by = whole_number(content["by"], "by")
        if not MIN <= self.value + by <= MAX:
            message = f"{self.value} and {by} make more than 64 bits hold; the value stays"
            raise Refusal("overflow", message, "by")
        self.value += by
        return {"value": self.value}

    def query(self, question: object) -> object:
        """Answers a question, and changes nothing."""
        only_field(question, "query", {"get": []})
        return {"value": self.value}

    def write(self) -> bytes:
        """The state as bytes: what a snapshot holds."""
        return self.value.to_bytes(8, "little", signed=True)

    def read(self, state: bytes) -> None:
        """Replaces the state by what `write` gave."""
        if len(state) != 8:
            raise ValueError(f"the state of a counter has 8 bytes, and these are {len(state)}")
        self.value = int.from_bytes(state, "little", signed=True)
