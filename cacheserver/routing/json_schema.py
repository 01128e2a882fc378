"""Validation against JSON Schema: the subset that Claude's structured outputs accept.

Rule: a keyword we do not know, or a schema that makes no sense, forbids nothing. Patterns and
formats are not looked at: a pattern can take for ever, and so can a schema that names itself twice,
so the work is counted. Raises nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

_DEPTH: Final = 64  # of schemas inside schemas; deeper, or in a circle, forbids nothing
_STEPS: Final = 20_000  # some 20 ms; a page of JSON takes a few hundred
_REF_CHARS: Final = 1_000  # of a path; longer points at nothing

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "number": (int, float),
    "integer": (int, float),
}


def fits(value: object, schema: object) -> bool:
    """Return whether `value`, as read from JSON, satisfies `schema`."""
    try:
        return _fits(value, schema, _Work(schema), 0)
    except _Enough:
        return True


def same(one: object, other: object) -> bool:
    """Equality as JSON has it: `1` is `1.0`, and neither is `true`."""
    return _same(one, other, _Work(None, most=None))


class _Enough(Exception):
    """More work than an answer is worth."""


@dataclass(slots=True)
class _Work:
    root: object  # the whole schema, for what refers to it
    most: int | None = _STEPS
    steps: int = 0

    def add(self, steps: int) -> None:
        self.steps += steps
        if self.most is not None and self.steps > self.most:
            raise _Enough


def _same(one: object, other: object, work: _Work) -> bool:
    work.add(1)
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[k], other[k], work) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(
            _same(a, b, work) for a, b in zip(one, other, strict=True)
        )
    return one == other


def _fits(value: object, schema: object, work: _Work, depth: int) -> bool:
    work.add(1)
    if schema is False:
        return False
    if not isinstance(schema, Mapping):
        return True
    if depth > _DEPTH:
        raise _Enough
    inner = depth + 1
    if "$ref" in schema and not _fits(value, _referred(schema["$ref"], work.root), work, inner):
        return False
    if not _of_type(value, schema.get("type")):
        return False
    if "const" in schema and not _same(value, schema["const"], work):
        return False
    choice = schema.get("enum")
    if _is_list(choice) and not any(_same(value, one, work) for one in choice):
        return False
    return (
        _combined(value, schema, work, inner)
        and _sized(value, schema)
        and _object(value, schema, work, inner)
        and _array(value, schema, work, inner)
    )


def _of_type(value: object, wanted: object) -> bool:
    names = [wanted] if isinstance(wanted, str) else wanted
    if not _is_list(names) or len(names) > len(_TYPES):
        return True
    if not all(isinstance(name, str) and name in _TYPES for name in names):
        return True
    return any(_is(value, name) for name in names)


def _is(value: object, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    if name == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[name])


def _combined(value: object, schema: Mapping[str, Any], work: _Work, depth: int) -> bool:
    every, some, one = (schema.get(name) for name in ("allOf", "anyOf", "oneOf"))
    if _is_list(every) and not all(_fits(value, part, work, depth) for part in every):
        return False
    if _is_list(some) and some and not any(_fits(value, part, work, depth) for part in some):
        return False
    if _is_list(one) and one and sum(_fits(value, part, work, depth) for part in one) != 1:
        return False
    return not ("not" in schema and _fits(value, schema["not"], work, depth))


def _sized(value: object, schema: Mapping[str, Any]) -> bool:
    if isinstance(value, bool) or value is None:
        return True
    if isinstance(value, int | float):
        least, most = _number(schema, "minimum"), _number(schema, "maximum")
        above, below = _number(schema, "exclusiveMinimum"), _number(schema, "exclusiveMaximum")
        return (
            (least is None or value >= least)
            and (most is None or value <= most)
            and (above is None or value > above)
            and (below is None or value < below)
        )
    if not isinstance(value, str | list | dict):
        return True
    kind = {str: "Length", list: "Items", dict: "Properties"}[type(value)]
    least, most = _number(schema, f"min{kind}"), _number(schema, f"max{kind}")
    return (least is None or len(value) >= least) and (most is None or len(value) <= most)


def _object(value: object, schema: Mapping[str, Any], work: _Work, depth: int) -> bool:
    if not isinstance(value, dict):
        return True
    given = schema.get("properties")
    parts: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    required = schema.get("required")
    if _is_list(required):
        work.add(len(required))
        if not all(name in value for name in required if isinstance(name, str)):
            return False
    if not all(_fits(value[k], parts[k], work, depth) for k in value if k in parts):
        return False
    # With patterns for names in the schema nobody can say which are the others.
    if "patternProperties" in schema:
        return True
    rest = schema.get("additionalProperties", True)
    return all(_fits(value[k], rest, work, depth) for k in value if k not in parts)


def _array(value: object, schema: Mapping[str, Any], work: _Work, depth: int) -> bool:
    if not isinstance(value, list):
        return True
    first = schema.get("prefixItems")
    heads: Sequence[Any] = first if _is_list(first) else ()
    if not all(_fits(v, part, work, depth) for v, part in zip(value, heads, strict=False)):
        return False
    rest = schema.get("items", True)
    return all(_fits(v, rest, work, depth) for v in value[len(heads) :])


def _referred(ref: object, root: object) -> object:
    """Resolve `#/$defs/name`; no other reference is followed."""
    if not isinstance(ref, str) or not ref.startswith("#") or len(ref) > _REF_CHARS:
        return True
    found = root
    for part in ref[1:].split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, Mapping) or name not in found:
            return True
        found = found[name]
    return found


def _number(schema: Mapping[str, Any], name: str) -> float | None:
    found = schema.get(name)
    return found if isinstance(found, int | float) and not isinstance(found, bool) else None


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, list | tuple)
