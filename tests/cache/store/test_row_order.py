"""Order of rows: as Python sorts tuples."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.cache.store.row_order import order_by

_rows = st.lists(st.tuples(*[st.integers(0, 3)] * 4), max_size=30)


@given(_rows)
def test_rows_are_ordered_by_their_keys_and_then_by_the_last_ones(
    rows: list[tuple[int, ...]],
) -> None:
    columns = [np.array([row[place] for row in rows], dtype=int) for place in range(4)]
    order = order_by(columns[:2], columns[2:])
    assert sorted(order.tolist()) == list(range(len(rows)))
    assert [rows[place] for place in order] == sorted(rows)
