"""Tests of `oarlock.py`, without WebAssembly: `python3 -m unittest` in this folder."""

import json
import unittest
from types import SimpleNamespace

import oarlock
from oarlock import Caller, Refusal, Runtime

START_MS = 1_577_836_800_000


class Host:
    """A host in memory."""

    def __init__(self) -> None:
        self.wake_ms = 0
        self.events: list[tuple[str, object]] = []
        self.replies: list[tuple[int, bool, object]] = []

    def wake_at(self, time_ms: int) -> None:
        self.wake_ms = time_ms

    def emit(self, topic: str, payload: bytes) -> None:
        self.events.append((topic, json.loads(payload)))

    def complete(self, token: int, accepted: bool, reply: bytes) -> None:
        self.replies.append((token, accepted, json.loads(reply)))


class Mailbox:
    """A mailbox: who takes from an empty one waits."""

    def __init__(self) -> None:
        self.items: list[str] = []
        self.waiting: list[int] = []

    def apply(self, cx, command):
        match command:
            case {"take": wait_ms}:
                if self.items:
                    return self.items.pop(0)
                self.waiting.append(cx.defer(cx.time_ms + wait_ms))
                return "nothing"
            case {"put": item}:
                if self.waiting:
                    assert cx.complete(self.waiting.pop(0), item)
                else:
                    self.items.append(item)
            case {"close": _}:
                for token in self.waiting:
                    assert cx.refuse(token, Refusal("closed", "it is closed"))
                self.waiting = []
            case {"both": item}:
                token = cx.defer(cx.time_ms)
                assert cx.defer(cx.time_ms + 1) == token
                assert cx.complete(token, item) and not cx.complete(token, item)
            case {"complete": token}:
                return cx.complete(token, "completed")
            case {"set": [id, in_ms]}:
                cx.set_timer(id, cx.time_ms + in_ms)
            case {"cancel": id}:
                return cx.cancel_timer(id)
            case {"wake": in_ms}:
                cx.wake_at(cx.time_ms + in_ms)
            case {"refuse": token}:
                cx.defer(cx.time_ms + 5)
                cx.set_timer("refused", cx.time_ms + 5)
                cx.set_timer("refused", cx.time_ms + 6)
                cx.wake_at(cx.time_ms + 5)
                cx.cancel_timer("a")
                cx.complete(token, "refused")
                cx.emit_json("refused", [])
                raise Refusal("refused", "on request")
            case {"large": size}:
                cx.defer(cx.time_ms)
                return "x" * (size - 2)
            case _:
                raise Refusal("bad_command", "unknown")
        return "done"

    def on_wake(self, cx) -> None:
        cx.emit_json("wake", cx.time_ms - START_MS)

    def on_timer(self, cx, id) -> None:
        cx.emit_json("timer", [id, cx.time_ms - START_MS])
        if id.startswith("again"):
            cx.set_timer(id, cx.time_ms)
        if id.startswith("cancel "):
            assert cx.cancel_timer(id.removeprefix("cancel "))
        if id == "defer":
            cx.defer(0)

    def on_deadline(self, cx, token) -> None:
        assert cx.is_waiting(token)
        self.waiting.remove(token)
        if cx.time_ms % 2 == 1:
            cx.complete(token, "odd")

    def write(self) -> bytes:
        return json.dumps([self.items, self.waiting]).encode()

    def read(self, written_by: int, state: bytes) -> None:
        assert written_by == 1
        self.items, self.waiting = json.loads(state)


class Node:
    """A machine that never stops and one that is restored after each entry. They must not differ."""

    def __init__(self) -> None:
        self.replicas = [Runtime(Mailbox(), Host()) for _ in range(2)]
        self.index, self.time_ms = 0, START_MS

    @property
    def host(self) -> Host:
        return self.replicas[0].host

    def _entry(self, run):
        self.index += 1
        results = [run(replica) for replica in self.replicas]
        states = [replica.write() for replica in self.replicas]
        assert results[0] == results[1] and states[0] == states[1], (results, states)
        assert vars(self.replicas[0].host) == vars(self.replicas[1].host)
        restored = Runtime(Mailbox(), self.replicas[1].host)
        restored.read(1, states[1])
        self.replicas[1] = restored
        return results[0]

    def send(self, *commands):
        bodies = [json.dumps(command).encode() for command in commands]
        outcomes = self._entry(lambda replica: replica.apply(self.index, self.time_ms, bodies))
        if len(outcomes) > 1:
            return outcomes
        verdict, body = outcomes[0]
        return verdict, int.from_bytes(body, "little") if verdict == "deferred" else json.loads(body)

    def defer(self, wait_ms: int) -> int:
        verdict, token = self.send({"take": wait_ms})
        assert verdict == "deferred"
        return token

    def wake(self) -> None:
        self.time_ms = max(self.time_ms, self.host.wake_ms)

        def run(replica):
            replica.host.wake_ms = 0
            replica.wake(self.index, self.time_ms)

        self._entry(run)

    def advance(self, by_ms: int) -> None:
        end = self.time_ms + by_ms
        while 0 < self.host.wake_ms <= end:
            self.wake()
        self.time_ms = end

    def take_replies(self):
        replies = self.host.replies
        for replica in self.replicas:
            replica.host.replies = []
        return replies


