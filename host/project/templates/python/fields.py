"""Checks of the fields of commands and queries."""

from oarlock import Refusal


def message(value: object, what: str, known: dict[str, list[str]]) -> tuple[str, dict[str, object]]:
    """The name and the content of a message such as `{"add":{"by":5}}`. `known` maps each name to its fields."""
    bad = f"bad_{what}"
    if not isinstance(value, dict) or len(value) != 1:
        raise Refusal(bad, f"a {what} must be an object with one key: its name")
    [(name, content)] = value.items()
    if name not in known:
        raise Refusal(bad, f"there is no {what} `{name}`; known are {', '.join(known)}", name)
    if not isinstance(content, dict):
        raise Refusal(bad, f"the content of `{name}` must be an object", name)
    for field in [*content, *known[name]]:
        if field not in known[name] or field not in content:
            raise Refusal(bad, f"the fields of `{name}` are {', '.join(known[name])}", field)
    return name, content


def integer(value: object, field: str, what: str = "command") -> int:
    # In Python a bool is an int. In JSON it is not a number.
    if not isinstance(value, int) or isinstance(value, bool) or not -(2**63) <= value < 2**63:
        raise Refusal(f"bad_{what}", f"`{field}` must be a 64-bit integer", field)
    return value


def text(value: object, field: str, what: str = "command") -> str:
    if not isinstance(value, str):
        raise Refusal(f"bad_{what}", f"`{field}` must be a text", field)
    return value
