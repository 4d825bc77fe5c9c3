// A guest in JavaScript: commands in JSON, timers, deferred replies, snapshots.
//
// Copy this file next to your own. A state machine is an object with these methods; those marked * are optional:
//
//     apply(cx, command)       executes a command and returns its reply, or throws a `Refusal` and changes nothing
//     query(cx, query)         evaluates a query, or throws a `Refusal`; changes nothing
//     write()                  the state for a snapshot, as a Uint8Array: equal bytes for equal states
//     read(writtenBy, state)   replaces the state by the bytes that `write` of that version of the guest returned; throws an
//                              Error for others. The version is 0 if it is unknown
//     onTimer(cx, id)        * a timer that `cx.setTimer` set is due
//     onDeadline(cx, token)  * the deadline of a deferred command has passed, its reply is sent next
//     onWake(cx)             * the time that `cx.wakeAt` set is reached
//
// Commands, queries and replies are what `JSON.parse` returns and `JSON.stringify` takes. The main module exports the machine:
//
//     import * as host from "oarlock:state-machine/host@0.1.0";
//     import { guest } from "./oarlock.js";
//     import { Locks } from "./locks.js";
//
//     export const { machine, queries, timers, about, layout } = guest(new Locks(), host, {
//       name: "locks",
//       version: 1,
//       layout: "locks-js:1",
//     });
//
// A guest that asks for the caller of a command (`cx.caller()`) passes the interface `callers` as well:
//
//     import * as callers from "oarlock:state-machine/callers@0.1.0";
//     export const … = guest(new Locks(), host, { …, callers });
//
// Change `layout` whenever the bytes of `write` change their meaning, and raise the version then. Timers and deferred commands
// are part of the state: they are in each snapshot, and a refused command leaves none. Times are milliseconds since 1970-01-01
// UTC, as the log has them (`cx.timeMs`). The rules are those of the Rust SDK, `oarlock-guest`.

// Limits, as in the Rust SDK.
const MAX_TIMERS = 1_000_000;
const MAX_ID_BYTES = 256;
export const MAX_WAITING = 100_000;
const MAX_KEPT_BYTES = 16 << 20;
const MAX_KEPT_REPLY_BYTES = 64 << 10;
const FIRINGS_PER_WAKE = 256;
const MAX_WAKE_EFFECTS = 256;
const MAX_WAKE_BYTES = 256 << 10;

const CHUNK_BYTES = 1 << 20;
/** The state is from before this file was used, so the host may have a wake time that is not known here. */
const UNKNOWN = -1;
/** In the order in which they fire if times are equal. */
const [WAKE, TIMER, DEADLINE] = [0, 1, 2];

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const MAGIC = encoder.encode("OARLOCKJ\x01\x00\x00\x00");

/** A refusal: a code for programs, a message for people, and the field that is wrong. */
export class Refusal extends Error {
  constructor(code, message, field) {
    super(message);
    this.code = code;
    this.field = field;
  }

  toJson() {
    const { code, message, field } = this;
    return JSON.stringify({ error: { code, message, field } });
  }
}

