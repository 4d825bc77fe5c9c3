"""A guest in Python: typed commands, timers, deferred replies, snapshots.

Copy this file next to your own. A state machine is a class with these methods; those marked * are optional:

    apply(cx, command)      executes a command and returns its reply, or raises `Refusal` and changes nothing
    query(cx, query)        evaluates a query, or raises `Refusal`; changes nothing
    write() -> bytes        the state, for a snapshot: equal bytes for equal states
    read(written_by, state) replaces the state by the bytes that `write` of that version of the guest returned; raises
                            ValueError for others. The version is 0 if it is unknown
    on_timer(cx, id)      * a timer that `cx.set_timer` set is due
    on_deadline(cx, token)* the deadline of a deferred command has passed, its reply is sent next
    on_wake(cx)           * the time that `cx.wake_at` set is reached

Commands, queries and replies are what `json.loads` returns and `json.dumps` takes. The module that componentize-py builds
exports the machine like this:

    import oarlock
    from locks import Locks

    Machine, Queries, Timers, About, Layout = oarlock.exports(Locks(), name="locks", version=1, layout="locks-python:1")

Change `layout` whenever the bytes of `write` change their meaning, and raise the version then.

Timers and deferred commands are part of the state: they are in each snapshot, and a refused command leaves none. Times are
milliseconds since 1970-01-01 UTC, as the log has them (`cx.time_ms`). `cx.caller()` is who has sent the command. The rules are those of the Rust SDK, `oarlock-guest`.
"""

import heapq
import json
import re

# Limits, as in the Rust SDK.
MAX_TIMERS = 1_000_000
MAX_ID_BYTES = 256
MAX_WAITING = 100_000
MAX_KEPT_BYTES = 16 << 20
MAX_KEPT_REPLY_BYTES = 64 << 10
FIRINGS_PER_WAKE = 256
MAX_WAKE_EFFECTS = 256
MAX_WAKE_BYTES = 256 << 10

CHUNK_BYTES = 1 << 20
MAGIC = b"OARLOCKP\x01\x00\x00\x00"

# Deepest nesting of arrays and objects. The parser of `json` recurses in C and traps if the nesting is too deep. A trap
# costs more than a refusal.
MAX_DEPTH = 100
STRING_OR_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]')


class Refusal(Exception):
    """A refusal: a code for programs, a message for people, and the field that is wrong."""

    def __init__(self, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message}
        if field is not None:
            self.error["field"] = field

    def to_json(self) -> bytes:
        return encode({"error": self.error})


