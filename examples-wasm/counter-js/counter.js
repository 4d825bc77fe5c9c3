// The smallest guest, in JavaScript: a number, one command and one query.
//
//     {"add":{"by":5}}   ->  {"value":5}
//     {"get":{}}         ->  {"value":5}
//
// The state is in the module's memory, as in any program. What makes it a replicated one is that `apply` is a function
// of the state and the command alone: no clock, no `Math.random`.

import { Refusal, onlyField, wholeNumber } from "./messages.js";

const MIN = -(2n ** 63n);
const MAX = 2n ** 63n - 1n;

/** The state, and what changes it. */
export class Counter {
  /** A BigInt: a Number holds whole numbers of 53 bits, and these have 64. */
  value = 0n;

  /** Carries out one command and gives its reply. A command that is refused has changed nothing. */
  apply(command) {
    const [, content] = onlyField(command, "command", { add: ["by"] });
    const by = wholeNumber(content.get("by"), "by");
    const sum = this.value + by;
    if (sum < MIN || sum > MAX) {
      const message = `${this.value} and ${by} make more than 64 bits hold; the value stays`;
      throw new Refusal("overflow", message, "by");
    }
    this.value = sum;
    return `{"value":${sum}}`;
  }

  /** Answers a question, and changes nothing. */
  query(question) {
    onlyField(question, "query", { get: [] });
    return `{"value":${this.value}}`;
  }

  /** The state as bytes: what a snapshot holds. */
  write() {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigInt64(0, this.value, true);
    return bytes;
  }

  /** Replaces the state by what `write` gave. */
  read(bytes) {
    if (bytes.length !== 8) {
      throw `the state of a counter has 8 bytes, and these are ${bytes.length}`;
    }
    this.value = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigInt64(0, true);
  }
}