class Deferred(unittest.TestCase):
    def setUp(self) -> None:
        self.node = Node()

    def test_a_deferred_command_gets_its_reply_from_a_later_one(self):
        first, second = self.node.defer(100), self.node.defer(100)
        self.assertLess(first, second)
        self.assertEqual(self.node.send({"put": "a"}), ("accepted", "done"))
        self.assertEqual(self.node.take_replies(), [(first, True, "a")])
        self.node.send({"close": 0})
        error = {"error": {"code": "closed", "message": "it is closed"}}
        self.assertEqual(self.node.take_replies(), [(second, False, error)])
        self.assertEqual(self.node.host.wake_ms, 0)

    def test_at_the_deadline_the_reply_is_what_apply_returned_or_what_the_guest_chooses(self):
        first = self.node.defer(100)
        self.node.advance(1)
        second = self.node.defer(100)
        self.node.advance(98)
        self.assertEqual(self.node.take_replies(), [])
        self.node.advance(2)
        self.assertEqual(self.node.take_replies(), [(first, True, "nothing"), (second, True, "odd")])
        self.assertEqual(self.node.index, 4)

    def test_a_command_can_complete_itself(self):
        verdict, token = self.node.send({"both": "x"})
        self.assertEqual((verdict, self.node.take_replies()), ("deferred", [(token, True, "x")]))
        self.assertEqual(self.node.host.wake_ms, 0)

    def test_an_unknown_or_completed_token_changes_nothing(self):
        token = self.node.defer(100)
        self.assertEqual(self.node.send({"complete": token}), ("accepted", True))
        self.node.take_replies()
        for token in [token, 0, 1 << 40]:
            self.assertEqual(self.node.send({"complete": token}), ("accepted", False))
        self.assertEqual(self.node.take_replies(), [])

    def test_a_refused_command_leaves_nothing(self):
        token = self.node.defer(100)
        self.node.send({"set": ["a", 50]})
        before = self.node.replicas[0].write()
        outcomes = self.node.send({"refuse": token}, {"refuse": token})
        self.assertEqual([verdict for verdict, _ in outcomes], ["rejected", "rejected"])
        self.assertEqual(self.node.replicas[0].write(), before)
        self.assertEqual((self.node.host.replies, self.node.host.events), ([], []))
        self.assertEqual(self.node.host.wake_ms, START_MS + 50)

    def test_a_large_reply_cannot_be_kept(self):
        self.assertEqual(self.node.send({"large": 65536})[0], "deferred")
        with self.assertRaisesRegex(RuntimeError, "has 65537 bytes"):
            self.node.send({"large": 65537})

    def test_malformed_commands_are_refused(self):
        for body in [b"", b"{", b"\xff", b'{"a":1,"a":2}', b"[" * 101, b"NaN"]:
            [(verdict, refusal)] = self.node.replicas[0].apply(1, 1, [body])
            self.assertEqual((verdict, json.loads(refusal)["error"]["code"]), ("rejected", "bad_command"))


