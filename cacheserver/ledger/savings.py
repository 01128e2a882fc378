"""What a request saved, split by cause, in whole nanodollars that sum to the whole. Pure.

Each bill is rounded once, by the price list; a part is a difference of two such bills, so no part
is rounded again and nothing is lost between them. Parts of the levers may be negative: a premium
paid to write a prompt cache that nobody read, a tier up that a tokenizer made dearer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from cacheserver.core.ledger_row import Bounds
from cacheserver.core.money import Price
from cacheserver.core.types import Nanodollars, Usage
from cacheserver.ledger.counterfactual import Levers, worlds


def of_call(
    price: Price, model: str, usage: Usage, cost: Nanodollars, levers: Levers
) -> Mapping[str, Nanodollars]:
    """What the levers saved on a call that was paid for; `cost` is its bill.

    Telescoping, in the order of `worlds`: each part is the bill before a lever less the bill with
    it. A world without a price (a baseline that has none) has no part; the next begins there.
    """
    if cost == 0 or levers == _NONE:  # a free refusal is free in every world
        return {}
    bills = [
        (world.cause, price(world.model, world.usage)) for world in worlds(model, usage, levers)
    ]
    bills[-1] = (bills[-1][0], cost)
    parts: dict[str, Nanodollars] = {}
    before: Nanodollars | None = None
    for cause, bill in bills:
        if bill is None:
            continue
        if before is not None and bill != before:
            parts[cause] = before - bill
        before = bill
    return parts


def of_hit(kind: str, bill: Nanodollars | None) -> Mapping[str, Nanodollars]:
    """What a hit saved: the whole bill of the miss it stands for.

    A stale answer saves nothing: it is given because Claude failed, and a failure is free.
    """
    if kind == "stale" or not bill:
        return {}
    return {kind: bill}


def bounds(
    price: Price,
    model: str,
    *,
    asked: Usage,
    prompt: Usage | None,
    body_bytes: int,
    max_tokens: int | None,
    opaque: bool,
    attempts: int = 1,
) -> Bounds:
    """What a call may cost whose usage never arrived, in all of its `attempts`.

    `asked` has the speed and the place that were asked for. `prompt` is what `message_start`
    said, where it came: then only the output is not known. Else a token is at least a byte of the
    body, and the dearest way to read one is to write it for an hour. `opaque`: the prompt names
    files or runs tools of Claude's, whose tokens are not in the body, so nothing bounds them.
    """
    least = 0 if prompt is None else price(model, prompt) or 0
    if max_tokens is None or opaque:
        return Bounds(least, None)
    unseen = price(
        model, replace(asked, cache_write_1h_tokens=body_bytes, output_tokens=max_tokens)
    )
    last = unseen
    if prompt is not None:
        output = max(max_tokens, prompt.output_tokens)
        last = price(model, replace(prompt, output_tokens=output))
    if last is None or unseen is None:
        return Bounds(least, None)
    return Bounds(least, last + unseen * (attempts - 1))


_NONE = Levers()
