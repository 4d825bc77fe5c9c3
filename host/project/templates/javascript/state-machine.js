// Named counters.
//
//     {"add":{"name":"apples","by":5}}   ->  {"value":5}
//     {"get":{"name":"apples"}}          ->  {"value":5}
//
// The state is in the module's memory, as in any program. It can be replicated because `apply` is a function of the state
// and the command alone: no clock but `cx.timeMs`, no `Math.random`. `oarlock.js` describes what else `cx` can do: events,
// timers, replies that come later.

import { integer, message, text } from "./fields.js";
import { Refusal } from "./oarlock.js";

// A state that only grows reaches the memory limit of the host.
const MAX_COUNTERS = 100_000;

/** The state and its commands. */
export class StateMachine {
  /** Values by name. A Number represents integers of 53 bits. */
  values = new Map();

  /** Executes one command and returns its reply. */
  apply(cx, command) {
    const [, content] = message(command, "command", { add: ["name", "by"] });
    const name = text(content.name, "name");
    const by = integer(content.by, "by");
    // Check first, change after: a refused command must not change the state.
    if (!this.values.has(name) && this.values.size >= MAX_COUNTERS) {
      throw new Refusal("full", "there are too many counters", "name");
    }
    const value = (this.values.get(name) ?? 0) + by;
    if (!Number.isSafeInteger(value)) throw new Refusal("overflow", "the sum is too large", "by");
    this.values.set(name, value);
    return { value };
  }

  /** Evaluates a query. Changes nothing. */
  query(cx, query) {
    const [, content] = message(query, "query", { get: ["name"] });
    const name = text(content.name, "name", "query");
    return { value: this.values.get(name) ?? 0 };
  }

  /** The complete state as bytes, for a snapshot. Equal states must have equal bytes. */
  write() {
    const entries = [...this.values].sort(([a], [b]) => (a < b ? -1 : 1));
    return new TextEncoder().encode(JSON.stringify(entries));
  }

  /** Replaces the state with the bytes of `write` of version `writtenBy` of this guest. */
  read(writtenBy, state) {
    this.values = new Map(JSON.parse(new TextDecoder().decode(state)));
  }
}

/** The types of the messages, for people and for generated clients: `oarlock client`. Change it with the messages. */
export const SCHEMA = JSON.stringify({
  title: "{{name}}",
  type: "object",
  properties: {
    command: {
      type: "object",
      properties: {
        add: {
          description: "Adds to a counter. A new counter is 0.",
          type: "object",
          properties: { name: { type: "string" }, by: { type: "integer" } },
          required: ["name", "by"],
        },
      },
    },
    reply: { type: "object", properties: { add: { $ref: "#/$defs/Value" } } },
    query: {
      type: "object",
      properties: {
        get: {
          description: "The value of a counter.",
          type: "object",
          properties: { name: { type: "string" } },
          required: ["name"],
        },
      },
    },
    response: { type: "object", properties: { get: { $ref: "#/$defs/Value" } } },
    refusal: {
      type: "object",
      properties: {
        error: {
          type: "object",
          properties: { code: { type: "string", enum: ["bad_command", "bad_query", "full", "overflow"] } },
        },
      },
    },
  },
  $defs: {
    Value: { type: "object", properties: { value: { type: "integer" } }, required: ["value"] },
  },
});
