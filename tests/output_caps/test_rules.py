"""Output caps: generous, learned, raised by a cut, and never above what the caller said."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.core.rules.lengths import LengthRules
from cacheserver.core.types import MAX_TOKENS, Cap
from cacheserver.output_caps.rules import (
    BY_TASK,
    LengthHistogram,
    bucket,
    cap,
    learned,
    longer,
    raised,
    switches_thinking_off,
    upper,
    with_thinking,
)

HAIKU = "claude-haiku-5-5"
OLD = "claude-haiku-4-5"  # thinks only where told to
PLAIN = LengthRules(thinking_room=0)
lengths = st.integers(1, 200_000)


def capped(
    body: dict[str, Any] | None = None,
    *,
    open_ended: bool = True,
    task: str | None = None,
    model: str = OLD,
    rules: LengthRules = PLAIN,
    seen: LengthHistogram | None = None,
) -> Cap | None:
    return cap(
        {"max_tokens": 1_024} if body is None else body,
        open_ended=open_ended,
        task=task,
        model=model,
        rules=rules,
        seen=seen or LengthHistogram(),
    )


def taken(tokens: int, count: int = 50) -> LengthHistogram:
    return LengthHistogram({bucket(tokens): count})


@given(lengths)
def test_a_bucket_holds_its_lengths_and_no_much_longer_one(tokens: int) -> None:
    assert tokens <= upper(bucket(tokens)) <= max(2, tokens * 1.25 + 1)


@given(lengths, lengths)
def test_longer_answers_are_never_in_an_earlier_bucket(one: int, two: int) -> None:
    assert (bucket(one) <= bucket(two)) or one > two


@pytest.mark.parametrize(
    ("task", "tokens", "reason"),
    [
        (None, 1_024, "default"),
        ("chat", 1_024, "default"),
        ("classification", 10, "task"),
        ("summarisation", 150, "task"),
        ("analysis", 1_024, "task"),
    ],
)
def test_before_anything_is_learned_the_task_says(task: str, tokens: int, reason: str) -> None:
    assert capped(task=task) == Cap(tokens, reason, ours=True)


def test_thinking_has_room_of_its_own() -> None:
    rules = LengthRules(thinking_room=500)
    assert capped(rules=rules, model=HAIKU) == Cap(1_524, "default", ours=True)
    assert capped(rules=rules, model=OLD) == Cap(1_024, "default", ours=True)
    thinks = {"thinking": {"type": "adaptive"}}
    assert capped(thinks, rules=rules, model=OLD) == Cap(1_524, "default", ours=True)
    quiet = {"thinking": {"type": "disabled"}}
    assert capped(quiet, rules=rules, model=HAIKU) == Cap(1_024, "default", ours=True)


def test_a_thinking_budget_stays_under_the_cap() -> None:
    body = {"thinking": {"type": "enabled", "budget_tokens": 4_000}}
    found = capped(body, task="classification")
    assert found is not None
    assert found.max_tokens > 4_000


def test_a_callers_own_length_goes_as_it_came() -> None:
    assert capped({"max_tokens": 7}, open_ended=False, task="analysis") == Cap(7, "asked", 7)
    assert capped({}, open_ended=False) is None


def test_a_callers_longer_length_is_cut_only_where_the_tenant_says_so() -> None:
    asked = {"max_tokens": 9_000}
    kind = LengthRules(ceiling=2_000)
    strict = LengthRules(ceiling=2_000, cut_callers=True)
    assert capped(asked, open_ended=False, rules=kind) == Cap(9_000, "asked", 9_000)
    assert capped(asked, open_ended=False, rules=strict) == Cap(2_000, "tenant", 9_000, ours=True)
    less = {"max_tokens": 2_000}
    assert capped(less, open_ended=False, rules=strict) == Cap(2_000, "asked", 2_000)


def test_what_is_left_to_us_never_passes_the_ceiling() -> None:
    rules = LengthRules(ceiling=700, thinking_room=0)
    assert capped(rules=rules, seen=taken(5_000)) == Cap(
        700, "tenant", ours=True, longer=MAX_TOKENS
    )


def test_fifty_answers_teach_a_length_and_fewer_do_not() -> None:
    assert learned(taken(100, 49)) is None
    assert learned(taken(100, 50)) == 2 * upper(bucket(100))


def test_one_answer_in_a_hundred_may_be_longer_than_what_is_learned_from() -> None:
    long, short = bucket(10_000), bucket(100)
    assert learned(LengthHistogram({short: 99, long: 1})) == 2 * upper(short)
    assert learned(LengthHistogram({short: 98, long: 2})) == 2 * upper(long)


def test_very_short_answers_leave_room_for_a_word_more() -> None:
    assert learned(taken(1, 100)) == 32


@given(st.dictionaries(st.integers(0, 40), st.integers(1, 500), min_size=1), lengths)
def test_what_is_learned_never_shrinks_by_longer_answers(counts: dict[int, int], more: int) -> None:
    before = learned(LengthHistogram(counts))
    place = max(max(counts), bucket(more))
    after = learned(LengthHistogram({**counts, place: counts.get(place, 0) + 10}))
    assert before is None or (after is not None and after >= before)


def test_a_cut_raises_the_cap_for_the_next() -> None:
    first = capped(task="classification")
    assert first is not None
    again = capped(task="classification", seen=LengthHistogram({}, raised(first)))
    assert again == Cap(20, "raised", ours=True)


def test_what_was_learned_can_be_left_aside() -> None:
    rules = LengthRules(learn=False, thinking_room=0)
    assert capped(rules=rules, seen=LengthHistogram(taken(9_000).counts, 50_000)) == Cap(
        1_024, "default", ours=True
    )


def test_a_tenants_own_figures_go_before_ours() -> None:
    rules = LengthRules(by_task={"classification": 40, "poem": 400}, thinking_room=0)
    assert capped(task="classification", rules=rules) == Cap(40, "task", ours=True)
    assert capped(task="poem", rules=rules) == Cap(400, "task", ours=True)
    assert capped(task="analysis", rules=rules) == Cap(BY_TASK["analysis"], "task", ours=True)


def test_what_a_cut_answer_would_have_had_is_the_mean_of_longer_ones() -> None:
    seen = LengthHistogram({bucket(20): 100, bucket(200): 15, bucket(600): 15})
    short = [upper(bucket(tokens) - 1) for tokens in (200, 600)]
    assert longer(seen, 50) == sum(short) // 2
    assert longer(seen, 500) is None  # 15 are too few
    assert longer(LengthHistogram({bucket(20): 100}), 50) is None
    runaways = LengthHistogram({bucket(50_000): 20})
    assert longer(runaways, 300) == MAX_TOKENS  # without us it would have been cut there
    assert longer(runaways, 2_000) is None
    made = capped(rules=LengthRules(thinking_room=0, ceiling=50), seen=seen)
    assert made is not None
    assert made.longer == longer(seen, 50)
    own = capped({"max_tokens": 400}, open_ended=False)
    assert own is not None
    assert own.longer is None


@given(st.dictionaries(st.integers(0, 60), st.integers(1, 50)), st.integers(1, 5_000))
def test_what_an_answer_would_have_had_is_more_than_its_cap(
    counts: dict[int, int], tokens: int
) -> None:
    found = longer(LengthHistogram(counts), tokens)
    assert found is None or tokens < found <= MAX_TOKENS


QUIET = LengthRules(thinking_off=("classification",))
BOTH = frozenset({"adaptive", "disabled"})


@pytest.mark.parametrize(
    ("changed", "off"),
    [
        ({}, True),
        ({"task": "analysis"}, False),
        ({"task": None}, False),
        ({"open_ended": False}, False),
        ({"thinking": frozenset({"adaptive"})}, False),
        ({"thinking": None}, False),
        ({"body": {"thinking": {"type": "adaptive"}}}, False),
        ({"rules": PLAIN}, False),
    ],
)
def test_thinking_is_switched_off_for_a_task_where_nobody_asks_for_it(
    changed: dict[str, Any], off: bool
) -> None:
    given: dict[str, Any] = {
        "body": {}, "open_ended": True, "task": "classification", "thinking": BOTH, "rules": QUIET,
    }  # fmt: skip
    given |= changed
    assert switches_thinking_off(given.pop("body"), **given) is off


def test_without_thinking_a_cap_is_the_answers_own_and_with_it_has_room() -> None:
    made = cap(
        {},
        open_ended=True,
        task="classification",
        model=HAIKU,
        rules=QUIET,
        seen=LengthHistogram(),
        thinking_off=True,
    )
    assert made == Cap(10, "task", ours=True, thinking_off=True)
    assert made is not None
    assert with_thinking(made, HAIKU, QUIET) == Cap(8_202, "task", ours=True)
    assert with_thinking(made, OLD, QUIET) == Cap(10, "task", ours=True)
