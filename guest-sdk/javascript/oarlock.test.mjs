// Tests of `oarlock.js`, without WebAssembly: `node --test` in this folder.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Caller, MAX_WAITING, Refusal, Runtime } from "./oarlock.js";

const START_MS = 1_577_836_800_000;
const utf8 = new TextDecoder();
const bytes = (value) => new TextEncoder().encode(JSON.stringify(value));
const parsed = (body) => JSON.parse(utf8.decode(body));

/** A host in memory. */
class Host {
  wakeMs = 0;
  events = [];
  replies = [];

  wakeAt(timeMs) {
    this.wakeMs = Number(timeMs);
  }

  emit(topic, payload) {
    this.events.push([topic, parsed(payload)]);
  }

  complete(token, accepted, reply) {
    this.replies.push([Number(token), accepted, parsed(reply)]);
  }
}

/** A mailbox: who takes from an empty one waits. */
class Mailbox {
  items = [];
  waiting = [];

  apply(cx, command) {
    const [[name, content]] = Object.entries(command);
    switch (name) {
      case "take": {
        if (this.items.length > 0) return this.items.shift();
        this.waiting.push(cx.defer(cx.timeMs + content));
        return "nothing";
      }
      case "put":
        if (this.waiting.length > 0) assert(cx.complete(this.waiting.shift(), content));
        else this.items.push(content);
        break;
      case "close":
        for (const token of this.waiting) assert(cx.refuse(token, new Refusal("closed", "it is closed")));
        this.waiting = [];
        break;
      case "both": {
        const token = cx.defer(cx.timeMs);
        assert.equal(cx.defer(cx.timeMs + 1), token);
        assert(cx.complete(token, content) && !cx.complete(token, content));
        break;
      }
      case "complete":
        return cx.complete(content, "completed");
      case "set":
        cx.setTimer(content[0], cx.timeMs + content[1]);
        break;
      case "cancel":
        return cx.cancelTimer(content);
      case "wake":
        cx.wakeAt(cx.timeMs + content);
        break;
      case "refuse":
        cx.defer(cx.timeMs + 5);
        cx.setTimer("refused", cx.timeMs + 5);
        cx.setTimer("refused", cx.timeMs + 6);
        cx.wakeAt(cx.timeMs + 5);
        cx.cancelTimer("a");
        cx.complete(content, "refused");
        cx.emitJson("refused", []);
        throw new Refusal("refused", "on request");
      case "large":
        cx.defer(cx.timeMs);
        return "x".repeat(content - 2);
      default:
        throw new Refusal("bad_command", "unknown");
    }
    return "done";
  }

  onWake(cx) {
    cx.emitJson("wake", cx.timeMs - START_MS);
  }

  onTimer(cx, id) {
    cx.emitJson("timer", [id, cx.timeMs - START_MS]);
    if (id.startsWith("again")) cx.setTimer(id, cx.timeMs);
    if (id.startsWith("cancel ")) assert(cx.cancelTimer(id.slice("cancel ".length)));
    if (id === "defer") cx.defer(0);
  }

  onDeadline(cx, token) {
    assert(cx.isWaiting(token));
    this.waiting = this.waiting.filter((waiting) => waiting !== token);
    if (cx.timeMs % 2 === 1) cx.complete(token, "odd");
  }

  write() {
    return bytes([this.items, this.waiting]);
  }

  read(writtenBy, state) {
    assert.equal(writtenBy, 1);
    [this.items, this.waiting] = parsed(state);
  }
}

/** A machine that never stops and one that is restored after each entry. They must not differ. */
class Node {
  replicas = [0, 1].map(() => new Runtime(new Mailbox(), new Host()));
  index = 0;
  timeMs = START_MS;

  get host() {
    return this.replicas[0].host;
  }

  #entry(run) {
    this.index += 1;
    const results = this.replicas.map(run);
    const states = this.replicas.map((replica) => utf8.decode(replica.write()));
    assert.deepEqual([results[0], states[0], this.host], [results[1], states[1], this.replicas[1].host]);
    const restored = new Runtime(new Mailbox(), this.replicas[1].host);
    restored.read(1, this.replicas[1].write());
    this.replicas[1] = restored;
    return results[0];
  }

  send(...commands) {
    const outcomes = this.#entry((replica) => replica.apply(this.index, this.timeMs, commands.map(bytes)));
    const decoded = outcomes.map(([verdict, body]) => [
      verdict,
      verdict === "deferred" ? Number(new DataView(body.buffer).getBigUint64(0, true)) : parsed(body),
    ]);
    return decoded.length > 1 ? decoded : decoded[0];
  }

  defer(waitMs) {
    const [verdict, token] = this.send({ take: waitMs });
    assert.equal(verdict, "deferred");
    return token;
  }

  wake() {
    this.timeMs = Math.max(this.timeMs, this.host.wakeMs);
    this.#entry((replica) => {
      replica.host.wakeMs = 0;
      replica.wake(this.index, this.timeMs);
    });
  }

  advance(byMs) {
    const end = this.timeMs + byMs;
    while (this.host.wakeMs > 0 && this.host.wakeMs <= end) this.wake();
    this.timeMs = end;
  }

  takeReplies() {
    const { replies } = this.host;
    for (const { host } of this.replicas) host.replies = [];
    return replies;
  }

  fired() {
    return this.host.events.filter(([topic]) => topic === "timer").map(([, payload]) => payload);
  }
}

