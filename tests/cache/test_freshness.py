"""The decision by a threshold, and the rules that hold under any bar."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.cache.freshness import (
    EXPLAINED,
    Selection,
    bar_of,
    decide,
    enabled_vetoes,
    fresh,
    servable_stale,
)
from cacheserver.core.types import Bar, Controls, Entry, Tenant, Usage
from cacheserver.english.language import english
from cacheserver.matching import conformal_bound
from cacheserver.matching.language import ALL_VETOES, VETO_NAMES, vetoes_between
from cacheserver.matching.neighbours import Neighbour


def entry(id: str = "e", created: float = 0.0, expires: float = 100.0) -> Entry:
    return Entry(
        id=id,
        tenant="t",
        namespace="default",
        fingerprint="f",
        scope="s",
        text="q",
        model="m",
        message=b"{}",
        usage=Usage(),
        cost=1,
        tags=(),
        created_at=created,
        expires_at=expires,
    )


ENGLISH = english()
ASKED = "How do I enable sync on my phone?"
# One that no veto refuses, one that several do, one that shares next to nothing.
TEXTS = (
    "How can I enable sync on my phone?",
    "How do I disable sync on my phone?",
    "Who wrote Hamlet?",
)

neighbours = st.lists(
    st.builds(
        lambda similarity, text: (similarity, text), st.floats(-1, 1), st.sampled_from(TEXTS)
    ),
    max_size=9,
).map(
    lambda found: [
        Neighbour(str(place), similarity, str(place), ENGLISH.profile(text))
        for place, (similarity, text) in enumerate(found)
    ]
)
some_vetoes = st.frozensets(st.sampled_from(sorted(VETO_NAMES)))


def chosen(
    found: list[Neighbour], threshold: float, enabled: frozenset[str] = ALL_VETOES
) -> Selection:
    asked = ENGLISH.profile(ASKED)
    return decide(asked, found, threshold, language=ENGLISH, enabled=enabled)


def near(text: str, similarity: float, id: str = "e") -> Neighbour:
    return Neighbour(id, similarity, id, ENGLISH.profile(text))


@given(neighbours, st.floats(0.01, 1), some_vetoes)
def test_what_is_served_is_the_most_similar_that_reaches_it_and_no_veto_refuses(
    found: list[Neighbour], threshold: float, enabled: frozenset[str]
) -> None:
    selection = chosen(found, threshold, enabled)
    asked = ENGLISH.profile(ASKED)
    reached = [one for one in found if one.similarity >= threshold]
    free = [one for one in reached if not vetoes_between(asked, one.profile, enabled, ENGLISH)]
    if free:
        best = max(free, key=lambda one: one.similarity)
        served = next(one for one in found if one.id == selection.serve)
        assert (served.similarity, selection.reason) == (best.similarity, "similar")
        assert served in free
    else:
        assert selection.serve is None
        assert selection.reason == ("vetoed" if reached else "below-threshold")
    nearest = sorted(found, key=lambda one: -one.similarity)[:EXPLAINED]
    for one in nearest:
        fired = vetoes_between(asked, one.profile, enabled, ENGLISH)
        assert selection.vetoes.get(one.id) == (fired[0] if fired else None)


@given(neighbours, st.floats(0.01, 1), some_vetoes, st.sampled_from(sorted(VETO_NAMES)))
def test_one_veto_more_never_serves_what_was_not(
    found: list[Neighbour], threshold: float, enabled: frozenset[str], more: str
) -> None:
    if chosen(found, threshold, enabled).serve is None:
        assert chosen(found, threshold, enabled | {more}).serve is None


def test_the_threshold_is_inclusive() -> None:
    found = [near(TEXTS[0], 0.95)]
    assert chosen(found, 0.95) == Selection("e", "similar", {})
    assert chosen(found, 0.950001) == Selection(None, "below-threshold", {})


def test_a_veto_passes_to_the_next_candidate() -> None:
    found = [near(TEXTS[1], 0.99, "opposite"), near(TEXTS[0], 0.96, "same")]
    for order in (found, found[::-1]):
        assert chosen(order, 0.95) == Selection("same", "similar", {"opposite": "antonym"})
    assert chosen(found, 0.97) == Selection(None, "vetoed", {"opposite": "antonym"})
    lifted = enabled_vetoes(Bar(0.97, vetoes_off=("antonym", "substitution")))
    assert chosen(found, 0.97, lifted).serve == "opposite"


def test_a_preferred_one_goes_first_among_those_that_reach_the_threshold() -> None:
    nearer = Neighbour("a", 0.99, "a", ENGLISH.profile(TEXTS[0]))
    vouched = Neighbour("b", 0.96, "b", ENGLISH.profile(TEXTS[0]), preferred=True)
    vetoed = Neighbour("c", 0.98, "c", ENGLISH.profile(TEXTS[1]), preferred=True)

    def served(threshold: float) -> str | None:
        question, among = ENGLISH.profile(ASKED), [nearer, vetoed, vouched]
        return decide(question, among, threshold, language=ENGLISH, enabled=ALL_VETOES).serve

    assert [served(0.95), served(0.96), served(0.97), served(1)] == ["b", "b", "a", None]


def test_of_two_equals_the_one_that_comes_first_wins() -> None:
    found = [near(TEXTS[0], 0.99, "new"), near(TEXTS[0], 0.99, "old")]
    assert chosen(found, 0.9).serve == "new"


def test_the_sixth_serves_where_the_five_before_are_vetoed() -> None:
    found = [near(TEXTS[1], 0.99 - place / 1000, f"no{place}") for place in range(6)]
    assert chosen([*found, near(TEXTS[0], 0.96, "yes")], 0.95).serve == "yes"


@pytest.mark.parametrize(
    ("target", "floor"), [(0.001, 0.99), (0.01, 0.9), (0.05, 0.5), (0.2, 0.5), (0.5, 0.5)]
)
def test_a_single_hit_is_never_likelier_wrong_than_ten_times_the_target_or_a_coin(
    target: float, floor: float
) -> None:
    assert conformal_bound.probability_floor(target) == pytest.approx(floor)


@pytest.mark.parametrize(("now", "expected"), [(99.9, True), (100.0, False), (100.1, False)])
def test_an_entry_dies_at_its_deadline(now: float, expected: bool) -> None:
    assert fresh(entry(expires=100.0), Controls(), now) == expected


@pytest.mark.parametrize(("age", "expected"), [(9, True), (10, True), (11, False)])
def test_max_age_bounds_the_age(age: int, expected: bool) -> None:
    assert fresh(entry(), Controls(max_age_s=10), age) == expected


@pytest.mark.parametrize(
    ("controls", "now", "is_fresh", "stands_in"),
    [
        (Controls(min_fresh_s=10), 89, True, False),
        (Controls(min_fresh_s=10), 90, False, False),
        (Controls(max_stale_s=0), 99, True, True),
        (Controls(max_stale_s=0), 100, False, False),
        (Controls(max_stale_s=5), 104, False, True),
        (Controls(max_stale_s=5), 105, False, False),
        (Controls(max_stale_s=500), 150, False, False),  # no more than the tenant's own bound
    ],
)
def test_a_caller_may_ask_for_fresher_answers_and_never_for_older_ones(
    controls: Controls, now: float, is_fresh: bool, stands_in: bool
) -> None:
    assert fresh(entry(), controls, now) is is_fresh
    assert servable_stale(entry(), Tenant("t", stale_s=50), controls, now) is stands_in


@pytest.mark.parametrize(
    ("stale_s", "read", "now", "expected"),
    [
        (0, True, 100.0, False),
        (60, True, 100.0, True),
        (60, True, 159.9, True),
        (60, True, 160.0, False),
        (60, False, 100.0, False),
    ],
)
def test_stale_is_opted_into_and_bounded(
    stale_s: int, read: bool, now: float, expected: bool
) -> None:
    tenant = Tenant("t", stale_s=stale_s)
    assert servable_stale(entry(), tenant, Controls(read=read), now) == expected


def test_the_narrowest_bar_holds() -> None:
    tenant = Tenant("t", bar=Bar(0.9), namespace_bars={"n": Bar(0.8)}, scope_bars={"s": Bar(0.99)})
    found = [bar_of(tenant, *at) for at in (("n", "s"), ("n", "x"), ("m", "x"))]
    assert found == [Bar(0.99), Bar(0.8), Bar(0.9)]