// Deepest nesting of arrays and objects. The engine's parser recurses, which uses fuel and stack.
const MAX_DEPTH = 100;
const STRING_OR_BRACKET = /"[^"\\]*(?:\\.[^"\\]*)*"|[[\]{}]/g;

function refuseTooDeep(text) {
  let depth = 0;
  for (const [found] of text.matchAll(STRING_OR_BRACKET)) {
    if (found === "[" || found === "{") depth += 1;
    if (found === "]" || found === "}") depth -= 1;
    if (depth > MAX_DEPTH) throw new SyntaxError(`the nesting exceeds ${MAX_DEPTH} levels`);
  }
}

/** Decodes JSON. Integers past 53 bits are refused, because a Number would lose digits. */
export function decode(bytes, what) {
  try {
    const text = decoder.decode(bytes);
    refuseTooDeep(text);
    return JSON.parse(text, (key, value) => {
      if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
        throw new RangeError(`the number of \`${key}\` has more than 53 bits`);
      }
      return value;
    });
  } catch (error) {
    throw new Refusal(`bad_${what}`, `this is not JSON: ${error.message}`);
  }
}

export function encode(value) {
  return encoder.encode(JSON.stringify(value));
}

/** Who has sent a command or a query: the owner of a certificate or of a token. */
export class Caller {
  /**
   * `name`: a certificate of a node has `node/` and the id of the node. `scopes`: the values of each scope of a token
   * (`oarlock token create NAME --scope queues=a,b`), as a Map from its name to an array.
   */
  constructor(name, scopes = new Map()) {
    this.name = name;
    this.scopes = scopes;
  }

  /** Whether the caller is not limited in the scope, or the value is in it. */
  mayUse(scope, value) {
    return this.scopes.get(scope)?.includes(value) ?? true;
  }
}

/** What a machine can see and do besides changing its own state. Valid during one call. */
class Context {
  #runtime;
  #command;
  #undo = [];
  #events = [];
  #replies = [];
  #deadlineMs = 0;
  #isComplete = false;
  /** The token of this command, if it is deferred. */
  deferred = null;

  /** `command`: its position in the batch, `null` in a wake-up. */
  constructor(runtime, index, timeMs, command) {
    this.#runtime = runtime;
    this.#command = command;
    this.index = index;
    this.timeMs = timeMs;
  }

  /**
   * Who has sent this command: a `Caller`. Equal on every node. Each call asks the host, so keep the result.
   *
   * `null` if the nodes don't authenticate (no `--certs-dir`), in `onWake`, `onTimer` and `onDeadline`, and in a cluster at
   * level 0.
   */
  caller() {
    return this.#command === null ? null : this.#runtime.callerOf(this.#command);
  }

  /** Pseudo-random bytes, equal on every node. No secrets: who can read the log can compute them. */
  random(length) {
    return this.#runtime.host.random(length);
  }

  /** Whether to refuse commands that add state. Equal on every node. */
  memoryIsLow() {
    return this.#runtime.host.memoryPressure();
  }

  /** The longest reply, in bytes. Equal on every node. */
  replyLimit() {
    return Number(this.#runtime.host.replyLimit());
  }

  /** Publishes an event (topic, bytes) when the command is accepted. Clients read it at `GET /v1/events`. */
  emit(topic, payload) {
    this.#events.push([topic, payload]);
  }

  /** Publishes an event whose payload is a value as JSON. */
  emitJson(topic, payload) {
    this.emit(topic, encode(payload));
  }

  /** Requests a call of `onWake` at or after this time. There is one such time; 0 clears it. */
  wakeAt(timeMs) {
    const runtime = this.#runtime;
    const before = runtime.wakeMs;
    this.#undo.push(() => (runtime.wakeMs = before));
    runtime.wakeMs = timeMs;
  }

  /**
   * Sets the timer `id`, or replaces it: `onTimer` is called once, at or after this time, never before it. Timers fire in the
   * order of their times, and of their ids if the times are equal. Throws a `Refusal` past the limits.
   */
  setTimer(id, atMs) {
    const runtime = this.#runtime;
    const before = runtime.timers.get(id);
    if (before === undefined) {
      if (encoder.encode(id).length > MAX_ID_BYTES) {
        throw new Refusal("timer_id_too_long", `a timer's id may have ${MAX_ID_BYTES} bytes`);
      }
      if (runtime.timers.size >= MAX_TIMERS) {
        throw new Refusal("too_many_timers", `${MAX_TIMERS} timers are set, which is the limit`);
      }
    }
    this.#undo.push(() => runtime.resetTimer(id, before));
    runtime.putTimer(id, atMs);
  }

  /** Cancels a timer. Returns whether it was set. */
  cancelTimer(id) {
    const runtime = this.#runtime;
    const before = runtime.timers.get(id);
    if (before === undefined) return false;
    this.#undo.push(() => runtime.resetTimer(id, before));
    return runtime.timers.delete(id);
  }

  /** The time at which a timer fires, or `undefined`. */
  timerMs(id) {
    return this.#runtime.timers.get(id);
  }

  /**
   * Defers the reply to this command. Returns a token, for `complete` or `refuse` in this command or a later one.
   *
   * What `apply` then returns is the reply at the deadline, if nothing completed the command before. Call it before you change
   * the state: it throws a `Refusal` if too many commands wait.
   */
  defer(deadlineMs) {
    if (this.#command === null) {
      throw new Error("`defer` was called where there is no command; call it in `apply`");
    }
    this.#deadlineMs = deadlineMs;
    if (this.deferred === null) {
      const runtime = this.#runtime;
      if (runtime.waiting.size >= MAX_WAITING || runtime.keptBytes >= MAX_KEPT_BYTES) {
        const message = `${runtime.waiting.size} commands wait, which is the limit; try again later`;
        throw new Refusal("too_many_waiting", message);
      }
      const before = runtime.lastToken;
      this.#undo.push(() => (runtime.lastToken = before));
      runtime.lastToken = Math.max(this.index * 65_536, before + 1);
      this.deferred = runtime.lastToken;
    }
    return this.deferred;
  }

  /** Whether a deferred command has no reply yet. */
  isWaiting(token) {
    return token === this.deferred ? !this.#isComplete : this.#runtime.waiting.has(token);
  }

  /** Completes a deferred command with a reply. False, and nothing happens, if it does not wait. */
  complete(token, reply) {
    return this.#finish(token, true, () => encode(reply));
  }

  /** Completes a deferred command with a refusal. What it changed before stays. */
  refuse(token, refusal) {
    return this.#finish(token, false, () => encoder.encode(refusal.toJson()));
  }

  #finish(token, accepted, body) {
    if (!this.isWaiting(token)) return false;
    this.#replies.push([token, accepted, body()]);
    if (token === this.deferred) {
      this.#isComplete = true;
    } else {
      const runtime = this.#runtime;
      const before = runtime.takeWaiting(token);
      this.#undo.push(() => runtime.putWaiting(token, before.deadlineMs, before.reply));
    }
    return true;
  }

  /** For the runtime: the deadline has passed. */
  expire(token) {
    if (this.#runtime.waiting.has(token)) {
      this.#replies.push([token, true, this.#runtime.takeWaiting(token).reply]);
    }
  }

  /** For the runtime: passes events and replies to the host, and keeps the reply of a deferred command. */
  commit(reply) {
    const { host } = this.#runtime;
    if (this.deferred !== null && !this.#isComplete) {
      this.#runtime.putWaiting(this.deferred, this.#deadlineMs, reply);
    }
    let bytes = 0;
    for (const [topic, payload] of this.#events) {
      host.emit(topic, payload);
      bytes += topic.length + payload.length;
    }
    for (const [token, accepted, body] of this.#replies) {
      host.complete(BigInt(token), accepted, body);
      bytes += body.length;
    }
    return { count: this.#events.length + this.#replies.length, bytes };
  }

  /** For the runtime: the command is refused. */
  rollBack() {
    while (this.#undo.length > 0) this.#undo.pop()();
  }
}

/** A binary heap of entries `[atMs, kind, id]`. */
class Heap {
  items = [];

  push(entry) {
    const { items } = this;
    let at = items.push(entry) - 1;
    for (let up; at > 0 && isBefore(items[at], items[(up = (at - 1) >> 1)]); at = up) this.#swap(at, up);
  }

  pop() {
    const { items } = this;
    const [first] = items;
    const last = items.pop();
    if (items.length > 0) {
      items[0] = last;
      for (let at = 0; ; ) {
        let least = at;
        for (const down of [2 * at + 1, 2 * at + 2]) {
          if (down < items.length && isBefore(items[down], items[least])) least = down;
        }
        if (least === at) break;
        this.#swap(at, least);
        at = least;
      }
    }
    return first;
  }

  #swap(one, other) {
    const { items } = this;
    [items[one], items[other]] = [items[other], items[one]];
  }
}

function isBefore([oneMs, oneKind, one], [otherMs, otherKind, other]) {
  if (oneMs !== otherMs) return oneMs < otherMs;
  return oneKind !== otherKind ? oneKind < otherKind : one < other;
}

/** What a query can see: the position of the last applied entry. */
class ReadContext {
  #runtime;

  constructor(runtime, index, timeMs) {
    this.#runtime = runtime;
    this.index = index;
    this.timeMs = timeMs;
  }

  /** Who has sent this query. `null` if the nodes don't authenticate (no `--certs-dir`). */
  caller() {
    return this.#runtime.callerOf(0);
  }
}

/**
 * A state machine, its timers and its deferred commands. `host` and `callers` have the functions of these WIT interfaces.
 * Without `callers`, `caller` throws.
 */
export class Runtime {
  #heap = new Heap();

  constructor(machine, host, callers) {
    this.machine = machine;
    this.host = host;
    this.callers = callers;
    this.#clear();
  }

  #clear() {
    this.wakeMs = 0;
    this.overdueBatches = 0;
    this.lastToken = 0;
    this.timers = new Map();
    this.waiting = new Map();
    this.keptBytes = 0;
    this.#heap = new Heap();
  }

  putTimer(id, atMs) {
    this.timers.set(id, atMs);
    this.#push([atMs, TIMER, id]);
  }

  resetTimer(id, before) {
    if (before === undefined) this.timers.delete(id);
    else this.putTimer(id, before);
  }

  putWaiting(token, deadlineMs, reply) {
    this.waiting.set(token, { deadlineMs, reply });
    this.keptBytes += reply.length;
    this.#push([deadlineMs, DEADLINE, token]);
  }

  takeWaiting(token) {
    const deferral = this.waiting.get(token);
    this.waiting.delete(token);
    this.keptBytes -= deferral.reply.length;
    return deferral;
  }

  /** Timers and deadlines by time. Some are no longer valid; `timers` and `waiting` decide. */
  #push(entry) {
    if (this.#heap.items.length > 2 * (this.timers.size + this.waiting.size) + 64) {
      this.#heap = new Heap();
      for (const [id, atMs] of this.timers) this.#heap.push([atMs, TIMER, id]);
      for (const [token, { deadlineMs }] of this.waiting) this.#heap.push([deadlineMs, DEADLINE, token]);
      return;
    }
    this.#heap.push(entry);
  }

  #isValid([atMs, kind, id]) {
    return (kind === TIMER ? this.timers.get(id) : this.waiting.get(id)?.deadlineMs) === atMs;
  }

  #first() {
    const { items } = this.#heap;
    while (items.length > 0 && !this.#isValid(items[0])) this.#heap.pop();
    return items[0];
  }

  /** What the wake time of the host must be: 0 for none, `null` if what the host has is right. */
  #slot() {
    const first = this.#first();
    if (this.wakeMs === UNKNOWN) return first === undefined ? null : 1;
    const firstMs = first === undefined ? 0 : Math.max(first[0], 1);
    return this.wakeMs > 0 && firstMs > 0 ? Math.min(this.wakeMs, firstMs) : this.wakeMs || firstMs;
  }

  /** For the contexts. */
  callerOf(command) {
    if (this.callers === undefined) {
      throw new Error('pass `callers` to `guest`: import * as callers from "oarlock:state-machine/callers@0.1.0"');
    }
    const caller = this.callers.callerOf(command);
    if (caller === undefined || caller === null) return null;
    return new Caller(caller.name, new Map(caller.scopes.map(({ name, values }) => [name, values])));
  }

  /** Applies the commands of one entry. Returns the verdict and the bytes of each. */
  apply(index, timeMs, commands) {
    const before = this.#slot();
    const outcomes = commands.map((command, number) => this.#applyOne(new Context(this, index, timeMs, number), command));
    if (outcomes.some(([verdict]) => verdict !== "rejected")) {
      const after = this.#slot();
      // A wake-up is on its way, or it failed and the host does not repeat it.
      const isOverdue = after !== null && after > 0 && after <= timeMs;
      if (isOverdue && after === before) this.overdueBatches = Math.min(this.overdueBatches + 1, 255);
      if (after !== null && (isOverdue || after !== before)) this.host.wakeAt(BigInt(after));
    }
    return outcomes;
  }

  #applyOne(cx, command) {
    let reply;
    try {
      reply = encode(this.machine.apply(cx, decode(command, "command")));
    } catch (refusal) {
      if (!(refusal instanceof Refusal)) throw refusal;
      cx.rollBack();
      return ["rejected", encoder.encode(refusal.toJson())];
    }
    if (cx.deferred === null) {
      cx.commit();
      return ["accepted", reply];
    }
    if (reply.length > MAX_KEPT_REPLY_BYTES) {
      throw new Error(`the reply of a deferred command at its deadline has ${reply.length} bytes; return a smaller one`);
    }
    cx.commit(reply);
    const token = new Uint8Array(8);
    new DataView(token.buffer).setBigUint64(0, BigInt(cx.deferred), true);
    return ["deferred", token];
  }

  /** A wake-up: calls the methods for all that is due, up to the limits of one wake-up. */
  wake(index, timeMs) {
    let [effects, size] = [0, 0];
    for (const entry of this.#due(timeMs)) {
      if (effects >= MAX_WAKE_EFFECTS || size >= MAX_WAKE_BYTES) break;
      const [atMs, kind, id] = entry;
      const cx = new Context(this, index, timeMs, null);
      if (kind === WAKE) {
        if (this.wakeMs !== atMs && this.wakeMs !== UNKNOWN) continue;
        this.wakeMs = 0;
        this.machine.onWake?.(cx);
      } else if (!this.#isValid(entry)) {
        continue;
      } else if (kind === TIMER) {
        this.timers.delete(id);
        this.machine.onTimer?.(cx, id);
      } else {
        this.machine.onDeadline?.(cx, id);
        cx.expire(id);
      }
      const { count, bytes } = cx.commit();
      effects += count;
      size += bytes;
    }
    this.overdueBatches = 0;
    const slot = this.#slot();
    if (slot) this.host.wakeAt(BigInt(slot));
  }

  /** What is due, in order. What is set from now on waits for the next wake-up. */
  #due(nowMs) {
    const limit = FIRINGS_PER_WAKE >> Math.min(Math.max(this.overdueBatches - 3, 0), 8);
    const due = [];
    for (let first; due.length < limit && (first = this.#first()) !== undefined && first[0] <= nowMs; ) {
      this.#heap.pop();
      const last = due.at(-1);
      if (last === undefined || isBefore(last, first)) due.push(first);
    }
    for (const entry of due) this.#heap.push(entry);
    if (this.wakeMs === UNKNOWN || (this.wakeMs > 0 && this.wakeMs <= nowMs)) {
      const wake = [Math.max(this.wakeMs, 0), WAKE, ""];
      const at = due.findIndex((entry) => isBefore(wake, entry));
      due.splice(at < 0 ? due.length : at, 0, wake);
    }
    return due.slice(0, limit);
  }

  /** Evaluates a query. Throws a `Refusal`. */
  query(index, timeMs, request) {
    return encode(this.machine.query(new ReadContext(this, index, timeMs), decode(request, "query")));
  }

  /** The snapshot: timers and deferred commands, if there was ever one, then the state. */
  write() {
    const timers = [...this.timers].sort(([one], [other]) => (one < other ? -1 : 1));
    const waiting = [...this.waiting]
      .sort(([one], [other]) => one - other)
      .map(([token, { deadlineMs, reply }]) => [token, deadlineMs, decoder.decode(reply)]);
    const runtime = JSON.stringify([this.wakeMs, this.overdueBatches, this.lastToken, timers, waiting]);
    const section = encoder.encode(runtime === "[0,0,0,[],[]]" ? "" : runtime);
    const length = new Uint8Array(4);
    new DataView(length.buffer).setUint32(0, section.length, true);
    return joined([MAGIC, length, section, this.machine.write()]);
  }

  /**
   * Replaces state, timers and deferred commands by those of a snapshot. A snapshot from before this file was used is the
   * state alone.
   */
  read(writtenBy, snapshot) {
    const start = MAGIC.length + 4;
    if (snapshot.length < start || MAGIC.some((byte, at) => snapshot[at] !== byte)) {
      this.machine.read(writtenBy, snapshot);
      this.#clear();
      this.wakeMs = UNKNOWN;
      return;
    }
    const view = new DataView(snapshot.buffer, snapshot.byteOffset, snapshot.length);
    const end = start + view.getUint32(MAGIC.length, true);
    if (end > snapshot.length) throw new Error("the snapshot is truncated; fetch it again");
    const section = decoder.decode(snapshot.subarray(start, end)) || "[0,0,0,[],[]]";
    const [wakeMs, overdueBatches, lastToken, timers, waiting] = JSON.parse(section);
    this.machine.read(writtenBy, snapshot.slice(end));
    this.#clear();
    Object.assign(this, { wakeMs, overdueBatches, lastToken });
    for (const [id, atMs] of timers) this.putTimer(id, atMs);
    for (const [token, deadlineMs, reply] of waiting) this.putWaiting(token, deadlineMs, encoder.encode(reply));
  }
}

