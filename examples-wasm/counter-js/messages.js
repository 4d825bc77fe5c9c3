// Commands and refusals in JSON, in the shape of all example guests.

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

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The text of a number. A Number would lose digits past 53 bits, and the decimal point. */
class Digits {
  constructor(text) {
    this.text = text;
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

/** Decodes JSON. Objects become maps. If a field is repeated, `JSON.parse` keeps the last one. */
export function decode(bytes, what) {
  const code = `bad_${what}`;
  try {
    const text = utf8.decode(bytes);
    refuseTooDeep(text);
    return JSON.parse(text, (_, value, context) => {
      if (typeof value === "number") return new Digits(context.source);
      const isObject = value !== null && Object.getPrototypeOf(value) === Object.prototype;
      return isObject ? new Map(Object.entries(value)) : value;
    });
  } catch (error) {
    throw new Refusal(code, `this is not JSON: ${error.message}`);
  }
}

/** The name and the content of a message such as `{"add":{"by":5}}`. `known` maps each name to its fields. */
export function onlyField(value, what, known) {
  const refuse = (message, field) => {
    throw new Refusal(`bad_${what}`, message, field);
  };
  if (!(value instanceof Map) || value.size !== 1) {
    refuse(`a ${what} must be an object with one key: its name`);
  }
  const [[name, content]] = value;
  if (!Object.hasOwn(known, name)) {
    refuse(`there is no ${what} \`${name}\`; known are ${Object.keys(known).join(", ")}`, name);
  }
  if (!(content instanceof Map)) refuse(`the content of \`${name}\` must be an object`, name);
  for (const field of content.keys()) {
    if (!known[name].includes(field)) refuse(`\`${name}\` has no field \`${field}\``, field);
  }
  for (const field of known[name]) {
    if (!content.has(field)) refuse(`\`${name}\` lacks the field \`${field}\``, field);
  }
  return [name, content];
}

const INTEGER = /^-?[0-9]{1,19}$/;

export function integer(value, field) {
  const number = value instanceof Digits && INTEGER.test(value.text) ? BigInt(value.text) : null;
  if (number === null || BigInt.asIntN(64, number) !== number) {
    throw new Refusal("bad_command", `\`${field}\` must be a 64-bit integer`, field);
  }
  return number;
}
