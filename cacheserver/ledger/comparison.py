"""Comparisons: what a request would have cost at one model, without the cache and its levers.

Rule: every request with an answer counts, hits too: each would have been a call. Its tokens are
those of its counterfactual bill (`ledger.counterfactual`), so batch prices, speed, place and the
state of the prompt cache stay the caller's. The price is that of the hour in which it was asked. If
the tokenizers differ, tokens are rescaled, which is an estimate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

from cacheserver.core.ledger_row import Comparison
from cacheserver.core.money import Price
from cacheserver.core.rules.routing import Tiers
from cacheserver.core.types import Nanodollars, Usage
from cacheserver.ledger.counterfactual import rescale_tokens
from cacheserver.ledger.sums import model_mark

OPUS: Final = Tiers().high
SONNET: Final = Tiers().middle

FREE: Final = Comparison(0, 0)  # a refusal that is not billed is free at every model

_REMEMBERED: Final = 2_048  # some 600 bytes each; a hit is compared like the one before it


def bill_at(price: Price, answered_by: str, usage: Usage, model: str) -> Nanodollars | None:
    """Return the bill for these tokens of `answered_by` at `model`; None if it has no price.

    Each iteration is at `model` too. A model without a fast price is compared at its standard one.
    """
    moved = rescale_tokens(usage, answered_by, model)
    if usage.iterations:
        legs = tuple((model, rescale_tokens(leg, by, model)) for by, leg in usage.iterations)
        moved = replace(moved, iterations=legs)
    bill = price(model, moved)
    if bill is None and moved.speed != "standard":
        bill = price(model, replace(moved, speed="standard"))
    return bill


def compare(
    price: Price, answered_by: str, usage: Usage, named: str | None = None
) -> Comparison | None:
    """Return the bills at Opus, at Sonnet and at the model that the tenant named.

    None if Opus or Sonnet has no price for such tokens. A named model without one has no bill.
    """
    opus = bill_at(price, answered_by, usage, OPUS)
    sonnet = bill_at(price, answered_by, usage, SONNET)
    if opus is None or sonnet is None:
        return None
    bill = None if named is None else bill_at(price, answered_by, usage, named)
    return Comparison(opus, sonnet) if bill is None else Comparison(opus, sonnet, named, bill)


@dataclass(frozen=True, slots=True)
class ComparedSum:
    """Cost of some requests, and their bill at one model."""

    name: str  # "opus", "sonnet" or "named"
    model: str | None  # None: not all were compared with the same model
    requests: int
    cost: Nanodollars
    bill: Nanodollars


def compared_sums(sums: Mapping[str, int], models: Iterable[str]) -> list[ComparedSum]:
    """Return the comparisons that the sums have; `models` are those that may have been named."""
    found: list[ComparedSum] = []
    if count := sums.get("compared", 0):
        for name, model in (("opus", OPUS), ("sonnet", SONNET)):
            bill = sums.get(f"{name}_bill", 0)
            found.append(ComparedSum(name, model, count, sums.get("compared_cost", 0), bill))
    if count := sums.get("named", 0):
        mark = sums.get("named_mark", 0)
        named = next((model for model in models if model_mark(model) * count == mark), None)
        cost, bill = sums.get("named_cost", 0), sums.get("named_bill", 0)
        found.append(ComparedSum("named", named, count, cost, bill))
    return found


class Pricer(Protocol):
    @property
    def version(self) -> str: ...

    def cost(self, model: str, usage: Usage, now: float) -> Nanodollars | None: ...


class Comparisons:
    """Comparisons of requests, cached by usage: hits repeat each other's.

    The cache is exact: prices change on UTC days or with their version, and both are in its key.
    """

    def __init__(self, pricer: Pricer) -> None:
        self._pricer = pricer
        self._known: dict[tuple[str, Usage, str | None, int, str], Comparison | None] = {}

    def of(
        self, answered_by: str, usage: Usage, named: str | None, now: float
    ) -> Comparison | None:
        """Return what `compare` does at the prices of `now` (Unix seconds)."""
        key = answered_by, usage, named, int(now // 3_600), self._pricer.version
        try:
            return self._known[key]
        except KeyError:
            pass

        def price(model: str, usage: Usage) -> Nanodollars | None:
            return self._pricer.cost(model, usage, now)

        found = compare(price, answered_by, usage, named)
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[key] = found
        return found
