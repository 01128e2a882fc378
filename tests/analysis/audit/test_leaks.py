"""Each leak: found where it is, worth what it costs, not found where it is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.analysis.audit.leak_kinds import FIXES, LATE
from cacheserver.analysis.audit.leaks import Leak, Leaks
from cacheserver.analysis.audit.tally import Tally
from cacheserver.analysis.audit.top_sources import TopSources
from cacheserver.analysis.replay.call import Call
from cacheserver.analysis.replay.step import Step
from cacheserver.core.types import Usage
from tests.analysis.replay.calls import PRICER, call, played

MONTH_S = 30 * 86_400.0
OPUS = "claude-opus-5-5"


def leaks_of(
    calls: list[Call], steps: Sequence[Step] | None = None, *, seconds: float = MONTH_S
) -> dict[str, Leak]:
    tally, leaks = Tally(), Leaks(PRICER.cost)
    for one, step in zip(calls, steps or played(calls), strict=True):
        leaks.add(one, step, tally.add(one, step))
    found = leaks.worst(tally.whole.spent, seconds)
    assert {leak.kind for leak in found} <= FIXES.keys()
    return {leak.kind: leak for leak in found}


def spent(one: Call, usage: Usage | None = None) -> int:
    cost = PRICER.cost(one.model, usage or one.usage, one.at)
    assert cost is not None
    return cost


def test_the_worst_are_named_with_requests_and_what_ends_them() -> None:
    text = "Is this good or bad? 'Fine.'"
    calls = [call(text, n, source=f"log:{n}", model=OPUS) for n in range(300)]
    found = leaks_of(calls)
    assert list(found) == ["identical requests", "simple work, dear model"]
    same = found["identical requests"]
    assert same.requests == 299
    assert same.saved == sum(s.alone["exact"] for s in played(calls) if s.kind)
    assert same.month is not None
    assert same.month.amount == same.saved
    assert same.blamed[0] == "log:1"
    assert same.fix == FIXES["identical requests"]


def test_small_change_is_no_leak() -> None:
    leaks = Leaks(PRICER.cost)
    for n in range(300):
        leaks.add(call(at=n), Step(10**9, alone={"exact": 10**6}, kind="exact"), "x")
    assert leaks.worst(300 * 10**9, MONTH_S) == []
    assert len(leaks.worst(30 * 10**9, MONTH_S)) == 1


@pytest.mark.parametrize(
    ("seconds", "month"),
    [
        (MONTH_S, 300 * 10**9),
        (MONTH_S / 2, 600 * 10**9),
        (2 * MONTH_S, 150 * 10**9),
        (86_400.0, 9_000 * 10**9),
        (3_600.0, None),
        (0.0, None),
    ],
)
def test_a_month_is_thirty_days_like_those_of_the_log(seconds: float, month: int | None) -> None:
    steps = [Step(10**9, alone={"exact": 10**9}, kind="exact")] * 300
    found = leaks_of([call(at=n) for n in range(300)], steps, seconds=seconds)
    same = found["identical requests"]
    assert same.saved == 300 * 10**9
    assert (None if same.month is None else same.month.amount) == month


def test_the_dearest_requests_are_to_blame() -> None:
    amounts = [1, 9, 3, 9, 5]
    calls = [call(at=n, source=f"log:{n}") for n in range(5)]
    steps = [Step(a * 10**9, alone={"exact": a * 10**9}, kind="exact") for a in amounts]
    assert leaks_of(calls, steps)["identical requests"].blamed == ("log:1", "log:3", "log:4")


@given(st.lists(st.integers(-50, 50), max_size=60))
def test_who_is_to_blame_is_whoever_saved_most_and_came_first(amounts: list[int]) -> None:
    blamed = TopSources()
    for place, amount in enumerate(amounts):
        blamed.add(amount, str(place))
    ranked = sorted(range(len(amounts)), key=lambda place: (-amounts[place], place))
    assert list(blamed) == [str(place) for place in ranked[:3]]


def test_what_came_too_late_is_worth_what_a_longer_lifetime_would_catch() -> None:
    calls = [call(at=n) for n in range(20)]
    late = [3_000.0] * 9 + [20_000.0] * 9 + [2_000_000.0, 9_000_000.0]
    steps = [Step(10**9, late=seconds) for seconds in late]
    found = leaks_of(calls, steps)[LATE]
    # 18 of the 19 that some lifetime catches are caught by 8 hours (3,600 + 20,000 s are fewer).
    assert found.saved == 18 * 10**9
    assert found.note == "kept for 28,800 s, 90% of that would have been saved"
    assert leaks_of(calls, [Step(10**9, late=9e6)] * 20) == {}  # no lifetime there is


def test_marks_are_worth_what_they_cost_over_plain_input() -> None:
    usage = Usage(input_tokens=100, cache_write_5m_tokens=100_000, output_tokens=10)
    marked = [call(at=n * 1_000, usage=usage, model=OPUS) for n in range(9)]
    steps = [Step(spent(one), plan="caller-marked") for one in marked]
    found = leaks_of(marked, steps)["marks nobody reads"]
    assert found.saved == 9 * 100_000 * 1_000  # $5 in place of $4 a million: 1,000 each
    read = replace(usage, cache_write_5m_tokens=0, cache_read_tokens=100_000)
    marked += [replace(one, usage=read) for one in marked]
    steps = [Step(spent(one), plan="caller-marked") for one in marked]
    assert "marks nobody reads" not in leaks_of(marked, steps)  # they were read: worth it


def test_an_older_model_costs_what_its_successor_would_not() -> None:
    old = [call(f"q{n}", n, model="claude-opus-5", usage=Usage(10_000, 1_000)) for n in range(50)]
    found = leaks_of(old, [Step(spent(one)) for one in old])["older model"]
    assert found.saved == 50 * (10_000 * 1_000 + 1_000 * 5_000)  # $5/25 and $4/20 a million
    new = [replace(one, model=OPUS) for one in old]
    assert "older model" not in leaks_of(new, [Step(spent(one)) for one in new])


def test_a_prompt_of_haiku_is_worth_what_the_same_cut_to_the_limit_costs() -> None:
    model = "claude-haiku-5-5"
    long = [call(f"q{n}", n, model=model, usage=Usage(200_000, 100)) for n in range(9)]
    found = leaks_of(long, [Step(spent(one)) for one in long])["long prompts on Haiku"]
    assert found.saved == 9 * (spent(long[0]) - spent(long[0], Usage(100_000, 100)))
    fits = [replace(one, usage=Usage(100_000, 100)) for one in long]
    assert "long prompts on Haiku" not in leaks_of(fits, [Step(spent(one)) for one in fits])


def talk(turns: int, at: float) -> Call:
    said = [
        {"role": ("user", "assistant")[n % 2], "content": f"turn {n} " * 500}
        for n in range(2 * turns - 1)
    ]
    usage = Usage(turns * 2_500, 100)
    return replace(call(at=at, usage=usage, model=OPUS), body={"model": OPUS, "messages": said})


def test_a_growing_conversation_is_worth_its_older_turns() -> None:
    long = [talk(40, n) for n in range(9)]
    found = leaks_of(long, [Step(spent(one)) for one in long])["growing conversations"]
    whole = sum(spent(one) for one in long)
    assert 0.7 * whole < found.saved < 0.9 * whole  # 34 or 35 of 39 exchanges leave
    short = [talk(5, n) for n in range(9)]
    assert "growing conversations" not in leaks_of(short, [Step(spent(one)) for one in short])


def dated(n: int, at: float, text: str) -> Call:
    system = text + " Answer from the handbook, in two sentences, and name the page." * 200
    usage = Usage(6_000, 50)
    return call(f"question {n}", at, system=system, usage=usage, model=OPUS)


def test_a_time_in_the_system_prompt_is_worth_what_claudes_cache_would_read() -> None:
    moving = [dated(n, n * 60, f"It is 2026-11-02T10:{n:02}:00Z.") for n in range(50)]
    found = leaks_of(moving)["dynamic system prompt"]
    whole = sum(spent(one) for one in moving)
    assert 0.3 * whole < found.saved < whole
    assert found.requests == 50
    still = [dated(n, n * 60, "It is 2026-11-02.") for n in range(50)]
    found_still = leaks_of(still)
    assert "dynamic system prompt" not in found_still
    assert "unmarked prefix" in found_still
    seldom = [dated(n, n * 600, f"It is 2026-11-02T10:{n:02}:00Z.") for n in range(50)]
    assert "dynamic system prompt" not in leaks_of(seldom)  # cold each time: marks would not pay


def test_failures_that_were_billed_are_a_leak() -> None:
    calls = [replace(call(at=n), status=500) for n in range(20)]
    found = leaks_of(calls, [Step(10**9, reason="failed")] * 20)
    assert found["failures that were billed"].saved == 20 * 10**9
    assert leaks_of(calls, [Step(0, reason="failed")] * 20) == {}
