"""The decision: the best live candidate that clears the bar, else a reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.policy.decide import bar_of, decide, fresh, servable_stale
from cacheserver.types import Bar, Candidate, Controls, Entry, Hit, Miss, Tenant, Usage


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


candidates = st.builds(
    lambda similarity, created, expires: Candidate(
        entry(f"{similarity}-{created}", created, expires), similarity
    ),
    st.floats(-1, 1),
    st.integers(0, 20),
    st.integers(0, 100),
)


@given(st.lists(candidates, max_size=6), st.floats(0.01, 1), st.integers(0, 100))
def test_what_is_served_is_live_clears_the_bar_and_is_the_most_similar(
    found: list[Candidate], similarity: float, now: int
) -> None:
    decision = decide(found, Bar(similarity), Controls(), now)
    live = [c for c in found if now < c.entry.expires_at]
    clearing = [c for c in live if c.similarity >= similarity]
    match decision:
        case Hit(candidate=candidate):
            assert candidate in clearing
            assert candidate is not None
            assert candidate.similarity == max(c.similarity for c in clearing)
        case Miss(reason="empty"):
            assert not live
        case Miss(reason="below-threshold", nearest=nearest):
            assert live
            assert not clearing
            assert nearest is not None
            assert nearest.similarity == max(c.similarity for c in live)
        case _:
            pytest.fail(f"unexpected {decision}")


def test_the_bar_is_inclusive() -> None:
    found = [Candidate(entry(), 0.95)]
    assert isinstance(decide(found, Bar(0.95), Controls(), 0), Hit)
    assert decide(found, Bar(0.950001), Controls(), 0) == Miss("below-threshold", found[0])


def test_the_newer_of_two_equals_wins() -> None:
    old, new = (Candidate(entry(id, created), 0.99) for id, created in (("a", 1), ("b", 2)))
    for found in ([old, new], [new, old]):
        assert decide(found, Bar(0.9), Controls(), 3) == Hit(new, "semantic", "similar")


@pytest.mark.parametrize(("now", "expected"), [(99.9, True), (100.0, False), (100.1, False)])
def test_an_entry_dies_at_its_deadline(now: float, expected: bool) -> None:
    assert fresh(entry(expires=100.0), Controls(), now) == expected


@pytest.mark.parametrize(("age", "expected"), [(9, True), (10, True), (11, False)])
def test_max_age_bounds_the_age(age: int, expected: bool) -> None:
    assert fresh(entry(), Controls(max_age_s=10), age) == expected


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
