// Named counters.
//
//     {"add":{"name":"apples","by":5}}   ->  {"value":5}
//     {"get":{"name":"apples"}}          ->  {"value":5}
//
// The state is in the module's memory, as in any program. It can be replicated because `apply` is a function of the state
// and the command alone: no clock but `at.timeMs`, no `Math.random`.

import { Refusal, integer, onlyField, string } from "./messages.js";

// A state that only grows reaches the memory limit of the host.
const MAX_COUNTERS = 100_000;

const MIN = -(2n ** 63n);
const MAX = 2n ** 63n - 1n;

/** The state and its commands. */
export class StateMachine {
  // When the state changes, raise the version, and convert the state of older versions in `read`. Then `oarlock upgrade`
  // replaces the module while the cluster serves clients.
  name = "{{name}}";
  version = 1;

  /** Values by name. A BigInt, because a Number represents only integers of 53 bits. */
  values = new Map();

  /** Executes one command and returns its reply. `at` has `index` and `timeMs` of the log entry, each a BigInt. */
  apply(at, command) {
    const [, content] = onlyField(command, "command", { add: ["name", "by"] });
    const name = string(content.get("name"), "name");
    const by = integer(content.get("by"), "by");
    // Check first, change after: a refused command must not change the state.
    if (!this.values.has(name) && this.values.size >= MAX_COUNTERS) {
      throw new Refusal("full", "there are too many counters", "name");
    }
    const value = (this.values.get(name) ?? 0n) + by;
    if (value < MIN || value > MAX) throw new Refusal("overflow", "the sum is too large", "by");
    this.values.set(name, value);
    return `{"value":${value}}`;
  }

  /** Evaluates a query. Changes nothing. */
  query(at, query) {
    const [, content] = onlyField(query, "query", { get: ["name"] });
    const name = string(content.get("name"), "name", "query");
    return `{"value":${this.values.get(name) ?? 0n}}`;
  }

  /** Called when the time of `wakeAt` has passed. These counters never request that. */
  wake(at) {}

  /** The complete state as text, for a snapshot. Equal states must have equal texts. */
  write() {
    const entries = [...this.values].map(([name, value]) => [name, value.toString()]);
    entries.sort(([a], [b]) => (a < b ? -1 : 1));
    return JSON.stringify(entries);
  }

  /** Replaces the state with the text of `write`. Version `writtenBy` of this guest wrote it. */
  read(writtenBy, state) {
    if (writtenBy > this.version) {
      throw `version ${writtenBy} wrote the state, this is version ${this.version}`;
    }
    this.values = new Map(JSON.parse(state).map(([name, value]) => [name, BigInt(value)]));
  }
}
