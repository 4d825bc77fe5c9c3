// Checks of the fields of commands and queries.

import { Refusal } from "./oarlock.js";

function isObject(value) {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

/** The name and the content of a message such as `{"add":{"by":5}}`. `known` maps each name to its fields. */
export function message(value, what, known) {
  const refuse = (message, field) => {
    throw new Refusal(`bad_${what}`, message, field);
  };
  const names = isObject(value) ? Object.keys(value) : [];
  if (names.length !== 1) refuse(`a ${what} must be an object with one key: its name`);
  const [name] = names;
  if (!Object.hasOwn(known, name)) {
    refuse(`there is no ${what} \`${name}\`; known are ${Object.keys(known).join(", ")}`, name);
  }
  const content = value[name];
  if (!isObject(content)) refuse(`the content of \`${name}\` must be an object`, name);
  for (const field of [...Object.keys(content), ...known[name]]) {
    if (!known[name].includes(field) || !Object.hasOwn(content, field)) {
      refuse(`the fields of \`${name}\` are ${known[name].join(", ")}`, field);
    }
  }
  return [name, content];
}

export function integer(value, field, what = "command") {
  if (!Number.isSafeInteger(value)) {
    throw new Refusal(`bad_${what}`, `\`${field}\` must be an integer of at most 53 bits`, field);
  }
  return value;
}

export function text(value, field, what = "command") {
  if (typeof value !== "string") {
    throw new Refusal(`bad_${what}`, `\`${field}\` must be a text`, field);
  }
  return value;
}
