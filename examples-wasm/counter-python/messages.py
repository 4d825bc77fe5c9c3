"""Commands and refusals in JSON, in the shape that all example guests speak."""

import json
import re

# How deep arrays and objects may be in each other. `json` recurses in C and ends that with a trap, which undoes the whole
# command and costs more than a refusal.
DEEPEST = 100
STRING_OR_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]')


class Refusal(Exception):
    """Words for a command that is refused: a code for programs, a message for people, the field that is to blame."""

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
    """Reads JSON as strictly as the Rust guests do: no NaN, no key twice."""
    try:
        text = data.decode()
        _not_too_deep(text)
        return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_each_key_once)
    except Refusal as refusal:
        refusal.error["code"] = f"bad_{what}"
        raise
    except ValueError as error:
        raise Refusal(f"bad_{what}", f"this is not JSON: {error}") from None


def _not_too_deep(text: str) -> None:
    depth = 0
    for found in STRING_OR_BRACKET.finditer(text):
        if found[0] in "[{":
            depth += 1
        elif found[0] in "]}":
            depth -= 1
        if depth > DEEPEST:
            raise ValueError(f"it is more than {DEEPEST} levels deep")


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no number in JSON")


def _each_key_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise Refusal("", f"the field `{key}` is there twice", key)
        found[key] = value
    return found


def only_field(value: object, what: str, known: dict[str, list[str]]) -> tuple[str, dict[str, object]]:
    """The name and the content of a message such as `{"add":{"by":5}}`; `known` says which fields each has."""
    bad = f"bad_{what}"
    if not isinstance(value, dict) or len(value) != 1:
        raise Refusal(bad, f"a {what} is an object with one field: its name")
    ((name, content),) = value.items()
    if name not in known:
        raise Refusal(bad, f"there is no {what} `{name}`; known are {', '.join(known)}", name)
    if not isinstance(content, dict):
        raise Refusal(bad, f"the content of `{name}` is an object", name)
    for field in content:
        if field not in known[name]:
            raise Refusal(bad, f"`{name}` has no field `{field}`", field)
    for field in known[name]:
        if field not in content:
            raise Refusal(bad, f"`{name}` lacks the field `{field}`", field)
    return name, content


def whole_number(value: object, field: str) -> int:
    # A bool is an int in Python, and is no number in JSON.
    if not isinstance(value, int) or isinstance(value, bool) or not -(2**63) <= value < 2**63:
        raise Refusal("bad_command", f"`{field}` is a whole number of 64 bits", field)
    return value
