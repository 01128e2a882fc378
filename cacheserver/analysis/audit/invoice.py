"""Totals of Anthropic's own usage and cost reports, and estimates from these sums.

Rule: exact repeats, equal questions and routing need requests; of sums only bounds are told, and
they are called so. Tokens are priced as short prompts, so what is spent is the least it was.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final, NamedTuple

from cacheserver.analysis.audit.daily import Daily
from cacheserver.analysis.audit.successors import successor
from cacheserver.analysis.audit.tally import OTHER
from cacheserver.analysis.audit.top_sources import TopSources
from cacheserver.core.ledger_row import NOTHING
from cacheserver.core.types import Nanodollars, Usage
from cacheserver.core.usage import prompt_tokens
from cacheserver.ledger.counterfactual import rescale_tokens, without_prompt_caching
from cacheserver.pricing.prices import Pricer

_DAY_S: Final = 86_400
_SUMMED: Final = (
    *("input_tokens", "output_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens"),
    *("cache_read_tokens", "web_searches"),
)
_UNKNOWN: Final = "not told"


@dataclass(frozen=True, slots=True)
class Bucket:
    """A time bucket of a usage or cost report: sums, no requests."""

    start: float
    model: str | None
    usage: Usage = NOTHING  # tokens by kind, summed; the service tier they were served at
    cost: Nanodollars | None = None  # None: the report has no money
    key: str | None = None
    workspace: str | None = None


class Cell(NamedTuple):
    """The model, workspace, key and day of a sum of tokens."""

    day: int  # since 1970, UTC
    model: str
    workspace: str
    key: str
    way: tuple[str, str, str]  # service tier, speed, place

    @property
    def at(self) -> float:
        """The start of the day, Unix seconds."""
        return float(self.day * _DAY_S)


@dataclass(slots=True)
class Sums:
    """One line of a table."""

    spent: Nanodollars = 0  # of the tokens, at our prices
    billed: Nanodollars = 0  # by the cost report
    tokens: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Invoice:
    """Gathers reports. A report given twice counts twice.

    Bounded: of more than `most` workspaces, keys and days at once the later ones are `other`.
    """

    most: int = 200_000  # some 100 MB
    usage: dict[Cell, Usage] = field(default_factory=dict)
    costs: Counter[tuple[int, str, str]] = field(default_factory=Counter)  # day, model, workspace

    def add(self, bucket: Bucket) -> None:
        day = int(bucket.start // _DAY_S)
        model, workspace = bucket.model or _UNKNOWN, bucket.workspace or "default"
        if bucket.cost is not None:
            if len(self.costs) >= self.most and (day, model, workspace) not in self.costs:
                workspace = OTHER
            self.costs[day, model, workspace] += bucket.cost
            return
        usage = bucket.usage
        way = (usage.service_tier, usage.speed, usage.inference_geo)
        cell = Cell(day, model, workspace, bucket.key or _UNKNOWN, way)
        if len(self.usage) >= self.most and cell not in self.usage:
            cell = cell._replace(workspace=OTHER, key=OTHER)
        self.usage[cell] = _plus(self.usage.get(cell, NOTHING), usage)

    def __bool__(self) -> bool:
        return bool(self.usage or self.costs)

    @property
    def days(self) -> set[int]:
        """The days in the reports, counted from 1970, UTC."""
        return {cell.day for cell in self.usage} | {day for day, _, _ in self.costs}

    def within(self, since: float | None, until: float | None, days: int) -> Invoice:
        """Return the buckets of a range; by default the last days."""
        last = max(self.days, default=0)
        first = last - days + 1 if since is None else int(since // _DAY_S)
        end = last + 1 if until is None else -int(-until // _DAY_S)
        found = Invoice()
        found.usage = {cell: u for cell, u in self.usage.items() if first <= cell.day < end}
        found.costs = Counter({key: c for key, c in self.costs.items() if first <= key[0] < end})
        return found


@dataclass(slots=True)
class Loss:
    """A possible saving by day, with its most expensive days and workspaces."""

    daily: Daily = field(default_factory=Daily)
    blamed: TopSources = field(default_factory=TopSources)

    def add(self, day: int, amount: Nanodollars, where: str) -> None:
        self.daily.add(day, amount)
        if amount > 0:
            self.blamed.add(amount, where)


@dataclass(slots=True)
class InvoiceTotals:
    """Totals of all reports."""

    whole: Sums = field(default_factory=Sums)
    by_model: defaultdict[str, Sums] = field(default_factory=lambda: defaultdict(Sums))
    by_day: defaultdict[str, Sums] = field(default_factory=lambda: defaultdict(Sums))
    by_workspace: defaultdict[str, Sums] = field(default_factory=lambda: defaultdict(Sums))
    by_key: defaultdict[str, Sums] = field(default_factory=lambda: defaultdict(Sums))
    unpriced: Counter[str] = field(default_factory=Counter)  # tokens
    batched: Nanodollars = 0  # spent in batches
    # What the caching in place saved, and at most would where all plain input was read instead.
    caching_saved: Nanodollars = 0
    caching_bound: Nanodollars = 0
    batch_bound: Nanodollars = 0  # were everything that is not in a batch put into one
    # What marks cost more than they saved, by model and key; below 0 where they were read.
    unread: defaultdict[tuple[str, str], Loss] = field(default_factory=lambda: defaultdict(Loss))
    # By model, what the same texts would cost less at the prices of its successor.
    older: defaultdict[str, Loss] = field(default_factory=lambda: defaultdict(Loss))
    first: int = 0  # day of all, since 1970, UTC
    last: int = 0


def totals(invoice: Invoice, pricer: Pricer) -> InvoiceTotals:
    """Add everything up. The lines of each table sum to the whole, to the nanodollar."""
    found = InvoiceTotals()
    every = invoice.days
    found.first, found.last = min(every, default=0), max(every, default=0)
    for cell, usage in sorted(invoice.usage.items()):
        spent = pricer.summed(cell.model, usage, cell.at)
        if spent is None:
            found.unpriced[cell.model] += prompt_tokens(usage) + usage.output_tokens
            continue
        for sums in _lines(found, cell.day, cell.model, cell.workspace, cell.key):
            sums.spent += spent
            sums.tokens.update(_tokens(usage))
        _bounds(found, cell, usage, spent, pricer)
    for (day, model, workspace), amount in invoice.costs.items():
        for sums in _lines(found, day, model, workspace, None):
            sums.billed += amount
    return found


def _lines(
    found: InvoiceTotals, day: int, model: str, workspace: str, key: str | None
) -> Iterable[Sums]:
    lines = [
        found.whole,
        found.by_model[model],
        found.by_day[_date(day)],
        found.by_workspace[workspace],
    ]
    return lines if key is None else [*lines, found.by_key[key]]


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * _DAY_S, UTC).date().isoformat()


def _bounds(
    found: InvoiceTotals, cell: Cell, usage: Usage, spent: Nanodollars, pricer: Pricer
) -> None:
    def less(other: Usage, model: str = cell.model) -> Nanodollars:
        """Return the saving if the same usage had cost `that`; 0 if that has no price."""
        there = pricer.summed(model, other, cell.at)
        return 0 if there is None else spent - there

    day = cell.day - found.first
    where = f"{_date(cell.day)}, workspace {cell.workspace}"
    premium = less(without_prompt_caching(usage))
    found.caching_saved -= premium
    found.unread[cell.model, cell.key].add(day, premium, where)
    reads = usage.cache_read_tokens + usage.input_tokens
    found.caching_bound += less(replace(usage, input_tokens=0, cache_read_tokens=reads))
    if usage.service_tier == "batch":
        found.batched += spent
    else:
        found.batch_bound += less(replace(usage, service_tier="batch", speed="standard"))
    newer = successor(cell.model)
    if newer is not None:
        saved = less(rescale_tokens(usage, cell.model, newer), newer)
        if saved > 0:
            found.older[cell.model].add(day, saved, f"{where}, key {cell.key}")


def _tokens(usage: Usage) -> Mapping[str, int]:
    return {name.removesuffix("_tokens"): getattr(usage, name) for name in _SUMMED}


def _plus(one: Usage, other: Usage) -> Usage:
    """Return the sum of two usages, with the service tier of the second."""
    return replace(other, **{name: getattr(one, name) + getattr(other, name) for name in _SUMMED})
