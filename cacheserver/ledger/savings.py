"""Savings of a request by cause, in whole nanodollars whose sum is the total saving. Pure.

Each bill is rounded once by the pricer. A part is the difference of two bills, so it is not rounded
again and the sum is exact. A lever's part may be negative: a prompt cache that was written and
never read, or a model whose tokenizer makes the same text more expensive.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from cacheserver.core.ledger_row import Bounds
from cacheserver.core.money import Price
from cacheserver.core.types import Nanodollars, Usage
from cacheserver.core.usage import MOST_OUTPUT_TOKENS
from cacheserver.ledger.counterfactual import Levers, counterfactual_bills


def call_savings(
    price: Price, model: str, usage: Usage, cost: Nanodollars, levers: Levers
) -> Mapping[str, Nanodollars]:
    """Return what the levers saved on a call that was paid for; `cost` is its bill.

    Each part is the bill before a lever less the bill with it, in the order of
    `counterfactual_bills`. A bill without a price (a baseline that has none) has no part.
    """
    if cost == 0 or levers == _NONE:  # a free refusal is free in every world
        return {}
    *worlds, paid = counterfactual_bills(model, usage, levers)
    parts: dict[str, Nanodollars] = {}
    before: Nanodollars | None = None
    last = None
    for world in worlds:
        if last is not None and world.usage is last.usage and world.model == last.model:
            continue  # a lever that was not used
        last, bill = world, price(world.model, world.usage)
        if bill is None:
            continue
        if before is not None and bill != before:
            parts[world.cause] = before - bill
        before = bill
    if before is not None and cost != before:
        parts[paid.cause] = before - cost
    return parts


def hit_savings(kind: str, bill: Nanodollars | None) -> Mapping[str, Nanodollars]:
    """Return what a hit saved: the whole bill of the miss it replaced.

    A stale answer saves nothing: it is served because Claude failed, and a failure is free.
    """
    if kind == "stale" or not bill:
        return {}
    return {kind: bill}


def cost_bounds(
    price: Price,
    model: str,
    *,
    requested: Usage,
    prompt: Usage | None,
    body_bytes: int,
    max_tokens: int | None,
    opaque: bool,
    attempts: int = 1,
) -> Bounds:
    """Return the least and the most that all `attempts` of a call without usage may cost.

    `requested` has the speed and location requested. `prompt` is the usage of `message_start` if it
    arrived: then only the output is unknown. Otherwise each byte of the body counts as one token,
    written to the one-hour prompt cache, the most expensive kind. `opaque`: the prompt names files
    or runs Claude's tools, whose tokens are not in the body, so there is no upper bound.
    """
    least = 0 if prompt is None else price(model, prompt) or 0
    if max_tokens is None or opaque:
        return Bounds(least, None)
    longest = min(max_tokens, MOST_OUTPUT_TOKENS)
    unseen = price(
        model, replace(requested, cache_write_1h_tokens=body_bytes, output_tokens=longest)
    )
    last = unseen
    if prompt is not None:
        output = max(longest, prompt.output_tokens)
        last = price(model, replace(prompt, output_tokens=output))
    if last is None or unseen is None:
        return Bounds(least, None)
    return Bounds(least, last + unseen * (attempts - 1))


_NONE = Levers()
