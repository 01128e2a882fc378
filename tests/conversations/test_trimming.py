"""Shortening a conversation: what leaves, what stays whole, and what must not be touched."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.conversations import trimming
from cacheserver.core.rules.history import HistoryRules

MODEL = "claude-haiku-5-5"
RULES = HistoryRules(keep=2, step=1)

Turn = dict[str, Any]


def user(text: str) -> Turn:
    return {"role": "user", "content": text}


def said(text: str) -> Turn:
    return {"role": "assistant", "content": text}


def thought(text: str) -> Turn:
    thinking = {"type": "thinking", "thinking": "hm", "signature": "s"}
    return {"role": "assistant", "content": [thinking, {"type": "text", "text": text}]}


def called(name: str, *, thinking: bool = False) -> list[Turn]:
    call: list[Turn] = [{"type": "tool_use", "id": name, "name": name, "input": {}}]
    if thinking:
        call.insert(0, {"type": "thinking", "thinking": "hm", "signature": "s"})
    result = {"type": "tool_result", "tool_use_id": name, "content": "42"}
    return [{"role": "assistant", "content": call}, {"role": "user", "content": [result]}]


def talk(exchanges: int) -> list[Turn]:
    earlier = [t for n in range(exchanges) for t in (user(f"question {n}"), said(f"answer {n}"))]
    return [*earlier, user("and now?")]


exchange = st.one_of(
    st.builds(lambda a, b: [user(a), said(b)], st.text(min_size=1), st.text(min_size=1)),
    st.builds(lambda a: [user(a), *called("look"), said("done")], st.text(min_size=1)),
    st.builds(lambda a: [user(a), thought("so")], st.text(min_size=1)),
)
rules = st.builds(HistoryRules, keep=st.integers(1, 6), step=st.integers(1, 6))
talks = st.lists(exchange, max_size=20).map(
    lambda parts: [*(turn for part in parts for turn in part), user("and now?")]
)


def test_the_last_exchanges_stay_and_the_older_ones_leave() -> None:
    cut = trimming.cut(talk(5), RULES, MODEL)
    assert cut is not None
    assert [turn["content"] for turn in cut.remaining] == [
        *("question 3", "answer 3", "question 4", "answer 4", "and now?")
    ]
    assert len(cut.dropped) == 6


def test_a_short_conversation_goes_as_it_came() -> None:
    assert trimming.cut(talk(2), RULES, MODEL) is None
    assert trimming.cut(talk(0), RULES, MODEL) is None


def test_turns_leave_in_steps_so_that_the_prefix_stands_still_between() -> None:
    stepping = HistoryRules(keep=5, step=5)
    starts = []
    for exchanges in range(10, 15):
        cut = trimming.cut(talk(exchanges), stepping, MODEL)
        assert cut is not None
        starts.append(cut.remaining[0]["content"])
    assert starts == ["question 5"] * 5
    assert trimming.cut(talk(9), stepping, MODEL) is None
    later = trimming.cut(talk(15), stepping, MODEL)
    assert later is not None
    assert later.remaining[0]["content"] == "question 10"


@given(talks, rules)
def test_what_is_kept_is_a_conversation_with_its_tool_pairs_whole(
    messages: list[Turn], rules: HistoryRules
) -> None:
    cut = trimming.cut(messages, rules, MODEL)
    if cut is None:
        return
    assert len(cut.dropped) + len(cut.remaining) == len(messages)
    assert cut.remaining[0]["role"] == "user"
    assert cut.remaining[-1] == messages[-1]
    for one, other in zip(cut.remaining, cut.remaining[1:], strict=False):
        assert one["role"] != other["role"]
    calls, results = set(), set()
    for turn in cut.remaining:
        for block in turn["content"] if isinstance(turn["content"], list) else []:
            if block["type"] == "tool_use":
                calls.add(block["id"])
            if block["type"] == "tool_result":
                results.add(block["tool_use_id"])
    assert calls == results
    older = sum(
        turn["role"] == "user" and isinstance(turn["content"], str) for turn in cut.remaining[:-1]
    )
    assert rules.keep <= older < rules.keep + rules.step


@given(talks, rules)
def test_cutting_what_was_cut_changes_nothing(messages: list[Turn], rules: HistoryRules) -> None:
    cut = trimming.cut(messages, rules, MODEL)
    if cut is not None:
        assert trimming.cut(cut.remaining, rules, MODEL) is None


def test_no_thinking_stays_whose_prefix_has_changed() -> None:
    messages = [*talk(5)[:-1], user("go on"), thought("so"), user("and now?")]
    cut = trimming.cut(messages, RULES, MODEL)
    assert cut is not None
    kinds = [
        b["type"] for t in cut.remaining if isinstance(t["content"], list) for b in t["content"]
    ]
    assert kinds == ["text"]


def test_a_tools_loop_with_thinking_under_way_is_left_alone() -> None:
    loop = [*talk(5)[:-1], user("look"), *called("look", thinking=True)]
    assert trimming.cut(loop, RULES, MODEL) is None
    plain = [*talk(5)[:-1], user("look"), *called("look")]
    assert trimming.cut(plain, RULES, MODEL) is not None


def test_an_instruction_in_the_middle_is_never_dropped() -> None:
    messages = talk(5)
    messages.insert(2, {"role": "system", "content": "Speak French from here."})
    assert trimming.cut(messages, RULES, MODEL) is None


def test_a_summary_stands_before_the_first_kept_turn() -> None:
    cut = trimming.cut(talk(5), RULES, MODEL)
    assert cut is not None
    told = trimming.with_summary(cut.remaining, "They spoke of numbers.")
    first = told[0]["content"]
    assert "They spoke of numbers." in first[0]["text"]
    assert first[1] == {"type": "text", "text": "question 3"}
    assert told[1:] == list(cut.remaining[1:])


@pytest.mark.parametrize("step", [1, 2, 3])
def test_the_summary_before_covers_all_but_the_last_step(step: int) -> None:
    rules = HistoryRules(keep=2, step=step)
    before = trimming.cut(talk(2 + 2 * step), rules, MODEL)
    now = trimming.cut(talk(2 + 3 * step), rules, MODEL)
    assert before is not None
    assert now is not None
    place = trimming.earlier_cut(now.dropped, rules)
    assert now.dropped[:place] == before.dropped
    assert trimming.earlier_cut(trimming.cut(talk(2 + step), rules, MODEL).dropped, rules) == 0  # type: ignore[union-attr]


def test_the_transcript_names_tools_and_pictures() -> None:
    turns = [user("Look"), *called("look"), {"role": "user", "content": [{"type": "image"}]}]
    text = trimming.transcript(turns)
    assert "[called the tool look]" in text
    assert "[the tool answered] 42" in text
    assert "[image]" in text


def test_an_answer_is_remembered_by_its_text_alone() -> None:
    thinking = {"type": "thinking", "thinking": "hm", "signature": "s"}
    message = {"content": [thinking, {"type": "text", "text": "Yes."}]}
    assert trimming.remembered(message) == said("Yes.")
    assert trimming.remembered({"content": [thinking]}) is None


@pytest.mark.parametrize(
    ("samples", "each"),
    [([], 0.0), ([5, 9], 0.0), ([100, 200, 300, 400], 100.0), ([100, 200, 9_000, 9_100], 100.0)],
)
def test_growth_is_the_median_step(samples: list[int], each: float) -> None:
    assert trimming.growth(samples) == each


def test_a_conversation_is_bloated_past_eight_thousand_tokens_and_fourfold() -> None:
    assert trimming.bloated([1_000, 5_000, 8_000])
    assert not trimming.bloated([1_000, 5_000, 7_999])
    assert not trimming.bloated([3_000, 9_000, 11_999])
    assert not trimming.bloated([1_000, 9_000])