test("a deferred command gets its reply from a later one", () => {
  const node = new Node();
  const [first, second] = [node.defer(100), node.defer(100)];
  assert(first < second);
  node.send({ put: "a" });
  assert.deepEqual(node.takeReplies(), [[first, true, "a"]]);
  node.send({ close: 0 });
  const error = { error: { code: "closed", message: "it is closed" } };
  assert.deepEqual(node.takeReplies(), [[second, false, error]]);
  assert.equal(node.host.wakeMs, 0);
});

test("at the deadline the reply is what apply returned or what the guest chooses", () => {
  const node = new Node();
  const first = node.defer(100);
  node.advance(1);
  const second = node.defer(100);
  node.advance(98);
  assert.deepEqual(node.takeReplies(), []);
  node.advance(2);
  assert.deepEqual(node.takeReplies(), [
    [first, true, "nothing"],
    [second, true, "odd"],
  ]);
  assert.equal(node.index, 4);
});

test("a command can complete itself", () => {
  const node = new Node();
  const [verdict, token] = node.send({ both: "x" });
  assert.equal(verdict, "deferred");
  assert.deepEqual(node.takeReplies(), [[token, true, "x"]]);
  assert.equal(node.host.wakeMs, 0);
});

test("an unknown or completed token changes nothing", () => {
  const node = new Node();
  const token = node.defer(100);
  assert.deepEqual(node.send({ complete: token }), ["accepted", true]);
  node.takeReplies();
  for (const other of [token, 0, 2 ** 40]) assert.deepEqual(node.send({ complete: other }), ["accepted", false]);
  assert.deepEqual(node.takeReplies(), []);
});

test("a refused command leaves nothing", () => {
  const node = new Node();
  const token = node.defer(100);
  node.send({ set: ["a", 50] });
  const before = node.replicas[0].write();
  const outcomes = node.send({ refuse: token }, { refuse: token });
  assert.deepEqual(outcomes.map(([verdict]) => verdict), ["rejected", "rejected"]);
  assert.deepEqual(node.replicas[0].write(), before);
  assert.deepEqual([node.host.replies, node.host.events, node.host.wakeMs], [[], [], START_MS + 50]);
});

test("a large reply can not be kept", () => {
  const node = new Node();
  assert.equal(node.send({ large: 65_536 })[0], "deferred");
  assert.throws(() => node.send({ large: 65_537 }), /has 65537 bytes/);
});

test("malformed commands are refused", () => {
  const runtime = new Runtime(new Mailbox(), new Host());
  for (const body of ["", "{", "[".repeat(101), "NaN", '{"a":9007199254740993}']) {
    const [[verdict, refusal]] = runtime.apply(1, 1, [new TextEncoder().encode(body)]);
    assert.deepEqual([verdict, parsed(refusal).error.code], ["rejected", "bad_command"]);
  }
});

test("timers fire in order and never early", () => {
  const node = new Node();
  const timers = [["b", 20], ["late", 30], ["a", 20], ["moved", 1], ["gone", 5], ["moved", 25]];
  for (const timer of timers) node.send({ set: timer });
  assert.deepEqual(node.send({ cancel: "gone" }), ["accepted", true]);
  assert.deepEqual(node.send({ cancel: "gone" }), ["accepted", false]);
  const { index } = node;
  node.advance(19);
  assert.equal(node.index, index);
  node.advance(81);
  assert.deepEqual(node.fired(), [["a", 20], ["b", 20], ["moved", 25], ["late", 30]]);
  assert.equal(node.index, index + 3);
});

test("one can cancel another that is due, and one that is set again waits", () => {
  const node = new Node();
  for (const id of ["cancel x", "x", "again 1"]) node.send({ set: [id, 10] });
  for (let wakes = 0; wakes < 3; wakes += 1) node.wake();
  const again = ["again 1", 10];
  assert.deepEqual(node.fired(), [again, ["cancel x", 10], again, again]);
});

test("the wake time and timers do not replace each other", () => {
  const node = new Node();
  node.send({ wake: 30 });
  node.send({ set: ["a", 20] });
  node.send({ set: ["b", 40] });
  node.defer(36);
  node.advance(100);
  assert.deepEqual(node.host.events.map(([topic]) => topic), ["timer", "wake", "timer"]);
  assert.equal(node.takeReplies().length, 1);
});

