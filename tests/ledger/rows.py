"""Rows for tests."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from cacheserver.core.ledger_row import CAUSES, OUTCOMES, SPENDS, Bounds, Row
from cacheserver.core.types import Usage

AT = 1_795_000_000.0  # in November 2026
_numbers = itertools.count(1)


def row(**given: Any) -> Row:
    made = Row(
        id=f"dec_{next(_numbers)}",
        at=AT,
        tenant="acme",
        outcome="miss",
        reason="empty",
        asked="claude-haiku-5-5",
        model="claude-haiku-5-5",
        usage=Usage(100, 20),
        cost=20_000,
        call=f"msg_{next(_numbers)}",
    )
    return replace(made, **given)


def hit(**given: Any) -> Row:
    return row(
        **{"outcome": "exact", "reason": "identical", "usage": Usage(), "cost": 0}
        | {"call": None, "saved": {"exact": 20_000}}
        | given
    )


_tokens = st.integers(0, 500_000)
_counts = {
    "input_tokens": _tokens,
    "output_tokens": _tokens,
    "cache_write_5m_tokens": _tokens,
    "cache_write_1h_tokens": _tokens,
    "cache_read_tokens": _tokens,
}
_legs = st.tuples(
    st.sampled_from(["claude-haiku-5-5", "claude-opus-5-5"]), st.builds(Usage, **_counts)
)
usages = st.builds(
    Usage,
    **_counts,
    iterations=st.just(()) | st.lists(_legs, min_size=1, max_size=3).map(tuple),
    web_searches=st.integers(0, 9),
    service_tier=st.sampled_from(["standard", "batch"]),
    speed=st.sampled_from(["standard", "fast"]),
    inference_geo=st.sampled_from(["", "us", "global"]),
)
_amounts = st.integers(-(10**12), 10**12)
names = st.text(
    st.characters(codec="utf-8", exclude_characters="\x1f\x00"), min_size=1, max_size=12
)
rows = st.builds(
    row,
    at=st.floats(AT - 86_400, AT),
    tenant=st.sampled_from(["acme", "b:c", "d@e"]),
    key_id=st.none() | st.sampled_from(["k1", "k2"]),
    outcome=st.sampled_from(OUTCOMES),
    model=st.none() | st.sampled_from(["claude-haiku-5-5", "claude-opus-5-5"]),
    task=st.none() | names,
    tags=st.lists(names, max_size=3, unique=True).map(tuple),
    conversation=st.none() | names,
    usage=usages,
    cost=st.none() | st.integers(0, 10**12),
    saved=st.dictionaries(st.sampled_from(CAUSES), _amounts),
    spent=st.dictionaries(st.sampled_from(SPENDS), st.integers(0, 10**9)),
    unknown=st.none() | st.builds(Bounds, st.integers(0, 10**9), st.none() | st.integers(0, 10**9)),
    stream=st.booleans(),
    batch_eligible=st.booleans(),
    batched=st.booleans(),
)
