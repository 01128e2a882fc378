"""Sums over ledger rows: one vector of integers per cell.

Rule: a number is identified by its position. New ones are appended, so that sums written by an
older server can still be read; none is ever moved or removed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from zlib import crc32

from cacheserver.core.ledger_row import CAUSES, GONE, OUTCOMES, SPENDS, Comparison, Row
from cacheserver.core.money import Nanodollars

# Requests with bills at other models (`ledger.comparison`), what they did cost, and the bills; the
# same of those whose tenant named a model, and the sum of that model's mark.
COMPARED: Final = (
    *("compared", "compared_cost", "opus_bill", "sonnet_bill"),
    *("named", "named_cost", "named_bill", "named_mark"),
)

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
    *COMPARED,
)
PLACE: Final[Mapping[str, int]] = {name: place for place, name in enumerate(NAMES)}

# Sums of a task, a tag or a conversation.
SHORT: Final = ("requests", "cost", "saved", "spent")

_SAVED: Final = {cause: PLACE[f"{cause}_saved"] for cause in CAUSES}
_COMPARED: Final = PLACE[COMPARED[0]]
_SPENT: Final = {spend: PLACE[f"{spend}_spent"] for spend in SPENDS}


def row_sums(row: Row) -> list[tuple[int, int]]:
    """Return what a row adds, as (position, number); zeros are left out."""
    found = [(PLACE[row.outcome], 1)]
    if row.outcome != "background":  # which is no request: no caller saw an outcome
        found.append((PLACE["requests"], 1))
    if row.outcome == "failed" and row.status == GONE:
        found.append((PLACE["gone"], 1))
    if row.outcome == "miss" and row.reason == "unsupported":
        found.append((PLACE["unsupported"], 1))
    found += [(_SAVED[cause], amount) for cause, amount in row.saved.items() if amount]
    if row.spent:
        found += [(_SPENT[spend], amount) for spend, amount in row.spent.items() if amount]
    if row.batch_eligible:
        found.append((PLACE["eligible"], 1))
    if row.batched:
        found.append((PLACE["batched"], 1))
    if row.cost:
        found.append((PLACE["cost"], row.cost))
    if row.unpriced:
        found.append((PLACE["unpriced"], 1))
    if row.call is not None:
        usage = row.usage.billed
        counts = (
            ("calls", 1),
            ("input", usage.input_tokens),
            ("output", usage.output_tokens),
            ("cache_read", usage.cache_read_tokens),
            ("cache_write_5m", usage.cache_write_5m_tokens),
            ("cache_write_1h", usage.cache_write_1h_tokens),
            ("web_searches", usage.web_searches),
        )
        found += [(PLACE[name], count) for name, count in counts if count]
    if row.compared is not None:
        found += _compared(row.compared, row.cost or 0)
    if row.unknown is not None:
        found.append((PLACE["unknown"], 1))
        bounds = (("unknown_least", row.unknown.least), ("unknown_most", row.unknown.most or 0))
        found += [(PLACE[name], amount) for name, amount in bounds if amount]
        if row.unknown.most is None:
            found.append((PLACE["unbounded"], 1))
    return found


def model_mark(model: str) -> int:
    """Return a number of 16 bits for a model's name, the same on every server.

    Of requests that were all compared with one model, the sum of the marks is their number times
    its mark. So a sum over several models is known as one, and is not shown as any model's.
    """
    return crc32(model.encode()) & 0xFFFF


def _compared(found: Comparison, cost: Nanodollars) -> list[tuple[int, int]]:
    numbers = [1, cost, found.opus, found.sonnet]
    if found.model is not None:
        numbers += (1, cost, found.named, model_mark(found.model))
    return [(place, number) for place, number in enumerate(numbers, _COMPARED) if number]


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
