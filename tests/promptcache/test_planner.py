"""Where marks go: what must always hold, and what is worth a mark at all."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.cache import fingerprint
from cacheserver.core.types import Mark, Tenant, Usage
from cacheserver.pricing.prices import Pricer
from cacheserver.promptcache.layout import lay_out, marked_by_caller, minimum, with_marks
from cacheserver.promptcache.multipliers import Rates, gain, rates
from cacheserver.promptcache.planner import (
    LOOKBACK,
    Draft,
    Gaps,
    PrefixStats,
    begun,
    draft,
    refund,
    settle,
    worths,
)
from scripts.benchmarks.planner import query_of

NOW = 1_795_000_000.0
SONNET = "claude-sonnet-5-5"
COST = Pricer().cost

LONG = "word " * 700  # some 1,400 tokens: over the minimum of the newest models

texts = st.sampled_from(["Hi.", "  ", LONG, "Be brief. " + LONG])
text_blocks = st.builds(lambda text: {"type": "text", "text": text}, texts)
blocks = st.one_of(
    text_blocks,
    st.just({"type": "thinking", "thinking": "hm", "signature": "s"}),
    st.just({"type": "tool_use", "id": "t", "name": "look", "input": {"cache_control": 1}}),
    st.just({"type": "tool_result", "tool_use_id": "t", "content": LONG}),
    st.just({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ""}}),
)
turns = st.builds(
    lambda role, content: {"role": role, "content": content},
    st.sampled_from(["user", "assistant"]),
    st.one_of(texts, st.lists(blocks, min_size=1, max_size=30)),
)
tools = st.builds(
    lambda name, words: {
        "name": name,
        "input_schema": {"type": "object", "properties": {"cache_control": {"type": "string"}}},
        "description": words,
    },
    st.sampled_from(["look", "find"]),
    texts,
)
bodies = st.builds(
    lambda system, messages, tools, model: {
        "model": model,
        "max_tokens": 10,
        "messages": messages,
        **({} if system is None else {"system": system}),
        **({} if tools is None else {"tools": tools}),
    },
    st.one_of(st.none(), texts, st.lists(text_blocks, min_size=1, max_size=5)),
    st.lists(turns, min_size=1, max_size=8),
    st.one_of(st.none(), st.lists(tools, min_size=1, max_size=3)),
    st.sampled_from([SONNET, "claude-haiku-5-5", "claude-haiku-4-5"]),
)
gaps = st.builds(Gaps, *(st.floats(0, 50) for _ in range(3)))
sights = st.builds(
    PrefixStats,
    sightings=st.floats(1, 60),
    gaps=gaps,
    kind_opened=st.floats(0, 100),
    kind=gaps,
    used_at=st.one_of(st.none(), st.floats(NOW - 5_000, NOW)),
    ttl=st.sampled_from(["5m", "1h"]),
    writing=st.sampled_from(["no", "ours", "theirs"]),
    account=st.floats(-5_000, 5_000),
    void=st.booleans(),
)


def priced(model: str = SONNET) -> Rates:
    found = rates(COST, model, NOW)
    assert found is not None
    return found


def planned(body: dict[str, Any], draw: st.DataObject) -> Draft:
    layout = lay_out(body, body["model"], {})
    seen = draw.draw(st.lists(sights, min_size=len(layout.spots), max_size=len(layout.spots)))
    return draft(layout, seen, priced(), now=NOW)


def marks_in(value: Any) -> Iterator[dict[str, Any]]:
    """The marks where the API takes them, in the order of the prompt."""
    for part in (value.get("tools") or [], value.get("system"), *_contents(value)):
        if isinstance(part, list):
            yield from (block["cache_control"] for block in part if "cache_control" in block)


def _contents(body: dict[str, Any]) -> list[Any]:
    return [message["content"] for message in body["messages"]]


def unmarked(body: dict[str, Any], like: dict[str, Any]) -> dict[str, Any]:
    """The body without marks, its text blocks strings again where `like` has strings."""
    bare = copy.deepcopy(body)
    for tool in bare.get("tools") or []:
        tool.pop("cache_control", None)
    places = [(bare, like, "system")] if "system" in bare else []
    places += [
        (one, two, "content") for one, two in zip(bare["messages"], like["messages"], strict=True)
    ]
    for holder, other, name in places:
        if isinstance(holder[name], list):
            for block in holder[name]:
                block.pop("cache_control", None)
        if isinstance(other[name], str) and isinstance(holder[name], list):
            (block,) = holder[name]
            assert block.keys() == {"type", "text"}
            holder[name] = block["text"]
    return bare


@given(bodies, st.data())
def test_a_plan_changes_nothing_but_marks(body: dict[str, Any], data: st.DataObject) -> None:
    before = copy.deepcopy(body)
    marked = with_marks(body, planned(body, data).as_marks())
    assert body == before
    assert unmarked(marked, body) == body
    one, two = query_of(body, Tenant("acme")), query_of(marked, Tenant("acme"))
    assert (one.fingerprint, one.scope, one.text) == (two.fingerprint, two.scope, two.text)


@given(bodies, st.data())
def test_marks_are_four_at_most_in_order_the_hour_first(
    body: dict[str, Any], data: st.DataObject
) -> None:
    plan = planned(body, data)
    marked = with_marks(body, plan.as_marks())
    found = [mark.get("ttl", "5m") for mark in marks_in(marked)]
    assert len(found) == len(plan.marks) <= 4
    assert found == sorted(found)  # "1h" before "5m"
    assert all(plan.spots[at].tokens >= minimum(body["model"]) for at, _ in plan.marks)
    assert marked_by_caller(marked) == bool(found)


@given(bodies, st.data())
def test_what_is_written_was_free_to_be_written(body: dict[str, Any], data: st.DataObject) -> None:
    layout = lay_out(body, body["model"], {})
    size = len(layout.spots)
    seen = data.draw(st.lists(sights, min_size=size, max_size=size))
    plan = draft(layout, seen, priced(), now=NOW)
    known = dict(zip([spot.prefix for spot in layout.spots], seen, strict=True))
    for prefix, premium in plan.reserved:
        assert premium > 0
        assert known[prefix].account >= 0
        assert known[prefix].writing == "no"
        assert not known[prefix].void
    assert not draft(layout, seen, priced(), now=NOW, write=False).reserved


@given(bodies, st.data())
def test_what_is_read_is_found_by_a_mark_within_the_lookback(
    body: dict[str, Any], data: st.DataObject
) -> None:
    plan = planned(body, data)
    if plan.reach >= 0:
        at = plan.spots[plan.reach].position
        assert any(0 <= plan.spots[mark].position - at < LOOKBACK for mark, _ in plan.marks)


@given(bodies, st.data(), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_every_token_is_booked_once(
    body: dict[str, Any], data: st.DataObject, plain: int, read: int, written: int
) -> None:
    """What the accounts gain is what the call gained, in tokens at the plain price."""
    plan = planned(body, data)
    bookings = settle(plan, Usage(input_tokens=plain, cache_read_tokens=read))
    assert {one.prefix for one in bookings} >= {prefix for prefix, _ in plan.reserved}
    reached = max((plan.spots[at].tokens for at in _used(plan, bookings)), default=0)
    saved = sum(one.change for one in bookings) - sum(premium for _, premium in plan.reserved)
    assert saved == pytest.approx(reached * (1 - plan.rates.read))
    whole = settle(plan, Usage(input_tokens=plain, cache_write_5m_tokens=written + 1))
    assert sum(one.change for one in whole) <= sum(p for _, p in plan.reserved) + 1e-6


def _used(plan: Draft, bookings: Any) -> list[int]:
    prefixes = [spot.prefix for spot in plan.spots]
    return [prefixes.index(one.prefix) for one in bookings if one.used]


def system_of(tokens: int = 3_000) -> dict[str, Any]:
    return {
        "model": SONNET,
        "max_tokens": 10,
        "system": "a" * int(tokens * 2.5),
        "messages": [{"role": "user", "content": "Hi."}],
    }


def seen(*counts: float, **more: Any) -> PrefixStats:
    return PrefixStats(sightings=sum(counts) + 1, gaps=Gaps(*counts), **more)


@pytest.mark.parametrize(
    ("model", "five", "hour"),
    [
        ("claude-haiku-5-5", 0.2174, 0.5263),
        ("claude-sonnet-5-5", 0.2083, 0.5128),
        ("claude-fable-5-2", 0.2041, 0.5063),
    ],
)
def test_break_even_is_that_of_the_price_table(model: str, five: float, hour: float) -> None:
    """Facts 2: above these hit rates a write pays, below it does not."""
    many = 1e9  # so that the prior weighs nothing
    for share, least in ((five, "5m"), (hour, "1h")):
        for hit, pays in ((share - 0.001, False), (share + 0.001, True)):
            counts = (hit * many, 0.0) if least == "5m" else (0.0, hit * many)
            sight = seen(*counts, (1 - hit) * many)
            value = worths([sight], priced(model))[0]
            assert (value["5m" if least == "5m" else "1h"] > 0) == pays


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((20, 0, 0), "5m"),
        ((0, 20, 0), "1h"),
        ((19, 1, 0), "1h"),  # one avoided re-write is worth the dearer write
        ((0, 0, 20), None),
        ((3, 0, 17), None),  # under the break-even of 5 minutes
        ((8, 0, 12), "5m"),
        ((0, 9, 11), None),  # under the break-even of an hour
    ],
)
def test_the_lifetime_follows_the_gaps(counts: tuple[int, int, int], expected: str | None) -> None:
    layout = lay_out(system_of(), SONNET, {})
    sight = seen(*counts)
    plan = draft(
        layout, [sight, *[PrefixStats(sightings=1)] * (len(layout.spots) - 1)], priced(), now=NOW
    )
    assert [ttl for _, ttl in plan.marks] == ([] if expected is None else [expected])


def test_without_one_hour_writes_the_next_best_is_taken() -> None:
    layout = lay_out(system_of(), SONNET, {})
    rest = [PrefixStats(sightings=1)] * (len(layout.spots) - 1)
    plan = draft(layout, [seen(19, 1, 0), *rest], priced(), now=NOW, one_hour=False)
    assert [ttl for _, ttl in plan.marks] == ["5m"]


@pytest.mark.parametrize(("age_s", "reads"), [(296, True), (297, True), (298, False), (301, False)])
def test_an_entry_near_its_end_is_not_counted_on(age_s: float, reads: bool) -> None:
    layout = lay_out(system_of(), SONNET, {})
    old = PrefixStats(sightings=2, used_at=NOW - age_s, account=-1)
    plan = draft(layout, [old] * len(layout.spots), priced(), now=NOW)
    assert (plan.reason == "read") == reads


@pytest.mark.parametrize(
    ("sight", "reason"),
    [
        (PrefixStats(sightings=1), "first-sight"),
        (seen(0, 0, 5), "rarely-reused"),
        (seen(5, 0, 0, account=-1), "allowance-spent"),
        (seen(5, 0, 0, writing="theirs"), "being-written"),
        (seen(5, 0, 0, used_at=NOW - 10), "read"),
        (seen(5, 0, 0), "write"),
    ],
)
def test_every_plan_says_why(sight: PrefixStats, reason: str) -> None:
    layout = lay_out(system_of(), SONNET, {})
    plan = draft(layout, [sight] * len(layout.spots), priced(), now=NOW)
    assert plan.reason == reason


def test_a_short_prompt_is_left_alone() -> None:
    layout = lay_out(system_of(500), SONNET, {})
    assert draft(layout, [], priced(), now=NOW).reason == "too-short"


def test_a_document_before_the_question_is_marked_inside_the_turn() -> None:
    document = {"type": "text", "text": LONG}
    question = {"type": "text", "text": "What does it say?"}
    body = system_of(10) | {"messages": [{"role": "user", "content": [document, question]}]}
    layout = lay_out(body, SONNET, {})
    known = [
        seen(20, 0, 0) if spot.kind == "block" else PrefixStats(sightings=1)
        for spot in layout.spots
    ]
    plan = draft(layout, known, priced(), now=NOW)
    assert plan.as_marks() == (Mark(("messages", 0, "content", 0), "5m"),)


def test_a_conversation_is_marked_at_its_end_where_conversations_go_on() -> None:
    messages = [
        {"role": role, "content": LONG} for role in ("user", "assistant", "user", "assistant")
    ]
    body = system_of(10) | {"messages": [*messages, {"role": "user", "content": "And then?"}]}
    layout = lay_out(body, SONNET, {})
    goes_on = PrefixStats(sightings=1, kind_opened=100, kind=Gaps(within_5m=90))
    known = [goes_on if s.kind == "turn1" else PrefixStats(sightings=1) for s in layout.spots]
    assert draft(layout, known, priced(), now=NOW).as_marks() == (
        Mark(("messages", 4, "content", 0), "5m"),
    )


@pytest.mark.parametrize(
    "change",
    [
        {"model": "claude-haiku-5-5"},
        {"system": "b" * 9_000},
        {"tools": [{"name": "look", "input_schema": {}}]},
        {"tool_choice": {"type": "none"}},
        {"thinking": {"type": "disabled"}},
        {"output_config": {"effort": "low"}},
        {"speed": "fast"},
    ],
)
def test_what_invalidates_claudes_cache_makes_another_prefix(change: dict[str, Any]) -> None:
    body = system_of() | {"messages": [{"role": "user", "content": LONG}]}
    changed = body | change
    last = lay_out(body, str(body["model"]), {}).spots[-1]
    other = lay_out(changed, changed["model"], {}).spots[-1]
    assert last.kind == other.kind == "turn1"
    assert last.prefix != other.prefix


def test_another_workspace_shares_no_prefix() -> None:
    one, two = (
        lay_out(system_of(), SONNET, {"anthropic-workspace-id": name}).spots[0].prefix
        for name in ("a", "b")
    )
    assert one != two


def test_thinking_leaves_the_system_prompts_prefix_alone() -> None:
    body = system_of()
    one, two = (
        lay_out(body | {"thinking": {"type": kind}}, SONNET, {}).spots[0]
        for kind in ("adaptive", "disabled")
    )
    assert one.path == ("system", 0)
    assert one.prefix == two.prefix


@pytest.mark.parametrize(
    ("model", "least"),
    [
        ("claude-opus-5-5", 512),
        ("claude-haiku-5-5", 512),
        ("claude-sonnet-4-5-20250929", 1_024),
        ("anthropic/claude-opus-4-7", 2_048),
        ("claude-haiku-4-5-20251001", 4_096),
    ],
)
def test_minimums_are_those_of_the_facts(model: str, least: int) -> None:
    assert minimum(model) == least


def test_a_gain_is_what_the_cache_saved_and_may_be_negative() -> None:
    wrote = Usage(input_tokens=100, output_tokens=50, cache_write_5m_tokens=1_000)
    read = Usage(input_tokens=100, output_tokens=50, cache_read_tokens=1_000)
    assert gain(COST, SONNET, wrote, NOW) == -500_000  # a quarter of 1,000 tokens at $2 a million
    assert gain(COST, SONNET, read, NOW) == 1_900_000  # 95% of them
    assert gain(COST, "no-such-model", read, NOW) is None


def test_a_call_under_the_real_minimum_is_not_marked_there_again() -> None:
    layout = lay_out(system_of(600), SONNET, {})
    known = [seen(20, 0, 0), *[PrefixStats(sightings=1)] * (len(layout.spots) - 1)]
    plan = draft(layout, known, priced(), now=NOW)
    (booking,) = settle(plan, Usage(input_tokens=480))
    assert (booking.void, booking.used, booking.change) == (True, False, plan.reserved[0][1])


def test_a_refused_call_gives_its_premium_back_and_one_that_began_can_be_read() -> None:
    layout = lay_out(system_of(), SONNET, {})
    plan = draft(layout, [seen(20, 0, 0)] * len(layout.spots), priced(), now=NOW)
    assert [(one.prefix, one.change) for one in refund(plan)] == list(plan.reserved)
    assert [(one.used, one.change) for one in begun(plan)] == [(True, 0.0)] * len(plan.reserved)


def test_a_caller_who_marks_is_seen_wherever_they_mark() -> None:
    mark = {"type": "ephemeral"}
    text = {"type": "text", "text": "x", "cache_control": mark}
    plain = system_of()
    inner = {"type": "tool_result", "tool_use_id": "t", "content": [text]}
    for change in (
        {"cache_control": mark},
        {"system": [text]},
        {"tools": [{"name": "look", "input_schema": {}, "cache_control": mark}]},
        {"messages": [{"role": "user", "content": [text]}]},
        {"messages": [{"role": "user", "content": [inner]}]},
    ):
        assert marked_by_caller(plain | change)
    assert not marked_by_caller(plain)


def test_the_fingerprint_knows_the_same_marks() -> None:
    """What the planner writes is what the fingerprint leaves out."""
    body = system_of() | {"messages": [{"role": "user", "content": LONG}]}
    layout = lay_out(body, SONNET, {})
    for some in itertools.combinations(layout.spots, 1):
        marked = with_marks(body, [Mark(spot.path, "1h") for spot in some])
        assert fingerprint.shaping(marked) == fingerprint.shaping(body)


@pytest.mark.parametrize(("blocks_between", "hour"), [(18, True), (19, False)])
def test_an_hour_is_written_behind_five_minutes_only_within_the_lookback(
    blocks_between: int, hour: bool
) -> None:
    """The entry of 5 minutes gets no mark then: it must be found by looking back."""
    short = [{"type": "text", "text": "Hi."}] * blocks_between
    content = [*short, {"type": "text", "text": LONG}, {"type": "text", "text": "And?"}]
    body = system_of() | {"messages": [{"role": "user", "content": content}]}
    layout = lay_out(body, SONNET, {})
    live = PrefixStats(sightings=9, used_at=NOW - 10, ttl="5m")
    known = [live if s.kind == "system" else PrefixStats(sightings=1) for s in layout.spots]
    at = next(at for at, s in enumerate(layout.spots) if s.path[-1] == blocks_between)
    known[at] = seen(0, 20, 0)
    plan = draft(layout, known, priced(), now=NOW)
    assert ((at, "1h") in plan.marks) == hour
    assert plan.reach == 0
