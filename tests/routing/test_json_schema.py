"""Whether values fit schemas: what structured outputs take, and nothing that takes for ever."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from cacheserver.routing.json_schema import fits, same

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "age": {"type": "integer", "minimum": 0},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 2},
    },
    "required": ["name"],
    "additionalProperties": False,
}
TREE = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
            "required": ["next"],
        }
    },
}


@pytest.mark.parametrize(
    ("schema", "value", "good"),
    [
        (PERSON, {"name": "Ada", "age": 36, "tags": ["a", "b"]}, True),
        (PERSON, {"name": "Ada", "age": 36.0}, True),
        (PERSON, {"age": 36}, False),
        (PERSON, {"name": ""}, False),
        (PERSON, {"name": "Ada", "age": 36.5}, False),
        (PERSON, {"name": "Ada", "age": -1}, False),
        (PERSON, {"name": "Ada", "age": True}, False),
        (PERSON, {"name": "Ada", "tags": ["c"]}, False),
        (PERSON, {"name": "Ada", "tags": ["a", "a", "a"]}, False),
        (PERSON, {"name": "Ada", "more": 1}, False),
        (PERSON, ["Ada"], False),
        (TREE, {"next": {"next": None}}, True),
        (TREE, {"next": {"nxt": None}}, False),
        ({"type": ["string", "null"]}, None, True),
        ({"type": ["string", "null"]}, 1, False),
        ({"type": "number"}, 1, True),
        ({"type": "number"}, True, False),
        ({"type": "boolean"}, 1, False),
        ({"const": 1}, 1.0, True),
        ({"const": 1}, True, False),
        ({"enum": [0, "x"]}, False, False),
        ({"oneOf": [{"type": "integer"}, {"minimum": 5}]}, 3, True),
        ({"oneOf": [{"type": "integer"}, {"minimum": 5}]}, 7, False),
        ({"allOf": [{"minimum": 1}, {"exclusiveMaximum": 3}]}, 3, False),
        ({"not": {"type": "string"}}, "x", False),
        ({"not": {"type": "string"}}, 1, True),
        ({"prefixItems": [{"type": "string"}], "items": False}, ["x"], True),
        ({"prefixItems": [{"type": "string"}], "items": False}, ["x", 1], False),
        ({"additionalProperties": {"type": "integer"}}, {"a": "x"}, False),
        ({"minProperties": 1}, {}, False),
        (False, 1, False),
        (True, 1, True),
    ],
)
def test_values_fit_or_do_not(schema: object, value: object, good: bool) -> None:
    assert fits(value, schema) is good


@pytest.mark.parametrize(
    "schema",
    [
        None,
        [],
        {"type": "colour"},
        {"type": 7},
        {"enum": "abc"},
        {"required": "name"},
        {"properties": []},
        {"anyOf": []},
        {"$ref": "#/$defs/gone"},
        {"$ref": "https://elsewhere.example/schema"},
        {"$ref": "#"},
        {"minimum": "1"},
        {"pattern": "^b$", "format": "email"},
    ],
)
def test_a_schema_that_makes_no_sense_forbids_nothing(schema: object) -> None:
    assert fits("a", schema)


def test_a_schema_that_names_itself_twice_is_given_up_soon() -> None:
    twice = {"allOf": [{"$ref": "#"}, {"$ref": "#"}], "not": {"$ref": "#"}}
    assert fits(1, twice)
    wide = {"items": {"enum": list(range(5_000))}}
    assert fits([-1] + [4_999] * 1_000, {"prefixItems": [True], **wide})


@given(VALUES)
@settings(deadline=None)
def test_every_value_is_what_a_constant_of_it_says_and_fits_any_choice_with_it(value: Any) -> None:
    again = json.loads(json.dumps(value))
    assert same(value, again)
    assert fits(value, {"const": again})
    assert fits(value, {"enum": [again]})
    assert not fits(value, {"not": {"const": again}})


@given(VALUES, VALUES)
@settings(deadline=None)
def test_whatever_stands_for_a_schema_nothing_is_raised(value: Any, schema: Any) -> None:
    assert fits(value, schema) in (True, False)


WIDE: list[Any] = [{"a": 1}] * 100_000
WORK: dict[str, Any] = {
    "a reference of a megabyte": {"$ref": "#" + "/a" * 500_000},
    "references in a circle": {"anyOf": [{"$ref": "#"}] * 1_000},
    "a wide enum": {"items": {"enum": WIDE}},
    "a wide list of types": {"items": {"type": ["string"] * 1_000_000}},
    "a wide list of names": {"items": {"required": ["a"] * 1_000_000}},
    "a wide list of nothing": {"items": {"anyOf": [False] * 1_000_000}},
    "a wide const": {"items": {"const": WIDE}},
}


@pytest.mark.parametrize("what", sorted(WORK))
def test_no_schema_takes_long(what: str) -> None:
    """CPU time of a hundredth of what a caller may notice; nothing is forbidden for its size."""
    value = [{"a": 1}] * 500 if what != "a wide const" else [WIDE] * 500
    began = time.process_time()
    fits(value, WORK[what])
    assert time.process_time() - began < 0.25


@pytest.mark.parametrize("kind", [[[]], [{}], [None], {}, 7, [["string"]]])
def test_a_type_that_is_none_forbids_nothing(kind: object) -> None:
    assert fits("x", {"type": kind})
    assert fits({"x": 1}, {"required": kind})


values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=6,
)
_KINDS = st.sampled_from(["object", "array", "string", "boolean", "null", "number", "integer"])
schemas = st.recursive(
    st.booleans()
    | st.fixed_dictionaries(
        {},
        optional={
            "type": _KINDS | st.lists(_KINDS, min_size=1, max_size=2, unique=True),
            "enum": st.lists(values, min_size=1, max_size=3),
            "const": values,
            "minimum": st.integers(-2, 2),
            "exclusiveMaximum": st.integers(-2, 2),
            "minLength": st.integers(0, 2),
            "maxItems": st.integers(0, 2),
            "minProperties": st.integers(0, 2),
            "required": st.lists(st.sampled_from("ab"), max_size=2, unique=True),
        },
    ),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "properties": st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
            "additionalProperties": inner,
            "items": inner,
            "prefixItems": st.lists(inner, min_size=1, max_size=2),
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "oneOf": st.lists(inner, min_size=1, max_size=2),
            "allOf": st.lists(inner, min_size=1, max_size=2),
            "not": inner,
        },
    ),
    max_leaves=5,
)


@settings(max_examples=300)
@given(values, schemas)
def test_what_fits_is_what_the_standard_says(value: Any, schema: Any) -> None:
    assert fits(value, schema) == Draft202012Validator(schema).is_valid(value)
