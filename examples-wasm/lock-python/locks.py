"""The lock service of `examples-wasm/lock`, in Python, with the same commands and replies.

    {"acquire":{"lock":"orders","owner":"a","lease_ms":10000,"wait_ms":30000}}
    {"renew":{"lock":"orders","fence":1,"lease_ms":10000}}
    {"release":{"lock":"orders","fence":1}}
    {"get":{"lock":"orders"}}   (query)
"""

import json

from oarlock import Refusal

# Longest lease and longest wait, in milliseconds: a day.
MAX_MS = 24 * 60 * 60 * 1000
MAX_FENCE = 2**63 - 1
# Each command and query with its fields: the least and most that a number may be, or bytes that a name may have.
NAME = (str, 1, 200)
COMMANDS = {
    "acquire": {"lock": NAME, "owner": NAME, "lease_ms": (int, 1, MAX_MS), "wait_ms": (int, 0, MAX_MS)},
    "renew": {"lock": NAME, "fence": (int, 0, MAX_FENCE), "lease_ms": (int, 1, MAX_MS)},
    "release": {"lock": NAME, "fence": (int, 0, MAX_FENCE)},
}
QUERIES = {"get": {"lock": NAME}}


def parsed(message: object, what: str, known: dict) -> tuple[str, dict]:
    """The name and the fields of a message, all of them checked."""
    bad = f"bad_{what}"
    if not isinstance(message, dict) or len(message) != 1:
        raise Refusal(bad, f"a {what} must be an object with one key: its name")
    [(name, content)] = message.items()
    if name not in known:
        raise Refusal(bad, f"there is no {what} `{name}`; known are {', '.join(known)}", name)
    if not isinstance(content, dict):
        raise Refusal(bad, f"the content of `{name}` must be an object", name)
    for field in [*content, *known[name]]:
        if field not in known[name] or field not in content:
            raise Refusal(bad, f"the fields of `{name}` are {', '.join(known[name])}", field)
    for field, (kind, least, most) in known[name].items():
        value = content[field]
        if type(value) is not kind:
            raise Refusal(bad, f"`{field}` must be {'a text' if kind is str else 'an integer'}", field)
        size = len(value.encode()) if kind is str else value
        if not least <= size <= most:
            unit = "bytes" if kind is str else "as its value"
            raise Refusal("out_of_range", f"`{field}` must have {least} to {most} {unit}, not {size}", field)
    return name, content


class Locks:
    """The state and its commands."""

    def __init__(self) -> None:
        # By name: owner, fence, until_ms, and the queue of those who wait: [token, owner, lease_ms].
        self.held: dict[str, dict] = {}
        # The lock for which a deferred `acquire` waits.
        self.waiting: dict[int, str] = {}
        self.last_fence = 0

    def apply(self, cx, command: object) -> object:
        name, fields = parsed(command, "command", COMMANDS)
        lock = fields["lock"]
        match name:
            case "acquire":
                return self.acquire(cx, lock, fields["owner"], fields["lease_ms"], fields["wait_ms"])
            case "renew":
                return self.extend(cx, lock, self.held_with(cx, lock, fields["fence"]), fields["lease_ms"])
            case _:
                self.held_with(cx, lock, fields["fence"])
                self.pass_on(cx, lock)
                return {"released": {}}

    def query(self, cx, query: object) -> object:
        _, fields = parsed(query, "query", QUERIES)
        held = self.held.get(fields["lock"])
        if held is None:
            return {"lease": None, "waiting": 0}
        return {"lease": {name: held[name] for name in ("owner", "fence", "until_ms")}, "waiting": len(held["queue"])}

    def on_timer(self, cx, lock: str) -> None:
        """The lease of a lock has ended."""
        self.pass_on(cx, lock)

    def on_deadline(self, cx, token: int) -> None:
        """An `acquire` has waited long enough."""
        held = self.held.get(self.waiting.pop(token, ""))
        if held is not None:
            held["queue"] = [waiter for waiter in held["queue"] if waiter[0] != token]

    def acquire(self, cx, lock: str, owner: str, lease_ms: int, wait_ms: int) -> object:
        held = self.held.get(lock)
        if held is None:
            if cx.memory_is_low():
                raise Refusal("memory_is_low", "the memory is low; release locks first")
            held = {"owner": owner, "fence": self.last_fence + 1, "until_ms": 0, "queue": []}
            reply = self.extend(cx, lock, held, lease_ms)
            self.held[lock], self.last_fence = held, held["fence"]
            return reply
        if held["owner"] == owner and cx.time_ms < held["until_ms"]:
            return self.extend(cx, lock, held, lease_ms)
        if wait_ms > 0:
            token = cx.defer(cx.time_ms + wait_ms)
            held["queue"].append([token, owner, lease_ms])
            self.waiting[token] = lock
        # The reply now, or at the deadline.
        return {"timed_out": {}}

    def held_with(self, cx, lock: str, fence: int) -> dict:
        """The lock with this fence, if its lease has not ended."""
        held = self.held.get(lock)
        if held is None or held["fence"] != fence or cx.time_ms >= held["until_ms"]:
            raise Refusal("not_held", f"`{lock}` is not held with the fence {fence}; acquire it again", "fence")
        return held

    def extend(self, cx, lock: str, held: dict, lease_ms: int) -> object:
        """Begins or extends a lease. Its timer has the name of the lock."""
        until_ms = cx.time_ms + lease_ms
        cx.set_timer(lock, until_ms)
        held["until_ms"] = until_ms
        return {"granted": {"fence": held["fence"], "until_ms": until_ms}}

    def pass_on(self, cx, lock: str) -> None:
        """Gives the lock to the first who waits. Without one, removes it."""
        cx.cancel_timer(lock)
        held = self.held.pop(lock, None)
        if held is None or not held["queue"]:
            return
        token, owner, lease_ms = held["queue"].pop(0)
        del self.waiting[token]
        self.last_fence += 1
        held |= {"owner": owner, "fence": self.last_fence}
        cx.complete(token, self.extend(cx, lock, held, lease_ms))
        self.held[lock] = held

    def write(self) -> bytes:
        """The state as bytes, for a snapshot. Sorted, so that they do not depend on the order of the commands."""
        return json.dumps([self.held, self.last_fence], sort_keys=True).encode()

    def read(self, written_by: int, state: bytes) -> None:
        """Replaces the state with the bytes of `write`."""
        self.held, self.last_fence = json.loads(state)
        waiting = [(token, lock) for lock, held in self.held.items() for token, _, _ in held["queue"]]
        self.waiting = dict(waiting)
