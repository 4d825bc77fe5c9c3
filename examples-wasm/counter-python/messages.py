"""Commands and refusals in JSON, in the shape of all example guests."""

import json
import re

# Deepest nesting of arrays and objects. The parser of `json` recurses in C and traps if the nesting is too deep. A trap
# costs more than a refusal.
MAX_DEPTH = 100
STRING_OR_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]')


class Refusal(Exception):
    """A refusal: a code for programs, a message for people, and the field that is wrong."""

    def __init__(self, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message}
        if field is not None:
            self.error["field"] = field

    def to_json(self) -> bytes:
        return encode({"error": self.error})


def encode(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def decode(data: bytes, what: str) -> object:
    """Decodes JSON as strictly as the Rust guests: no NaN, no repeated key."""
    try:
        text = data.decode()
        _check_depth(text)
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
    except Refusal as refusal:
        refusal.error["code"] = f"bad_{what}"
        raise
    except ValueError as error:
        raise Refusal(f"bad_{what}", f"this is not JSON: {error}") from None


def _check_depth(text: str) -> None:
    depth = 0
    for found in STRING_OR_BRACKET.finditer(text):
        if found[0] in "[{":
            depth += 1
        elif found[0] in "]}":
            depth -= 1
        if depth > MAX_DEPTH:
            raise ValueError(f"the nesting exceeds {MAX_DEPTH} levels")


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON number")


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise Refusal("", f"the field `{key}` is given twice", key)
        found[key] = value
    return found


def only_field(value: object, what: str, known: dict[str, list[str]]) -> tuple[str, dict[str, object]]:
    """The name and the content of a message such as `{"add":{"by":5}}`. `known` maps each name to its fields."""
    bad = f"bad_{what}"
    if not isinstance(value, dict) or len(value) != 1:
        raise Refusal(bad, f"a {what} must be an object with one key: its name")
    ((name, content),) = value.items()
    if name not in known:
        raise Refusal(bad, f"there is no {what} `{name}`; known are {', '.join(known)}", name)
    if not isinstance(content, dict):
        raise Refusal(bad, f"the content of `{name}` must be an object", name)
    for field in content:
        if field not in known[name]:
            raise Refusal(bad, f"`{name}` has no field `{field}`", field)
    for field in known[name]:
        if field not in content:
            raise Refusal(bad, f"`{name}` lacks the field `{field}`", field)
    return name, content


def integer(value: object, field: str) -> int:
    # In Python a bool is an int. In JSON it is not a number.
    if not isinstance(value, int) or isinstance(value, bool) or not -(2**63) <= value < 2**63:
        raise Refusal("bad_command", f"`{field}` must be a 64-bit integer", field)
    return value
