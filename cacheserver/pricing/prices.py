"""Cost of a call to Claude from the usage that Claude reported: pure, offline, in nanodollars.

Prices are those bundled with `genai-prices` unless the operator's table has the model. This module
adds what genai-prices lacks: `inference_geo`, iterations, refusals that are not billed, batches
before their rates were published, and a price cut of which it has the later price only. Hours of
code execution are not part of usage, so they are in no cost.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import Any, TypeAlias, TypeVar

import genai_prices
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelPrice, TieredPrices

from cacheserver.core.types import Nanodollars, Usage
from cacheserver.core.usage import prompt_tokens, usage_of
from cacheserver.pricing.price_changes import PriceChanges
from cacheserver.pricing.price_table import Ladder, PriceRow, PriceTable, Rates, load_overrides
from cacheserver.pricing.whole_prices import PER_TOKEN, WholeSteps, quick, whole

__all__ = ["PriceTable", "Priced", "Pricer", "billable", "load_overrides", "usage_of"]

K = TypeVar("K")
V = TypeVar("V")

KINDS = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read", "web_search")

_PER_SEARCH = 1_000_000  # nanodollars per search, for each USD per 1,000 searches
_SPEEDS = ("standard", "fast")
_DAY_S = 86_400
_CHANGED_DAYS = 92  # how far back changes are told: a quarter; an audit reads 30 days unless told
US_ONLY = Decimal("1.1")  # US-only inference, on every token (Anthropic's pricing page)
_BATCH = Decimal("0.5")  # where no batch rate is published yet: "50% off everything"

_DATED = re.compile(r"-\d{8}$")  # claude-haiku-4-5-20251001 is a claude-haiku-4-5

# Refused before any output and billed all the same, since 2026-09-24 (release notes).
_BILLED_REFUSALS = frozenset({"bio", "frontier_llm", "reasoning_extraction"})
_BILLED_SINCE = datetime(2026, 9, 24, tzinfo=UTC).timestamp()

# Cache reads of Sonnet 5.5 cost 0.20 USD per million tokens before that day, 0.10 since.
_READS_CUT = {"claude-sonnet-5-5": (date(2026, 10, 7), Decimal(2))}


LadderOf: TypeAlias = Callable[[str, str, bool], Ladder]  # of a model, a speed, in a batch or not


@dataclass(frozen=True, slots=True)
class Priced:
    """Cost of a call. `parts`, by kind, sum to `cost`."""

    cost: Nanodollars
    parts: Mapping[str, Nanodollars]
    version: str  # of the prices used
    billed: bool = True  # False: Claude charges nothing for it, at any price


def billable(message: Mapping[str, Any], now: float | None = None) -> bool:
    """Return whether Claude bills a message. Most refusals before any output are free.

    `now` is when the refusal was made: before 2026-09-24 all of them were free. None: today.
    """
    if message.get("stop_reason") != "refusal" or message.get("content"):
        return True
    if now is not None and now < _BILLED_SINCE:
        return False
    details = message.get("stop_details")
    return isinstance(details, Mapping) and details.get("category") in _BILLED_REFUSALS


@dataclass(frozen=True, slots=True)
class _InForce:
    """Changes in force, and what was computed with them.

    Threads price too. Each call uses one of these to its end, so no price of earlier changes gets
    among those of later ones.
    """

    changes: PriceChanges
    version: str
    priced: dict[tuple[str, Usage, int], Priced | None] = field(default_factory=dict)
    costs: dict[tuple[str, Usage, int], Nanodollars | None] = field(default_factory=dict)
    ladders: dict[tuple[str, str, bool, int], Ladder] = field(default_factory=dict)
    steps: dict[tuple[str, str, bool, int], WholeSteps | None] = field(default_factory=dict)


class Pricer:
    """Pricer with a cache: a hit prices the same usage again, and a price lookup costs 20 us.

    The cache is exact: prices change on UTC days, and the hour is part of its key.
    """

    def __init__(self, overrides: PriceTable | None = None, *, remember: int = 4_096) -> None:
        self._overrides = overrides or PriceTable()
        self._remember = remember  # about 1 kB each
        self._now = _InForce(PriceChanges(), _version(self._overrides))

    def use(self, changes: PriceChanges) -> None:
        """Price with an admin's changes from now on."""
        version = _version(self._overrides) + (f"+{changes.digest}" if changes.digest else "")
        self._now = _InForce(changes, version)

    def with_changes(self, changes: PriceChanges, model: str, now: float, speed: str) -> Ladder:
        """Return a model's prices as they would be with other changes."""
        base = _ladder(model, speed, False, datetime.fromtimestamp(now, UTC), self._overrides)
        return changes.over(_names(model), base, now, speed, False)

    def base(self, model: str, now: float, speed: str) -> Ladder:
        """Return a model's prices without an admin's changes."""
        return self.with_changes(PriceChanges(), model, now, speed)

    def origin(self, model: str, now: float) -> str:
        """Return where a model's prices come from: `admin`, `file` or `package`."""
        if self._now.changes.changes(model, now):
            return "admin"
        day = datetime.fromtimestamp(now, UTC).date()
        return "file" if self._overrides.knows(model, day) else "package"

    def rows(self, now: float) -> list[PriceRow]:
        """Return the operator's rows and an admin's changes of the last days, as rows by UTC day.

        A day has the prices of its end. It may be called in any thread.
        """
        changes, found = self._now.changes, list(self._overrides.rows)
        ends = [(now // _DAY_S - ago + 1) * _DAY_S - 1 for ago in range(_CHANGED_DAYS, -1, -1)]
        for model in sorted(changes.models):
            last: dict[str, Ladder] = {}
            for end in (min(end, now) for end in ends):
                if not last and not changes.changes(model, end):
                    continue
                for speed in _SPEEDS:  # both: a row of one replaces the package's of the other
                    ladder = self.with_changes(changes, model, end, speed)
                    if ladder != last.get(speed):
                        last[speed] = ladder
                        day = datetime.fromtimestamp(end, UTC).date()
                        found += [PriceRow(model, one, day, speed, start) for start, one in ladder]
        return found

    @property
    def version(self) -> str:
        """Return the version of the prices, which is stored with each cost."""
        return self._now.version

    def price(self, model: str, usage: Usage, now: float) -> Priced | None:
        """Return what `usage` costs at `now` (Unix seconds); None where no price is known.

        With iterations, they are the bill, each at its own model's price. The total is rounded
        once, to the nearest nanodollar, and what rounding leaves goes to the largest part.
        """
        return self._price(self._now, model, usage, now)

    def _price(self, by: _InForce, model: str, usage: Usage, now: float) -> Priced | None:
        key = (model, usage, int(now // 3_600))
        try:
            return by.priced[key]
        except KeyError:
            found = _priced(model, usage, self._ladder_at(by, now), by.version)
            _put(by.priced, key, found, self._remember)
            return found

    def cost(self, model: str, usage: Usage, now: float) -> Nanodollars | None:
        """Return the total of `price` alone, which is faster for a new usage."""
        by, key = self._now, (model, usage, int(now // 3_600))
        try:
            return by.costs[key]
        except KeyError:
            found = self._total(by, model, usage, now)
            _put(by.costs, key, found, self._remember)
            return found

    def _total(self, by: _InForce, model: str, usage: Usage, now: float) -> Nanodollars | None:
        batch = usage.service_tier == "batch"
        key = (model, usage.speed, batch, int(now // 3_600))
        try:
            steps = by.steps[key]
        except KeyError:
            steps = whole(self._ladder_at(by, now)(model, usage.speed, batch))
            _put(by.steps, key, steps, self._remember)
        if steps is None or usage.iterations or usage.web_searches:
            priced = self._price(by, model, usage, now)
            return None if priced is None else priced.cost
        return quick(steps, usage)

    def summed(self, model: str, usage: Usage, now: float) -> Nanodollars | None:
        """Return the least that many calls can have cost, given the sum of their usage.

        It uses the prices of short prompts: a sum does not say how long each prompt was.
        """
        by = self._now
        ladder = self._ladder_at(by, now)

        def least(model: str, speed: str, batch: bool) -> Ladder:
            return ladder(model, speed, batch)[:1]

        priced = _priced(model, usage, least, by.version)
        return None if priced is None else priced.cost

    def rates(
        self,
        model: str,
        now: float,
        *,
        speed: str = "standard",
        tier: str = "standard",
    ) -> Rates | None:
        """Return the rates of short prompts at `now`, for display."""
        return _step(self._ladder_at(self._now, now)(model, speed, tier == "batch"), 1)

    def steps(self, model: str, now: float) -> Ladder:
        """Return the standard rates by prompt length: each applies to prompts with more tokens."""
        return self._ladder_at(self._now, now)(model, "standard", False)

    def models(self, now: float) -> list[str]:
        """Return every model that has a price at `now`, sorted."""
        day = datetime.fromtimestamp(now, UTC).date()
        provider = get_snapshot().find_provider(None, "anthropic", None)
        bundled = {model.id for model in provider.models if model.id.startswith("claude-")}
        rows = {row.model for row in self._overrides.rows if row.start <= day}
        changes = self._now.changes
        changed = {model for model in changes.models if changes.changes(model, now)}
        return sorted(bundled | rows | changed)

    def _ladder_at(self, by: _InForce, now: float) -> LadderOf:
        """Return a lookup that is cached for an hour by model, speed and batch."""
        hour = int(now // 3_600)

        def ladder(model: str, speed: str, batch: bool) -> Ladder:
            key = (model, speed, batch, hour)
            try:
                return by.ladders[key]
            except KeyError:
                at = datetime.fromtimestamp(now, UTC)
                base = _ladder(model, speed, batch, at, self._overrides)
                names = _names(model) if by.changes.models else ()
                found = by.changes.over(names, base, now, speed, batch)
                _put(by.ladders, key, found, self._remember)
                return found

        return ladder

    def bill(self, message: Mapping[str, Any], now: float) -> Priced | None:
        """Return what Claude charges for a message sent at `now`: nothing for some refusals."""
        if not billable(message, now):
            return Priced(0, dict.fromkeys(KINDS, 0), self.version, billed=False)
        return self.price(str(message.get("model", "")), usage_of(message), now)


def _put(memo: dict[K, V], key: K, value: V, most: int) -> None:
    """Cache a value; the oldest one makes room."""
    if len(memo) >= most:
        memo.pop(next(iter(memo)), None)  # another thread may have been first
    memo[key] = value


def _add_tokens(exact: dict[str, Decimal], leg: Usage, rates: Rates, whole: Usage) -> bool:
    """Add one leg's tokens to the exact parts; False where a kind it used has no price.

    Tier, speed and place are of the request, so they are read from `whole`.
    """
    factor = US_ONLY if whole.inference_geo == "us" else Decimal(1)
    for kind, tokens, rate in (
        ("input", leg.input_tokens, rates.input),
        ("output", leg.output_tokens, rates.output),
        ("cache_write_5m", leg.cache_write_5m_tokens, rates.cache_write_5m),
        ("cache_write_1h", leg.cache_write_1h_tokens, rates.cache_write_1h),
        ("cache_read", leg.cache_read_tokens, rates.cache_read),
    ):
        if tokens and rate is None:
            return False
        if rate is not None:
            exact[kind] += rate * tokens * factor * PER_TOKEN
    return True


def _rounded(exact: Mapping[str, Decimal], version: str) -> Priced:
    cost = int(sum(exact.values(), Decimal(0)).to_integral_value(ROUND_HALF_EVEN))
    parts = {kind: int(part.to_integral_value(ROUND_FLOOR)) for kind, part in exact.items()}
    largest = max(KINDS, key=exact.__getitem__)
    parts[largest] += cost - sum(parts.values())  # 0 to 5: each part was rounded down
    return Priced(cost, parts, version)


def _priced(model: str, usage: Usage, ladder: LadderOf, version: str) -> Priced | None:
    """Price a usage with the rates of `ladder`."""
    batch = usage.service_tier == "batch"
    exact = dict.fromkeys(KINDS, Decimal(0))
    for leg_model, leg in usage.iterations or ((model, usage),):
        rates = _step(ladder(leg_model, usage.speed, batch), prompt_tokens(leg))
        if rates is None or not _add_tokens(exact, leg, rates, usage):
            return None
    if usage.web_searches:
        rates = _step(ladder(model, usage.speed, batch), prompt_tokens(usage))
        if rates is None or rates.web_search is None:
            return None
        exact["web_search"] = rates.web_search * usage.web_searches * _PER_SEARCH
    return _rounded(exact, version)


def _step(ladder: Ladder, prompt_tokens: int) -> Rates | None:
    """Return the rates for a prompt of that length: those of the highest step below it."""
    found = None
    for start, rates in ladder:
        if prompt_tokens > start or start == 0:
            found = rates
    return found


def _ladder(model: str, speed: str, batch: bool, at: datetime, table: PriceTable) -> Ladder:
    """Return the rates by prompt length, shortest first; empty if no price is known."""
    model = model.removeprefix("anthropic/")
    day = at.astimezone(UTC).date()
    own = model if table.knows(model, day) else _DATED.sub("", model)
    if table.knows(own, day):
        steps = table.steps(own, day, speed=speed)
        return tuple((start, _halved(rates) if batch else rates) for start, rates in steps)
    provider = get_snapshot().find_provider(None, "anthropic", None)
    # Not `find_provider_model`: it remembers every name it was asked for, and callers choose names.
    found = provider.find_model(model)
    if found is None:
        return ()
    standard = found.get_prices(at)
    if speed != "standard":
        prices = found.get_prices(at, {"speed": speed})
        # Without such a variant it returns the standard price; no price beats a wrong one.
        return () if prices == standard else _resolved(prices)
    if not batch:
        return _cut(_resolved(standard), found.id, day)
    prices = found.get_prices(at, {"processing": "batch"})
    if prices != standard:
        return _cut(_resolved(prices), found.id, day)
    halved = tuple((start, _halved(rates)) for start, rates in _resolved(standard))
    return _cut(halved, found.id, day)


def _names(model: str) -> tuple[str, ...]:
    """Return the names under which a model's prices may be changed."""
    model = model.removeprefix("anthropic/")
    found = get_snapshot().find_provider(None, "anthropic", None).find_model(model)
    return (model, _DATED.sub("", model), *(() if found is None else (found.id,)))


def _cut(ladder: Ladder, model: str, day: date) -> Ladder:
    return tuple((start, _before_cut(rates, model, day)) for start, rates in ladder)


def _before_cut(rates: Rates, model: str, day: date) -> Rates:
    cut = _READS_CUT.get(model)
    if cut is None or day >= cut[0] or rates.cache_read is None:
        return rates
    return replace(rates, cache_read=rates.cache_read * cut[1])


def _resolved(prices: ModelPrice) -> Ladder:
    """Convert a model's prices to steps, one for each prompt length at which a price changes."""
    fields = (
        prices.input_mtok,
        prices.output_mtok,
        prices.cache_write_mtok,  # the unqualified write is the 5-minute one
        prices.cache_write_1h_mtok,
        prices.cache_read_mtok,
        prices.web_searches_kcount,
    )
    starts = {tier.start for one in fields if isinstance(one, TieredPrices) for tier in one.tiers}
    return tuple(
        (start, Rates(*(_reached(one, start) for one in fields))) for start in sorted({0, *starts})
    )


def _reached(value: Decimal | TieredPrices | None, start: int) -> Decimal | None:
    """Return a price on the step that begins above `start` tokens."""
    if not isinstance(value, TieredPrices):
        return value
    reached = [tier.price for tier in value.tiers if tier.start <= start]
    return reached[-1] if reached else value.base


def _halved(rates: Rates) -> Rates:
    def half(rate: Decimal | None) -> Decimal | None:
        return None if rate is None else rate * _BATCH

    return Rates(
        input=half(rates.input),
        output=half(rates.output),
        cache_write_5m=half(rates.cache_write_5m),
        cache_write_1h=half(rates.cache_write_1h),
        cache_read=half(rates.cache_read),
        web_search=rates.web_search,
    )


def _version(table: PriceTable) -> str:
    bundled = f"genai-prices-{genai_prices.__version__}"
    return f"{bundled}+{table.digest}" if table.digest else bundled