/** Concatenates byte arrays. */
function joined(parts) {
  const bytes = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let end = 0;
  for (const part of parts) {
    bytes.set(part, end);
    end += part.length;
  }
  return bytes;
}

/**
 * An exception that is no refusal fails the call. The engine prints its message and stack, and the error of the client
 * quotes them; so the message gets the type.
 */
function withType(error) {
  if (error instanceof Error) error.message = `${error.name}: ${error.message}`;
  return error;
}

function typed(call) {
  try {
    return call();
  } catch (error) {
    throw withType(error);
  }
}

/** The exports of the world `service`, around a state machine. */
export function guest(stateMachine, host, { name, version, layout, schema = "", callers }) {
  const runtime = new Runtime(stateMachine, host, callers);
  return {
    machine: {
      apply({ index, timeMs }, { data, ends }) {
        const commands = Array.from(ends, (end, at) => data.subarray(at > 0 ? ends[at - 1] : 0, end));
        const outcomes = typed(() => runtime.apply(Number(index), Number(timeMs), commands));
        let length = 0;
        const offsets = outcomes.map(([, body]) => (length += body.length));
        return {
          verdicts: outcomes.map(([verdict]) => verdict),
          data: joined(outcomes.map(([, body]) => body)),
          ends: new Uint32Array(offsets),
        };
      },
      snapshot(to) {
        const snapshot = runtime.write();
        for (let start = 0; start < snapshot.length; start += CHUNK_BYTES) {
          to.write(snapshot.subarray(start, start + CHUNK_BYTES));
        }
      },
      restore(writtenBy, from) {
        const chunks = [];
        for (let chunk; (chunk = from.read(CHUNK_BYTES)).length > 0; ) chunks.push(chunk);
        try {
          runtime.read(writtenBy, joined(chunks));
        } catch (error) {
          throw error instanceof Error ? error.message : error;
        }
      },
    },
    queries: {
      query({ index, timeMs }, request) {
        try {
          return runtime.query(Number(index), Number(timeMs), request);
        } catch (refusal) {
          if (!(refusal instanceof Refusal)) throw withType(refusal);
          throw encoder.encode(refusal.toJson());
        }
      },
    },
    timers: {
      wake({ index, timeMs }) {
        typed(() => runtime.wake(Number(index), Number(timeMs)));
      },
    },
    about: {
      describe: () => ({ name, version, codec: "json", schema }),
    },
    layout: {
      fingerprint: () => layout,
    },
  };
}
