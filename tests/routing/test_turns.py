"""Conversations known by their turns: every beginning is recognised, nobody else's ever."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.core.types import Controls, Tenant, Usage
from cacheserver.routing.turns import LOOKED_BACK, LastAnswer, last_answer, turns, would_lose
from tests.cache.queries import query

SAID = st.sampled_from(["a", "b", "ab", ""])
BLOCKS = st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": SAID}), max_size=2)
TURN = SAID | BLOCKS


def talk(said: list[Any]) -> list[dict[str, Any]]:
    """User and assistant in turn, the user last."""
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": text} for i, text in enumerate(said)]


conversations = st.lists(TURN, min_size=1, max_size=9).map(
    lambda said: talk(said if len(said) % 2 else said[:-1] or ["a"])
)


@given(conversations, st.lists(TURN, min_size=2, max_size=6))
def test_whatever_goes_on_from_a_request_is_recognised(
    first: list[dict[str, Any]], more: list[Any]
) -> None:
    said = [turn["content"] for turn in first]
    rest = more if len(more) % 2 == 0 else more[:-1]
    then = talk([*said, *rest])
    assert turns(query(first)).own in turns(query(then)).earlier


@given(conversations, conversations)
def test_what_does_not_begin_with_the_same_turns_is_not(
    one: list[dict[str, Any]], two: list[dict[str, Any]]
) -> None:
    def plain(messages: list[dict[str, Any]]) -> list[Any]:
        return [
            [{"type": "text", "text": c}] if isinstance(c := m["content"], str) else c
            for m in messages
        ]

    goes_on = len(one) < len(two) and plain(two)[: len(one)] == plain(one)
    assert (turns(query(one)).own in turns(query(two)).earlier) == goes_on


OTHERS = (
    {"tenant": Tenant("acme2")},
    {"tenant": Tenant("acm")},
    {"controls": Controls(namespace="other")},
    {"credential": "sk-another"},
    {"system": "Be brief."},
    {"tools": [{"name": "look", "input_schema": {"type": "object"}}]},
)


@pytest.mark.parametrize("other", OTHERS)
def test_another_tenant_key_or_beginning_is_another_conversation(other: dict[str, Any]) -> None:
    first, then = talk(["a"]), talk(["a", "b", "c"])
    own = turns(query(first)).own
    assert own in turns(query(then)).earlier
    assert own not in turns(query(then, **other)).earlier
    named, theirs = (replace(query(then, **o), conversation="7") for o in ({}, other))
    if "system" not in other and "tools" not in other:  # a name holds whatever is sent
        assert turns(named).own != turns(theirs).own


def test_marks_for_the_prompt_cache_and_spelling_do_not_hide_a_conversation() -> None:
    own = turns(query(talk(["a"]), system="S")).own
    marked = [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]
    system = [{"type": "text", "text": "S", "cache_control": {"type": "ephemeral"}}]
    assert own in turns(query(talk([marked, "b", "c"]), system=system)).earlier


def test_the_nearest_beginning_comes_first_and_only_so_many_are_looked_at() -> None:
    long = [str(i) for i in range(2 * LOOKED_BACK + 21)]
    earlier = turns(query(talk(long))).earlier
    assert earlier[0] == turns(query(talk(long[:-2]))).own
    assert len(earlier) == LOOKED_BACK


def test_a_first_turn_goes_on_from_nothing_and_a_named_conversation_from_its_name() -> None:
    assert turns(query("a")).earlier == ()
    one, two = (replace(query(text), conversation="7") for text in ("a", "b"))
    assert turns(one).earlier == (turns(two).own,)
    assert turns(one).own != turns(replace(one, conversation="8")).own


@pytest.mark.parametrize(
    ("usage", "until"),
    [
        (Usage(input_tokens=9), 0.0),
        (Usage(cache_write_5m_tokens=9), 1_300.0),
        (Usage(cache_write_5m_tokens=9, cache_write_1h_tokens=9), 4_600.0),
        (Usage(cache_read_tokens=9), 4_600.0),
    ],
)
def test_what_is_lost_depends_on_what_claude_has_cached(usage: Usage, until: float) -> None:
    last = last_answer("m", usage, 1_000.0)
    assert last == LastAnswer("m", until)
    body = query(talk(["a", "b", "c"])).body
    assert would_lose(body, last, 1_200.0) == (until > 0)
    assert not would_lose(body, last, max(until, 1_200.0))


@pytest.mark.parametrize("kind", ["thinking", "redacted_thinking"])
def test_thoughts_sent_back_would_be_lost_whatever_is_cached(kind: str) -> None:
    thought = [{"type": kind, "thinking": "hm"}, {"type": "text", "text": "b"}]
    assert would_lose(query(talk(["a", thought, "c"])).body, LastAnswer("m"), 9.0)
    assert not would_lose(query(talk(["a", [thought[1]], "c"])).body, LastAnswer("m"), 9.0)