def encode(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def decode(data: bytes, what: str) -> object:
    """Decodes JSON as strictly as a Rust guest: no NaN, no repeated key, limited nesting."""
    try:
        text = data.decode()
        _check_depth(text)
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
    except Refusal as refusal:
        refusal.error["code"] = f"bad_{what}"
        raise
    except ValueError as error:
        raise Refusal(f"bad_{what}", f"this is not JSON: {error}") from None


def _check_depth(text: str) -> None:
    depth = 0
    for found in STRING_OR_BRACKET.finditer(text):
        if found[0] in "[{":
            depth += 1
        elif found[0] in "]}":
            depth -= 1
        if depth > MAX_DEPTH:
            raise ValueError(f"the nesting exceeds {MAX_DEPTH} levels")


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON number")


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise Refusal("", f"the field `{key}` is given twice", key)
        found[key] = value
    return found


class Caller:
    """Who has sent a command or a query: the owner of a certificate or of a token.

    `name`: a certificate of a node has `node/` and the id of the node. `scopes`: the values of each scope of a token
    (`oarlock token create NAME --scope queues=a,b`), by its name.
    """

    def __init__(self, name: str, scopes: dict[str, list[str]] | None = None) -> None:
        self.name = name
        self.scopes = scopes or {}

    def may_use(self, scope: str, value: str) -> bool:
        """Whether the caller is not limited in the scope, or the value is in it."""
        return scope not in self.scopes or value in self.scopes[scope]


class Context:
    """What a machine can see and do besides changing its own state. Valid during one call.

    `command`: the position of the command in its batch, None in a wake-up.
    """

    def __init__(self, runtime: "Runtime", index: int, time_ms: int, command: int | None) -> None:
        self.index = index
        self.time_ms = time_ms
        self._runtime = runtime
        self._host = runtime.host
        self._command = command
        self._deferred: int | None = None
        self._deadline_ms = 0
        self._is_complete = False
        self._undo: list = []
        self._events: list[tuple[str, bytes]] = []
        self._replies: list[tuple[int, bool, bytes]] = []

    def caller(self) -> Caller | None:
        """Who has sent this command. Equal on every node. Each call asks the host, so keep the result.

        None if the nodes don't authenticate (no `--certs-dir`), in `on_wake`, `on_timer` and `on_deadline`, and in a cluster
        at level 0.
        """
        return None if self._command is None else self._runtime.caller_of(self._command)

    def random(self, length: int) -> bytes:
        """Pseudo-random bytes, equal on every node. No secrets: who can read the log can compute them."""
        return self._host.random(length)

    def memory_is_low(self) -> bool:
        """Whether to refuse commands that add state. Equal on every node."""
        return self._host.memory_pressure()

    def reply_limit(self) -> int:
        """The longest reply, in bytes. Equal on every node."""
        return self._host.reply_limit()

    def emit(self, topic: str, payload: bytes) -> None:
        """Publishes an event when the command is accepted. Clients read it at `GET /v1/events`."""
        self._events.append((topic, payload))

    def emit_json(self, topic: str, payload: object) -> None:
        """Publishes an event whose payload is a value as JSON."""
        self.emit(topic, encode(payload))

    def wake_at(self, time_ms: int) -> None:
        """Requests a call of `on_wake` at or after this time. There is one such time; 0 clears it."""
        self._undo.append(("wake", self._runtime.wake_ms))
        self._runtime.wake_ms = time_ms

    def set_timer(self, id: str, at_ms: int) -> None:
        """Sets the timer `id`, or replaces it: `on_timer` is called once, at or after this time, never before it.

        Timers fire in the order of their times, and of their ids if the times are equal. Raises `Refusal` past the limits.
        """
        runtime = self._runtime
        before = runtime.timers.get(id)
        if before is None:
            if len(id.encode()) > MAX_ID_BYTES:
                raise Refusal("timer_id_too_long", f"a timer's id may have {MAX_ID_BYTES} bytes")
            if len(runtime.timers) >= MAX_TIMERS:
                raise Refusal("too_many_timers", f"{MAX_TIMERS} timers are set, which is the limit")
        self._undo.append(("timer", id, before))
        runtime.put_timer(id, at_ms)

    def cancel_timer(self, id: str) -> bool:
        """Cancels a timer. Returns whether it was set."""
        before = self._runtime.timers.pop(id, None)
        if before is not None:
            self._undo.append(("timer", id, before))
        return before is not None

    def timer_ms(self, id: str) -> int | None:
        """The time at which a timer fires, or None."""
        return self._runtime.timers.get(id)

    def defer(self, deadline_ms: int) -> int:
        """Defers the reply to this command. Returns a token, for `complete` or `refuse` in this command or a later one.

        What `apply` then returns is the reply at the deadline, if nothing completed the command before. Call it before you
        change the state: it raises `Refusal` if too many commands wait.
        """
        if self._command is None:
            raise RuntimeError("`defer` was called where there is no command; call it in `apply`")
        self._deadline_ms = deadline_ms
        if self._deferred is None:
            runtime = self._runtime
            if len(runtime.waiting) >= MAX_WAITING or runtime.kept_bytes >= MAX_KEPT_BYTES:
                raise Refusal("too_many_waiting", f"{len(runtime.waiting)} commands wait, which is the limit; try again later")
            self._undo.append(("last_token", runtime.last_token))
            runtime.last_token = max(self.index << 16, runtime.last_token + 1)
            self._deferred = runtime.last_token
        return self._deferred

    def is_waiting(self, token: int) -> bool:
        """Whether a deferred command has no reply yet."""
        if token == self._deferred:
            return not self._is_complete
        return token in self._runtime.waiting

    def complete(self, token: int, reply: object) -> bool:
        """Completes a deferred command with a reply. False, and nothing happens, if it does not wait."""
        return self._finish(token, True, lambda: encode(reply))

    def refuse(self, token: int, refusal: Refusal) -> bool:
        """Completes a deferred command with a refusal. What it changed before stays."""
        return self._finish(token, False, refusal.to_json)

    def _finish(self, token: int, accepted: bool, body) -> bool:
        if not self.is_waiting(token):
            return False
        self._replies.append((token, accepted, body()))
        if token == self._deferred:
            self._is_complete = True
        else:
            self._undo.append(("waiting", token, self._runtime.take_waiting(token)))
        return True

    def _expire(self, token: int) -> None:
        if token in self._runtime.waiting:
            _, reply = self._runtime.take_waiting(token)
            self._replies.append((token, True, reply))

    def _commit(self) -> tuple[int, int]:
        """Passes events and replies to the host. Returns their number and size."""
        for topic, payload in self._events:
            self._host.emit(topic, payload)
        for token, accepted, body in self._replies:
            self._host.complete(token, accepted, body)
        size = sum(len(topic) + len(payload) for topic, payload in self._events)
        return len(self._events) + len(self._replies), size + sum(len(body) for _, _, body in self._replies)

    def _roll_back(self) -> None:
        runtime = self._runtime
        for change in reversed(self._undo):
            match change:
                case ("wake", before):
                    runtime.wake_ms = before
                case ("last_token", before):
                    runtime.last_token = before
                case ("timer", id, None):
                    del runtime.timers[id]
                case ("timer", id, before):
                    runtime.put_timer(id, before)
                case ("waiting", token, (deadline_ms, reply)):
                    runtime.put_waiting(token, deadline_ms, reply)


class ReadContext:
    """What a query can see: the position of the last applied entry."""

    def __init__(self, runtime: "Runtime", index: int, time_ms: int) -> None:
        self.index = index
        self.time_ms = time_ms
        self._runtime = runtime

    def caller(self) -> Caller | None:
        """Who has sent this query. None if the nodes don't authenticate (no `--certs-dir`)."""
        return self._runtime.caller_of(0)


# The state is from before this file was used, so the host may have a wake time that is not known here.
UNKNOWN = -1
# In the order in which they fire if times are equal.
TIMER, DEADLINE = 1, 2


class Runtime:
    """A state machine, its timers and its deferred commands.

    `host` and `callers` have the functions of these WIT interfaces. `callers` may be None: then `caller` raises.
    """

    def __init__(self, machine: object, host: object, callers: object = None) -> None:
        self.machine = machine
        self.host = host
        self.callers = callers
        self._clear()

    def _clear(self) -> None:
        self.wake_ms = 0
        self.overdue_batches = 0
        self.last_token = 0
        self.timers: dict[str, int] = {}
        self.waiting: dict[int, tuple[int, bytes]] = {}
        self.kept_bytes = 0
        # Timers and deadlines by time. Some are no longer valid; the dictionaries decide.
        self._heap: list[tuple[int, int, str | int]] = []

    def put_timer(self, id: str, at_ms: int) -> None:
        self.timers[id] = at_ms
        self._push((at_ms, TIMER, id))

    def put_waiting(self, token: int, deadline_ms: int, reply: bytes) -> None:
        self.waiting[token] = (deadline_ms, reply)
        self.kept_bytes += len(reply)
        self._push((deadline_ms, DEADLINE, token))

    def take_waiting(self, token: int) -> tuple[int, bytes]:
        deferral = self.waiting.pop(token)
        self.kept_bytes -= len(deferral[1])
        return deferral

    def _push(self, entry: tuple[int, int, str | int]) -> None:
        if len(self._heap) > 2 * (len(self.timers) + len(self.waiting)) + 64:
            self._heap = list({entry for entry in self._heap if self._is_valid(entry)})
            heapq.heapify(self._heap)
        heapq.heappush(self._heap, entry)

    def _is_valid(self, entry: tuple[int, int, str | int]) -> bool:
        at_ms, kind, id = entry
        if kind == TIMER:
            return self.timers.get(id) == at_ms
        return id in self.waiting and self.waiting[id][0] == at_ms

    def _first(self) -> tuple[int, int, str | int] | None:
        while self._heap and not self._is_valid(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0] if self._heap else None

    def _slot(self) -> int | None:
        """What the wake time of the host must be: 0 for none, None if what the host has is right."""
        first = self._first()
        if self.wake_ms == UNKNOWN:
            return None if first is None else 1
        times = [time for time in (self.wake_ms, first and max(first[0], 1)) if time]
        return min(times, default=0)

    def caller_of(self, command: int) -> Caller | None:
        if self.callers is None:
            raise RuntimeError("the WIT of this project has no `callers`; replace its `wit` by the one of this release")
        caller = self.callers.caller_of(command)
        return caller and Caller(caller.name, {scope.name: list(scope.values) for scope in caller.scopes})

    def apply(self, index: int, time_ms: int, commands: list[bytes]) -> list[tuple[str, bytes]]:
        """Applies the commands of one entry. Returns the verdict and the bytes of each."""
        before = self._slot()
        outcomes = [
            self._apply_one(Context(self, index, time_ms, number), command) for number, command in enumerate(commands)
        ]
        if any(verdict != "rejected" for verdict, _ in outcomes):
            after = self._slot()
            # A wake-up is on its way, or it failed and the host does not repeat it.
            is_overdue = bool(after) and after <= time_ms
            if is_overdue and after == before:
                self.overdue_batches = min(self.overdue_batches + 1, 255)
            if after is not None and (is_overdue or after != before):
                self.host.wake_at(after)
        return outcomes

    def _apply_one(self, cx: Context, command: bytes) -> tuple[str, bytes]:
        try:
            reply = encode(self.machine.apply(cx, decode(command, "command")))
        except Refusal as refusal:
            cx._roll_back()
            return "rejected", refusal.to_json()
        token = cx._deferred
        if token is None:
            cx._commit()
            return "accepted", reply
        if len(reply) > MAX_KEPT_REPLY_BYTES:
            raise RuntimeError(f"the reply of a deferred command at its deadline has {len(reply)} bytes; return a smaller one")
        if not cx._is_complete:
            self.put_waiting(token, cx._deadline_ms, reply)
        cx._commit()
        return "deferred", token.to_bytes(8, "little")

    def wake(self, index: int, time_ms: int) -> None:
        """A wake-up: calls the methods for all that is due, up to the limits of one wake-up."""
        effects, size = 0, 0
        for at_ms, kind, id in self._due(time_ms):
            if effects >= MAX_WAKE_EFFECTS or size >= MAX_WAKE_BYTES:
                break
            cx = Context(self, index, time_ms, None)
            if kind == 0:
                if self.wake_ms not in (at_ms, UNKNOWN):
                    continue
                self.wake_ms = 0
                self._call("on_wake", cx)
            elif not self._is_valid((at_ms, kind, id)):
                continue
            elif kind == TIMER:
                del self.timers[id]
                self._call("on_timer", cx, id)
            else:
                self._call("on_deadline", cx, id)
                cx._expire(id)
            more, bytes_more = cx._commit()
            effects, size = effects + more, size + bytes_more
        self.overdue_batches = 0
        if slot := self._slot():
            self.host.wake_at(slot)

    def _due(self, now_ms: int) -> list[tuple[int, int, str | int]]:
        """What is due, in order. What is set from now on waits for the next wake-up."""
        limit = FIRINGS_PER_WAKE >> min(max(self.overdue_batches - 3, 0), 8)
        due: list[tuple[int, int, str | int]] = []
        while len(due) < limit and (first := self._first()) and first[0] <= now_ms:
            heapq.heappop(self._heap)
            if not due or due[-1] != first:
                due.append(first)
        for entry in due:
            heapq.heappush(self._heap, entry)
        if self.wake_ms == UNKNOWN or 0 < self.wake_ms <= now_ms:
            due.append((max(self.wake_ms, 0), 0, ""))
            due.sort(key=lambda entry: entry[:2])
        return due[:limit]

    def _call(self, name: str, *arguments: object) -> None:
        method = getattr(self.machine, name, None)
        if method is not None:
            method(*arguments)

    def query(self, index: int, time_ms: int, request: bytes) -> bytes:
        """Evaluates a query. Raises `Refusal`."""
        return encode(self.machine.query(ReadContext(self, index, time_ms), decode(request, "query")))

    def write(self) -> bytes:
        """The snapshot: timers and deferred commands, if there was ever one, then the state."""
        runtime = [
            self.wake_ms,
            self.overdue_batches,
            self.last_token,
            sorted(self.timers.items()),
            [(token, deadline, reply.decode()) for token, (deadline, reply) in sorted(self.waiting.items())],
        ]
        section = b"" if runtime == [0, 0, 0, [], []] else encode(runtime)
        return MAGIC + len(section).to_bytes(4, "little") + section + self.machine.write()

    def read(self, written_by: int, snapshot: bytes) -> None:
        """Replaces state, timers and deferred commands by those of a snapshot. Raises ValueError.

        A snapshot from before this file was used is the state alone.
        """
        if not snapshot.startswith(MAGIC):
            self.machine.read(written_by, snapshot)
            self._clear()
            self.wake_ms = UNKNOWN
            return
        start = len(MAGIC) + 4
        end = start + int.from_bytes(snapshot[len(MAGIC) : start], "little")
        if end > len(snapshot):
            raise ValueError("the snapshot is truncated; fetch it again")
        section = json.loads(snapshot[start:end] or b"[0,0,0,[],[]]")
        self.machine.read(written_by, snapshot[end:])
        self._clear()
        self.wake_ms, self.overdue_batches, self.last_token, timers, waiting = section
        for id, at_ms in timers:
            self.put_timer(id, at_ms)
        for token, deadline_ms, reply in waiting:
            self.put_waiting(token, deadline_ms, reply.encode())


def exports(machine: object, *, name: str, version: int, layout: str, schema: str = "") -> tuple[type, ...]:
    """The classes `Machine`, `Queries`, `Timers`, `About` and `Layout` that componentize-py finds in the main module."""
    from componentize_py_types import Err
    from wit_world.imports import host
    from wit_world.imports.types import Description, Outcomes, Verdict

    try:
        from wit_world.imports import callers
    except ImportError:
        # The WIT of the project is of an earlier release.
        callers = None

    runtime = Runtime(machine, host, callers)
    verdicts = {"accepted": Verdict.ACCEPTED, "rejected": Verdict.REJECTED, "deferred": Verdict.DEFERRED}

    class Machine:
        def apply(self, at, commands):
            starts = [0, *commands.ends]
            batch = [commands.data[start:end] for start, end in zip(starts, commands.ends)]
            outcomes = runtime.apply(at.index, at.time_ms, batch)
            data, ends = bytearray(), []
            for _, body in outcomes:
                data += body
                ends.append(len(data))
            return Outcomes([verdicts[verdict] for verdict, _ in outcomes], bytes(data), ends)

        def snapshot(self, to):
            snapshot = runtime.write()
            for start in range(0, len(snapshot), CHUNK_BYTES):
                to.write(snapshot[start : start + CHUNK_BYTES])

        def restore(self, written_by, from_):
            snapshot = bytearray()
            while chunk := from_.read(CHUNK_BYTES):
                snapshot += chunk
            try:
                runtime.read(written_by, bytes(snapshot))
            except ValueError as error:
                raise Err(str(error)) from None

    class Queries:
        def query(self, at, request):
            try:
                return runtime.query(at.index, at.time_ms, request)
            except Refusal as refusal:
                raise Err(refusal.to_json()) from None

    class Timers:
        def wake(self, at):
            runtime.wake(at.index, at.time_ms)

    class About:
        def describe(self):
            return Description(name=name, version=version, codec="json", schema=schema)

    class Layout:
        def fingerprint(self):
            return layout

    return Machine, Queries, Timers, About, Layout
