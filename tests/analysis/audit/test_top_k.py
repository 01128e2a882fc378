"""The dearest of many keep their sums, and what is dear is never lost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from cacheserver.analysis.audit.top_k import TopK


@dataclass
class Sum:
    amount: int = 0


def worth(one: Sum) -> int:
    return one.amount


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.integers(0, 25), st.integers(0, 100)), max_size=200), st.integers(2, 12)
)
def test_what_is_worth_more_than_its_share_is_kept_and_nothing_is_lost(
    added: list[tuple[int, int]], most: int
) -> None:
    gone: list[Sum] = []
    dearest: TopK[int, Sum] = TopK(most, worth, gone.append)
    true: Counter[int] = Counter()
    for key, amount in added:
        dearest.of(key, Sum).amount += amount
        true[key] += amount
    kept = {key: one.amount for key, one in dearest}
    assert len(kept) <= most
    assert sum(kept.values()) + sum(one.amount for one in gone) == true.total()
    assert dearest.floor * most <= 2 * true.total()
    for key, amount in true.items():
        assert amount <= dearest.floor or kept[key] >= amount - dearest.floor
    assert list(kept.values()) == sorted(kept.values(), reverse=True)


def test_one_that_comes_again_and_again_outlasts_dear_ones_that_came_first() -> None:
    """Were the cheaper half let go without a floor, this one would be let go every time."""
    dearest: TopK[str, Sum] = TopK(8, worth)
    for n in range(4):
        dearest.of(f"dear {n}", Sum).amount += 100
    for n in range(1_000):
        dearest.of("steady", Sum).amount += 10
        for other in range(4):
            dearest.of(f"once {n} {other}", Sum).amount += 1
    first = next(iter(dearest))
    assert first[0] == "steady"
    assert first[1].amount > 10_000 - dearest.floor