class Timers(unittest.TestCase):
    def setUp(self) -> None:
        self.node = Node()

    def set(self, *timers) -> None:
        for id, in_ms in timers:
            self.assertEqual(self.node.send({"set": [id, in_ms]}), ("accepted", "done"))

    def fired(self):
        return [payload for topic, payload in self.node.host.events if topic == "timer"]

    def test_timers_fire_in_order_and_never_early(self):
        self.set(("b", 20), ("late", 30), ("a", 20), ("moved", 1), ("gone", 5), ("moved", 25))
        self.assertEqual(self.node.send({"cancel": "gone"}), ("accepted", True))
        self.assertEqual(self.node.send({"cancel": "gone"}), ("accepted", False))
        index = self.node.index
        self.node.advance(19)
        self.assertEqual(self.node.index, index)
        self.node.advance(81)
        self.assertEqual(self.fired(), [["a", 20], ["b", 20], ["moved", 25], ["late", 30]])
        self.assertEqual(self.node.index, index + 3)

    def test_one_can_cancel_another_that_is_due_and_one_that_is_set_again_waits(self):
        self.set(("cancel x", 10), ("x", 10), ("again 1", 10))
        for _ in range(3):
            self.node.wake()
        again = ["again 1", 10]
        self.assertEqual(self.fired(), [again, ["cancel x", 10], again, again])

    def test_the_wake_time_and_timers_do_not_replace_each_other(self):
        self.node.send({"wake": 30})
        self.set(("a", 20), ("b", 40))
        self.node.defer(36)
        self.node.advance(100)
        seen = [topic for topic, _ in self.node.host.events]
        self.assertEqual(seen, ["timer", "wake", "timer"])
        self.assertEqual(len(self.node.take_replies()), 1)

    def test_a_storm_takes_several_wake_ups(self):
        runtime = Runtime(Mailbox(), Host())
        for number in range(1000):
            runtime.apply(1, START_MS, [json.dumps({"set": [f"{number:04}", 10]}).encode()])
        counts = []
        while runtime.host.wake_ms:
            runtime.host.wake_ms = 0
            before = len(runtime.host.events)
            runtime.wake(2, START_MS + 10)
            counts.append(len(runtime.host.events) - before)
        self.assertEqual(counts, [256, 256, 256, 232])
        ids = [payload[0] for _, payload in runtime.host.events]
        self.assertEqual(ids, sorted(ids))

    def test_a_late_wake_up_is_requested_again_and_fires_fewer_if_it_seems_to_fail(self):
        runtime = Runtime(Mailbox(), Host())
        for number in range(300):
            runtime.apply(1, START_MS, [json.dumps({"set": [f"{number:04}", 10]}).encode()])
        for _ in range(12):
            runtime.host.wake_ms = 0
            runtime.apply(2, START_MS + 20, [b'{"put":"x"}'])
            self.assertEqual(runtime.host.wake_ms, START_MS + 10)
        runtime.wake(3, START_MS + 20)
        self.assertEqual(len(runtime.host.events), 1)
        runtime.wake(4, START_MS + 20)
        self.assertEqual(len(runtime.host.events), 257)

    def test_limits(self):
        self.assertEqual(self.node.send({"set": ["x" * 257, 1]})[0], "rejected")
        self.set(("defer", 1))
        with self.assertRaisesRegex(RuntimeError, "no command"):
            self.node.advance(1)
        runtime = Runtime(Mailbox(), Host())
        cx = oarlock.Context(runtime, 1, 1, True)
        for number in range(oarlock.MAX_WAITING):
            runtime.put_waiting(number, 1, b"")
        with self.assertRaises(Refusal):
            cx.defer(5)

    def test_timers_that_are_set_again_and_again_take_no_memory(self):
        runtime = Runtime(Mailbox(), Host())
        for number in range(1000):
            runtime.apply(1, START_MS, [json.dumps({"set": ["x", number]}).encode()])
        self.assertLess(len(runtime._heap), 100)

    def test_a_snapshot_from_before_keeps_the_wake_time_of_the_host(self):
        runtime = Runtime(Mailbox(), Host())
        runtime.read(1, b'[["a"],[]]')
        self.assertEqual(runtime.machine.items, ["a"])
        runtime.apply(1, START_MS, [b'{"put":"x"}'])
        self.assertEqual(runtime.host.wake_ms, 0, "it was not asked for anything")
        runtime.apply(2, START_MS, [b'{"set":["a",50]}'])
        self.assertEqual(runtime.host.wake_ms, 1)
        runtime.wake(3, START_MS)
        self.assertEqual(runtime.host.events, [("wake", 0)])
        self.assertEqual(runtime.host.wake_ms, START_MS + 50)


class Callers:
    """The WIT interface `callers`: the first command of a batch is of ann, the second of nobody."""

    def caller_of(self, command: int):
        if command == 1:
            return None
        scope = SimpleNamespace(name="rooms", values=["a", "b"])
        return SimpleNamespace(name=f"ann {command}", scopes=[scope])


class Door:
    """Replies with the name of the caller, and refuses rooms that it may not use."""

    def apply(self, cx, command):
        caller = cx.caller()
        if caller is not None and not caller.may_use("rooms", command):
            raise Refusal("forbidden", "another room")
        cx.set_timer("t", cx.time_ms)
        return caller and caller.name

    def query(self, cx, query):
        return cx.caller().name

    def on_timer(self, cx, id) -> None:
        assert cx.caller() is None
        cx.emit_json("timer", id)

    def write(self) -> bytes:
        return b""


class CallerTest(unittest.TestCase):
    def test_each_command_and_query_has_its_own_caller_and_a_timer_has_none(self):
        host = Host()
        runtime = Runtime(Door(), host, Callers())
        outcomes = runtime.apply(1, START_MS, [b'"a"', b'"c"', b'"c"'])
        self.assertEqual([verdict for verdict, _ in outcomes], ["accepted", "accepted", "rejected"])
        self.assertEqual([json.loads(body) for _, body in outcomes[:2]], ["ann 0", None])
        self.assertEqual(runtime.query(1, START_MS, b"0"), b'"ann 0"')
        runtime.wake(2, START_MS)
        self.assertEqual(host.events, [("timer", "t")])

    def test_a_scope_limits_its_values(self):
        ann = Caller("ann", {"rooms": ["a"]})
        self.assertTrue(ann.may_use("rooms", "a") and ann.may_use("floors", "b"))
        self.assertFalse(ann.may_use("rooms", "b"))

    def test_without_the_interface_the_reason_is_clear(self):
        with self.assertRaisesRegex(RuntimeError, "has no `callers`"):
            Runtime(Door(), Host()).apply(1, START_MS, [b'"a"'])


if __name__ == "__main__":
    unittest.main()
