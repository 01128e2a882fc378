"""Amounts, tables and nested values as a terminal shows them."""

from __future__ import annotations

import pytest

from cacheserver.core.terminal import output


@pytest.mark.parametrize(
    ("usd", "shown"),
    [
        ("0.000000001", "$0.000000001"),
        ("0.100000000", "$0.10"),
        ("1234567.5", "$1,234,567.50"),
        ("-0.0008816", "-$0.0008816"),
        ("0", "$0.00"),
        ("1E-9", "$0.000000001"),
        (None, "-"),
    ],
)
def test_an_amount_is_exact_with_cents_at_least(usd: str | None, shown: str) -> None:
    assert output.dollars(usd) == shown


def test_columns_are_aligned_and_nothing_in_them_can_break_a_line() -> None:
    assert output.table(("A", "LONGER"), [("x\ny", None), ("b", 2)]) == [
        "A           LONGER",
        "x<U+000A>y",
        "b           2",
    ]


def test_nested_values_are_shown_by_their_paths() -> None:
    assert output.flat({"a": {"b": 1, "c": {}}, "d": [2]}) == {"a.b": 1, "a.c": {}, "d": [2]}
