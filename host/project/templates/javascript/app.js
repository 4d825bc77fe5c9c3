// The exports of the world `service`, around `StateMachine` of `state-machine.js`. There is nothing to change here.

import { Refusal, decode } from "./messages.js";
import { StateMachine } from "./state-machine.js";

const CHUNK_BYTES = 1 << 20;

const stateMachine = new StateMachine();
const utf8 = new TextEncoder();

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

/** The state machine. Every guest exports it. */
export const machine = {
  apply(at, { data, ends }) {
    const verdicts = [];
    const replies = [];
    const offsets = [];
    let start = 0;
    let length = 0;
    for (const end of ends) {
      let reply;
      try {
        reply = stateMachine.apply(at, decode(data.subarray(start, end), "command"));
        verdicts.push("accepted");
      } catch (refusal) {
        if (!(refusal instanceof Refusal)) throw refusal;
        reply = refusal.toJson();
        verdicts.push("rejected");
      }
      const bytes = utf8.encode(reply);
      replies.push(bytes);
      length += bytes.length;
      offsets.push(length);
      start = end;
    }
    return { verdicts, data: joined(replies), ends: new Uint32Array(offsets) };
  },

  snapshot(to) {
    const state = utf8.encode(stateMachine.write());
    for (let start = 0; start < state.length; start += CHUNK_BYTES) {
      to.write(state.subarray(start, start + CHUNK_BYTES));
    }
  },

  restore(writtenBy, from) {
    const chunks = [];
    for (let chunk; (chunk = from.read(CHUNK_BYTES)).length > 0; ) chunks.push(chunk);
    stateMachine.read(writtenBy, new TextDecoder().decode(joined(chunks)));
  },
};

/** Queries. They change nothing and are not in the log. */
export const queries = {
  query(at, request) {
    try {
      return utf8.encode(stateMachine.query(at, decode(request, "query")));
    } catch (refusal) {
      if (!(refusal instanceof Refusal)) throw refusal;
      throw utf8.encode(refusal.toJson());
    }
  },
};

/** Timers. */
export const timers = {
  wake(at) {
    stateMachine.wake(at);
  },
};

/** The description of the guest. */
export const about = {
  describe() {
    return { name: stateMachine.name, version: stateMachine.version, codec: "json", schema: "" };
  },
};
