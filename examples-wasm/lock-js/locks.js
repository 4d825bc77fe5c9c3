// The lock service of `examples-wasm/lock`, in JavaScript, with the same commands and replies.
//
//     {"acquire":{"lock":"orders","owner":"a","lease_ms":10000,"wait_ms":30000}}
//     {"renew":{"lock":"orders","fence":1,"lease_ms":10000}}
//     {"release":{"lock":"orders","fence":1}}
//     {"get":{"lock":"orders"}}   (query)

import { Refusal } from "./oarlock.js";

const utf8 = new TextEncoder();
/** Longest lease and longest wait, in milliseconds: a day. */
const MAX_MS = 24 * 60 * 60 * 1000;
/** Each command and query with its fields: the least and most that a number may be, or bytes that a name may have. */
const NAME = ["string", 1, 200];
const FENCE = ["number", 0, Number.MAX_SAFE_INTEGER];
const LEASE = ["number", 1, MAX_MS];
const COMMANDS = {
  acquire: { lock: NAME, owner: NAME, lease_ms: LEASE, wait_ms: ["number", 0, MAX_MS] },
  renew: { lock: NAME, fence: FENCE, lease_ms: LEASE },
  release: { lock: NAME, fence: FENCE },
};
const QUERIES = { get: { lock: NAME } };

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** The name and the fields of a message, all of them checked. */
function parsed(message, what, known) {
  const refuse = (text, field) => {
    throw new Refusal(`bad_${what}`, text, field);
  };
  if (!isObject(message) || Object.keys(message).length !== 1) {
    refuse(`a ${what} must be an object with one key: its name`);
  }
  const [[name, content]] = Object.entries(message);
  if (!Object.hasOwn(known, name)) {
    refuse(`there is no ${what} \`${name}\`; known are ${Object.keys(known).join(", ")}`, name);
  }
  if (!isObject(content)) refuse(`the content of \`${name}\` must be an object`, name);
  for (const field of [...Object.keys(content), ...Object.keys(known[name])]) {
    if (!Object.hasOwn(known[name], field) || !Object.hasOwn(content, field)) {
      refuse(`the fields of \`${name}\` are ${Object.keys(known[name]).join(", ")}`, field);
    }
  }
  for (const [field, [kind, least, most]] of Object.entries(known[name])) {
    const value = content[field];
    if (typeof value !== kind || (kind === "number" && !Number.isInteger(value))) {
      refuse(`\`${field}\` must be ${kind === "string" ? "a text" : "an integer"}`, field);
    }
    const size = kind === "string" ? utf8.encode(value).length : value;
    if (size < least || size > most) {
      const unit = kind === "string" ? "bytes" : "as its value";
      throw new Refusal("out_of_range", `\`${field}\` must have ${least} to ${most} ${unit}, not ${size}`, field);
    }
  }
  return [name, content];
}

/** The state and its commands. */
export class Locks {
  /** By name: `owner`, `fence`, `until_ms`, and the `queue` of those who wait: `[token, owner, leaseMs]`. */
  held = new Map();
  /** The lock for which a deferred `acquire` waits. */
  waiting = new Map();
  lastFence = 0;

  apply(cx, command) {
    const [name, fields] = parsed(command, "command", COMMANDS);
    const { lock } = fields;
    if (name === "acquire") return this.acquire(cx, fields);
    const held = this.heldWith(cx, lock, fields.fence);
    if (name === "renew") return this.extend(cx, lock, held, fields.lease_ms);
    this.passOn(cx, lock);
    return { released: {} };
  }

  query(cx, query) {
    const [, { lock }] = parsed(query, "query", QUERIES);
    const held = this.held.get(lock);
    if (held === undefined) return { lease: null, waiting: 0 };
    const { owner, fence, until_ms, queue } = held;
    return { lease: { owner, fence, until_ms }, waiting: queue.length };
  }

  /** The lease of a lock has ended. */
  onTimer(cx, lock) {
    this.passOn(cx, lock);
  }

  /** An `acquire` has waited long enough. */
  onDeadline(cx, token) {
    const held = this.held.get(this.waiting.get(token));
    this.waiting.delete(token);
    if (held !== undefined) held.queue = held.queue.filter(([waiting]) => waiting !== token);
  }

  acquire(cx, { lock, owner, lease_ms, wait_ms }) {
    const held = this.held.get(lock);
    if (held === undefined) {
      if (cx.memoryIsLow()) throw new Refusal("memory_is_low", "the memory is low; release locks first");
      const taken = { owner, fence: this.lastFence + 1, until_ms: 0, queue: [] };
      const reply = this.extend(cx, lock, taken, lease_ms);
      this.held.set(lock, taken);
      this.lastFence = taken.fence;
      return reply;
    }
    if (held.owner === owner && cx.timeMs < held.until_ms) return this.extend(cx, lock, held, lease_ms);
    if (wait_ms > 0) {
      const token = cx.defer(cx.timeMs + wait_ms);
      held.queue.push([token, owner, lease_ms]);
      this.waiting.set(token, lock);
    }
    // The reply now, or at the deadline.
    return { timed_out: {} };
  }

  /** The lock with this fence, if its lease has not ended. */
  heldWith(cx, lock, fence) {
    const held = this.held.get(lock);
    if (held === undefined || held.fence !== fence || cx.timeMs >= held.until_ms) {
      throw new Refusal("not_held", `\`${lock}\` is not held with the fence ${fence}; acquire it again`, "fence");
    }
    return held;
  }

  /** Begins or extends a lease. Its timer has the name of the lock. */
  extend(cx, lock, held, leaseMs) {
    const untilMs = cx.timeMs + leaseMs;
    cx.setTimer(lock, untilMs);
    held.until_ms = untilMs;
    return { granted: { fence: held.fence, until_ms: untilMs } };
  }

  /** Gives the lock to the first who waits. Without one, removes it. */
  passOn(cx, lock) {
    cx.cancelTimer(lock);
    const held = this.held.get(lock);
    this.held.delete(lock);
    if (held === undefined || held.queue.length === 0) return;
    const [token, owner, leaseMs] = held.queue.shift();
    this.waiting.delete(token);
    this.lastFence += 1;
    Object.assign(held, { owner, fence: this.lastFence });
    cx.complete(token, this.extend(cx, lock, held, leaseMs));
    this.held.set(lock, held);
  }

  /** The state as bytes, for a snapshot. Sorted, so that they do not depend on the order of the commands. */
  write() {
    const held = [...this.held].sort(([one], [other]) => (one < other ? -1 : 1));
    return utf8.encode(JSON.stringify([held, this.lastFence]));
  }

  /** Replaces the state with the bytes of `write`. */
  read(writtenBy, state) {
    const [held, lastFence] = JSON.parse(new TextDecoder().decode(state));
    this.held = new Map(held);
    this.lastFence = lastFence;
    const waiting = held.flatMap(([lock, { queue }]) => queue.map(([token]) => [token, lock]));
    this.waiting = new Map(waiting);
  }
}
