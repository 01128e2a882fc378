"""Sums over ledger rows: one vector of integers per cell.

Rule: a number is identified by its position. New ones are appended, so that sums written by an
older server can still be read; none is ever moved or removed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from cacheserver.core.ledger_row import CAUSES, GONE, OUTCOMES, SPENDS, Row

# The numbers that every request has come first: a vector ends with its last non-zero number.
NAMES: Final = (
    *("requests", *OUTCOMES),
    *("exact_saved", "calls", "cost", "input", "output", "eligible"),
    *("cache_read", "cache_write_5m", "cache_write_1h", "web_searches", "batched"),
    *("unpriced", "unknown", "unknown_least", "unknown_most", "unbounded"),
    *("semantic_saved", "coalesced_saved", "stale_saved", "routing_saved", "compaction_saved"),
    *("output-cap_saved", "prompt-caching_saved", "batch_saved"),
    *("audit_spent", "judge_spent", "classifier_spent", "prewarm_spent", "summary_spent"),
    *("trial_spent", "retry_spent"),
    "gone",  # failed requests whose callers disconnected or cancelled
    "unsupported",  # misses: a likely candidate, but too far from the labels and the prior
    *("verify_saved", "verify_spent"),
)
PLACE: Final[Mapping[str, int]] = {name: place for place, name in enumerate(NAMES)}

# Sums of a task, a tag or a conversation.
SHORT: Final = ("requests", "cost", "saved", "spent")

_SAVED: Final = {cause: PLACE[f"{cause}_saved"] for cause in CAUSES}
_SPENT: Final = {spend: PLACE[f"{spend}_spent"] for spend in SPENDS}


def row_sums(row: Row) -> Iterator[tuple[int, int]]:
    """Yield what a row adds, as (position, number); zeros are left out."""
    yield from ((place, number) for place, number in _of(row) if number)


def _of(row: Row) -> Iterator[tuple[int, int]]:
    # Background work is not a request: no caller saw an outcome.
    yield PLACE["requests"], int(row.outcome != "background")
    yield PLACE[row.outcome], 1
    yield PLACE["gone"], int(row.outcome == "failed" and row.status == GONE)
    if row.outcome == "miss":
        yield PLACE["unsupported"], int(row.reason == "unsupported")
    if row.outcome == "exact" and row.saved:
        yield PLACE["exact_saved"], row.saved.get("exact", 0)
    else:
        for cause, amount in row.saved.items():
            yield _SAVED[cause], amount
    for spend, amount in row.spent.items():
        yield _SPENT[spend], amount
    yield PLACE["eligible"], int(row.batch_eligible)
    yield PLACE["batched"], int(row.batched)
    yield PLACE["cost"], row.cost or 0
    yield PLACE["unpriced"], int(row.unpriced)
    if row.call is not None:
        usage = row.usage.billed
        yield PLACE["calls"], 1
        yield PLACE["input"], usage.input_tokens
        yield PLACE["output"], usage.output_tokens
        yield PLACE["cache_read"], usage.cache_read_tokens
        yield PLACE["cache_write_5m"], usage.cache_write_5m_tokens
        yield PLACE["cache_write_1h"], usage.cache_write_1h_tokens
        yield PLACE["web_searches"], usage.web_searches
    if row.unknown is not None:
        yield PLACE["unknown"], 1
        yield PLACE["unknown_least"], row.unknown.least
        yield PLACE["unknown_most"], row.unknown.most or 0
        yield PLACE["unbounded"], int(row.unknown.most is None)


def short_row_sums(row: Row) -> tuple[tuple[int, int], ...]:
    """Return what a row adds to the sums of its task, tags and conversation."""
    numbers = (1, row.cost or 0, sum(row.saved.values()), sum(row.spent.values()))
    return tuple((place, number) for place, number in enumerate(numbers) if number)


def add_vector(into: list[int], numbers: Sequence[int]) -> None:
    """Add `numbers` to `into` in place; a shorter `into` grows."""
    if len(numbers) > len(into):
        into.extend([0] * (len(numbers) - len(into)))
    for place, number in enumerate(numbers):
        into[place] += number
