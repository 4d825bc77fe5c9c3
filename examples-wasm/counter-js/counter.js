// The smallest guest, in JavaScript: a number, one command and one query.
//
//     {"add":{"by":5}}   ->  {"value":5}
//     {"get":{}}         ->  {"value":5}
//
// The state is in the module's memory, as in any program. It can be replicated because `apply` is a function of the state
// and the command alone: no clock, no `Math.random`.

import { Refusal, onlyField, integer } from "./messages.js";

const MIN = -(2n ** 63n);
const MAX = 2n ** 63n - 1n;

/** The state and its commands. */
export class Counter {
  /** A BigInt, because a Number represents only integers of 53 bits. */
  value = 0n;

  /** Executes one command and returns its reply. A refused command changes nothing. */
  apply(command) {
    const [, content] = onlyField(command, "command", { add: ["by"] });
    const by = integer(content.get("by"), "by");
    const sum = this.value + by;
    if (sum < MIN || sum > MAX) {
      const message = `${this.value} + ${by} does not fit into 64 bits; the value did not change`;
      throw new Refusal("overflow", message, "by");
    }
    this.value = sum;
    return `{"value":${sum}}`;
  }

  /** Evaluates a query. Changes nothing. */
  query(query) {
    onlyField(query, "query", { get: [] });
    return `{"value":${this.value}}`;
  }

  /** The state as bytes, for a snapshot. */
  write() {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigInt64(0, this.value, true);
    return bytes;
  }

  /** Replaces the state with the bytes of `write`. */
  read(bytes) {
    if (bytes.length !== 8) {
      throw `the state of a counter has 8 bytes, the snapshot has ${bytes.length}`;
    }
    this.value = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigInt64(0, true);
  }
}
