// Commands and refusals in JSON, in the shape that all example guests speak.

/** Words for a command that is refused: a code for programs, a message for people, the field that is to blame. */
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

/** A number as it was written: a Number would lose what is past 53 bits, and whether it had a point. */
class Digits {
  constructor(text) {
    this.text = text;
  }
}

// How deep arrays and objects may be in each other. The engine recurses over what it reads, and that takes fuel and stack.
const DEEPEST = 100;
const STRING_OR_BRACKET = /"[^"\\]*(?:\\.[^"\\]*)*"|[[\]{}]/g;

function refuseTooDeep(text) {
  let depth = 0;
  for (const [found] of text.matchAll(STRING_OR_BRACKET)) {
    if (found === "[" || found === "{") depth += 1;
    if (found === "]" || found === "}") depth -= 1;
    if (depth > DEEPEST) throw new SyntaxError(`it is more than ${DEEPEST} levels deep`);
  }
}

/** Reads JSON. Objects come as maps; of a field that is there twice `JSON.parse` keeps the last. */
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

/** The name and the content of a message such as `{"add":{"by":5}}`; `known` says which fields each has. */
export function onlyField(value, what, known) {
  const refuse = (message, field) => {
    throw new Refusal(`bad_${what}`, message, field);
  };
  if (!(value instanceof Map) || value.size !== 1) {
    refuse(`a ${what} is an object with one field: its name`);
  }
  const [[name, content]] = value;
  if (!Object.hasOwn(known, name)) {
    refuse(`there is no ${what} \`${name}\`; known are ${Object.keys(known).join(", ")}`, name);
  }
  if (!(content instanceof Map)) refuse(`the content of \`${name}\` is an object`, name);
  for (const field of content.keys()) {
    if (!known[name].includes(field)) refuse(`\`${name}\` has no field \`${field}\``, field);
  }
  for (const field of known[name]) {
    if (!content.has(field)) refuse(`\`${name}\` lacks the field \`${field}\``, field);
  }
  return [name, content];
}

const WHOLE = /^-?[0-9]{1,19}$/;

export function wholeNumber(value, field) {
  const number = value instanceof Digits && WHOLE.test(value.text) ? BigInt(value.text) : null;
  if (number === null || BigInt.asIntN(64, number) !== number) {
    throw new Refusal("bad_command", `\`${field}\` is a whole number of 64 bits`, field);
  }
  return number;
}
