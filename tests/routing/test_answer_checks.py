"""What makes an answer one that will not do."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cacheserver.core.answer_check import read_check
from cacheserver.core.errors import BadRequest
from cacheserver.core.rules.validation import Check, ValidationRules
from cacheserver.routing import answer_checks

WORDS = st.lists(st.text(min_size=1, max_size=10), max_size=3).map(tuple)
CHECKS = st.builds(
    Check,
    json=st.booleans(),
    schema=st.none() | st.just({"type": "object"}),
    one_of=WORDS,
    contains=WORDS,
    lacks=WORDS,
    min_chars=st.integers(0, 100),
    max_chars=st.none() | st.integers(0, 100),
)


def said(text: str, stop: str = "end_turn") -> dict[str, Any]:
    return {"type": "message", "stop_reason": stop, "content": [{"type": "text", "text": text}]}


@pytest.mark.parametrize(
    ("text", "check", "found"),
    [
        ("Billing ", Check(one_of=("billing", "order")), None),
        ("Billing, I think", Check(one_of=("billing", "order")), "one-of"),
        ("See the Terms.", Check(contains=("terms",)), None),
        ("See below.", Check(contains=("see", "terms")), "contains"),
        ("As an AI, no.", Check(lacks=("as an ai",)), "lacks"),
        ("abc", Check(max_chars=3), None),
        ("abcd", Check(max_chars=3), "length"),
        ("", Check(max_chars=0), None),
        ("a", Check(max_chars=0), "length"),
        ("ab", Check(min_chars=3), "length"),
        ('{"a": 1}', Check(json=True), None),
        ('```json\n{"a": 1}\n```', Check(json=True), "not-json"),
        ("NaN", Check(json=True), "not-json"),
        ("[" * 100_000, Check(json=True), "not-json"),
        ('{"a": 1}', Check(schema={"required": ["a"]}), None),
        ('{"b": 1}', Check(schema={"required": ["a"]}), "schema"),
        ("words", Check(schema={"required": ["a"]}), "not-json"),
    ],
)
def test_each_condition_has_its_reason(text: str, check: Check, found: str | None) -> None:
    assert answer_checks.flaw(said(text), check) == found


def test_an_answer_that_is_not_at_its_end_has_no_flaw_in_its_words() -> None:
    assert answer_checks.flaw(said("", "tool_use"), Check(json=True)) is None
    assert answer_checks.flaw(said("", "stop_sequence"), Check(json=True)) == "not-json"


@pytest.mark.parametrize(
    ("stop", "rules", "found"),
    [
        ("refusal", ValidationRules(), "refused"),
        ("refusal", ValidationRules(refusals=False), None),
        ("max_tokens", ValidationRules(), "truncated"),
        ("model_context_window_exceeded", ValidationRules(), "truncated"),
        ("max_tokens", ValidationRules(truncation=False), None),
        ("end_turn", ValidationRules(), None),
    ],
)
def test_refusals_and_cut_answers_are_flaws_where_the_rules_say_so(
    stop: str, rules: ValidationRules, found: str | None
) -> None:
    assert answer_checks.cut_or_refused(said("x", stop), rules) == found


def test_a_requests_own_schema_is_a_condition() -> None:
    form = {"type": "json_schema", "schema": {"type": "object"}}
    check = answer_checks.requested_schema({"output_config": {"format": form}})
    assert check == Check(json=True, schema={"type": "object"})
    assert answer_checks.requested_schema({"output_config": {"effort": "low"}}) is None
    assert answer_checks.requested_schema({"output_config": "x"}) is None


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ("{", "check"),
        ([], "check"),
        ({"regex": "a+"}, "check"),
        ({"json": 1}, "check.json"),
        ({"schema": []}, "check.schema"),
        ({"one_of": "a"}, "check.one_of"),
        ({"contains": [""]}, "check.contains"),
        ({"lacks": ["a"] * 101}, "check.lacks"),
        ({"min_chars": -1}, "check.min_chars"),
        ({"max_chars": True}, "check.max_chars"),
    ],
)
def test_a_check_that_will_not_do_is_refused_where_it_is_wrong(given: object, field: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read_check("check", given)
    assert refused.value.field == field


@given(CHECKS)
@settings(deadline=None)
def test_a_check_is_read_as_it_is_written(check: Check) -> None:
    assert read_check("check", asdict(check)) == check


@given(st.text(max_size=30), CHECKS)
@settings(deadline=None)
def test_more_conditions_never_make_an_answer_pass(text: str, check: Check) -> None:
    if answer_checks.flaw(said(text), Check(json=check.json, schema=check.schema)) is not None:
        assert answer_checks.flaw(said(text), check) is not None