test("a storm takes several wake-ups", () => {
  const runtime = new Runtime(new Mailbox(), new Host());
  const { host } = runtime;
  for (let number = 0; number < 1000; number += 1) {
    runtime.apply(1, START_MS, [bytes({ set: [String(number).padStart(4, "0"), 10] })]);
  }
  const counts = [];
  while (host.wakeMs > 0) {
    host.wakeMs = 0;
    const before = host.events.length;
    runtime.wake(2, START_MS + 10);
    counts.push(host.events.length - before);
  }
  assert.deepEqual(counts, [256, 256, 256, 232]);
  const ids = host.events.map(([, [id]]) => id);
  assert.deepEqual(ids, ids.toSorted());
});

test("a late wake-up is requested again and fires fewer if it seems to fail", () => {
  const runtime = new Runtime(new Mailbox(), new Host());
  const { host } = runtime;
  for (let number = 0; number < 300; number += 1) runtime.apply(1, START_MS, [bytes({ set: [`${number}`, 10] })]);
  for (let batch = 0; batch < 12; batch += 1) {
    host.wakeMs = 0;
    runtime.apply(2, START_MS + 20, [bytes({ put: "x" })]);
    assert.equal(host.wakeMs, START_MS + 10);
  }
  runtime.wake(3, START_MS + 20);
  assert.equal(host.events.length, 1);
  runtime.wake(4, START_MS + 20);
  assert.equal(host.events.length, 257);
});

test("limits", () => {
  const node = new Node();
  assert.equal(node.send({ set: ["x".repeat(257), 1] })[0], "rejected");
  node.send({ set: ["defer", 1] });
  assert.throws(() => node.advance(1), /no command/);
  const runtime = new Runtime(new Mailbox(), new Host());
  for (let token = 0; token < MAX_WAITING; token += 1) runtime.putWaiting(token, 1, new Uint8Array());
  const [[verdict, refusal]] = runtime.apply(1, 1, [bytes({ take: 5 })]);
  assert.deepEqual([verdict, parsed(refusal).error.code], ["rejected", "too_many_waiting"]);
});

test("a snapshot from before keeps the wake time of the host", () => {
  const runtime = new Runtime(new Mailbox(), new Host());
  const { host } = runtime;
  runtime.read(1, bytes([["a"], []]));
  assert.deepEqual(runtime.machine.items, ["a"]);
  runtime.apply(1, START_MS, [bytes({ put: "x" })]);
  assert.equal(host.wakeMs, 0);
  runtime.apply(2, START_MS, [bytes({ set: ["a", 50] })]);
  assert.equal(host.wakeMs, 1);
  runtime.wake(3, START_MS);
  assert.deepEqual(host.events, [["wake", 0]]);
  assert.equal(host.wakeMs, START_MS + 50);
});

/** The WIT interface `callers`: the first command of a batch is of ann, the second of nobody. */
const callers = {
  callerOf(command) {
    if (command === 1) return undefined;
    return { name: `ann ${command}`, scopes: [{ name: "rooms", values: ["a", "b"] }] };
  },
};

/** Replies with the name of the caller, and refuses rooms that it may not use. */
class Door {
  apply(cx, command) {
    const caller = cx.caller();
    if (caller !== null && !caller.mayUse("rooms", command)) throw new Refusal("forbidden", "another room");
    cx.setTimer("t", cx.timeMs);
    return caller && caller.name;
  }

  query(cx) {
    return cx.caller().name;
  }

  onTimer(cx, id) {
    assert.equal(cx.caller(), null);
    cx.emitJson("timer", id);
  }
}

test("each command and query has its own caller, and a timer has none", () => {
  const host = new Host();
  const runtime = new Runtime(new Door(), host, callers);
  const outcomes = runtime.apply(1, START_MS, [bytes("a"), bytes("c"), bytes("c")]);
  assert.deepEqual(
    outcomes.map(([verdict]) => verdict),
    ["accepted", "accepted", "rejected"],
  );
  assert.deepEqual(
    outcomes.slice(0, 2).map(([, body]) => parsed(body)),
    ["ann 0", null],
  );
  assert.equal(parsed(runtime.query(1, START_MS, bytes(0))), "ann 0");
  runtime.wake(2, START_MS);
  assert.deepEqual(host.events, [["timer", "t"]]);
});

test("a scope limits its values", () => {
  const ann = new Caller("ann", new Map([["rooms", ["a"]]]));
  assert(ann.mayUse("rooms", "a") && ann.mayUse("floors", "b") && !ann.mayUse("rooms", "b"));
});

test("without the interface the reason is clear", () => {
  assert.throws(() => new Runtime(new Door(), new Host()).apply(1, START_MS, [bytes("a")]), /pass `callers`/);
});
