// The exports of the world `service`, around the counter of `counter.js`.

import { Counter } from "./counter.js";
import { Refusal, decode } from "./messages.js";

const CHUNK_BYTES = 1 << 20;

const counter = new Counter();
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
        reply = counter.apply(decode(data.subarray(start, end), "command"));
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
    to.write(counter.write());
  },

  restore(writtenBy, from) {
    const chunks = [];
    for (let chunk; (chunk = from.read(CHUNK_BYTES)).length > 0; ) chunks.push(chunk);
    counter.read(joined(chunks));
  },
};

/** Queries. They change nothing and are not in the log. */
export const queries = {
  query(at, request) {
    try {
      return utf8.encode(counter.query(decode(request, "query")));
    } catch (refusal) {
      if (!(refusal instanceof Refusal)) throw refusal;
      throw utf8.encode(refusal.toJson());
    }
  },
};

/** Timers. A counter never requests a wake-up. */
export const timers = {
  wake() {},
};

/** The description of the guest. */
export const about = {
  describe() {
    return { name: "counter", version: 1, codec: "json", schema: "" };
  },
};

/** The layout of the state. Change it together with the bytes of a snapshot, and raise the version. */
export const layout = {
  fingerprint() {
    return "i64-little-endian";
  },
};
