"""Counterfactual bills: the cost of a call as it would have been without each lever.

A saving is the difference between two bills for the same answer. The bills form a chain, each one
lever away from the next, so the differences sum to the whole saving. All bills use the tokens that
Claude reported; what no report can hold is estimated, and is marked as an estimate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from cacheserver.core.types import Query, Usage
from cacheserver.pricing import estimate
from cacheserver.pricing.estimate import chars_per_token


@dataclass(frozen=True, slots=True)
class Levers:
    """The levers applied to a call that was paid for; the defaults are no lever."""

    baseline: str | None = None  # the model asked had we not routed; None: the same
    planned: bool = False  # the prompt-cache marks are ours
    queued: bool = False  # we put it into a batch; a caller's own batch is no saving of ours
    trimmed: int = 0  # input tokens left out, estimated
    uncut: int | None = None  # output tokens it would have had without our cap, estimated


@dataclass(frozen=True, slots=True)
class CounterfactualBill:
    """One bill: a model's price for these tokens. `cause` is the lever that led here."""

    cause: str
    model: str
    usage: Usage


def counterfactual_bills(model: str, usage: Usage, levers: Levers) -> Iterator[CounterfactualBill]:
    """Yield the bills from no lever at all to what was paid, one more lever at each step.

    The order is that of the request path: routing, compaction, output cap, prompt caching, batch.
    The first bill has the cause "". With iterations, Claude's own steps are the bill, each at its
    model, and only the batch price can be separated.
    """
    direct = _direct(usage, levers)
    if usage.iterations:
        yield CounterfactualBill("", model, direct)
        yield CounterfactualBill("batch", model, usage)
        return
    unplanned = without_prompt_caching(direct) if levers.planned else direct
    uncapped = _uncapped(unplanned, levers)
    whole = _untrimmed(uncapped, levers)
    requested = levers.baseline or model
    yield CounterfactualBill("", requested, rescale_tokens(whole, model, requested))
    yield CounterfactualBill("routing", model, whole)
    yield CounterfactualBill("compaction", model, uncapped)
    yield CounterfactualBill("output-cap", model, unplanned)
    yield CounterfactualBill("prompt-caching", model, direct)
    yield CounterfactualBill("batch", model, usage)


def usage_without_levers(usage: Usage, levers: Levers) -> Usage:
    """Return the usage of a call as it would have been without any lever, in its model's tokens."""
    direct = _direct(usage, levers)
    if usage.iterations:
        return direct
    unplanned = without_prompt_caching(direct) if levers.planned else direct
    return _untrimmed(_uncapped(unplanned, levers), levers)


def _direct(usage: Usage, levers: Levers) -> Usage:
    return replace(usage, service_tier="standard") if levers.queued else usage


def _uncapped(usage: Usage, levers: Levers) -> Usage:
    if levers.uncut is None or levers.uncut <= usage.output_tokens:
        return usage
    return replace(usage, output_tokens=levers.uncut)


def _untrimmed(usage: Usage, levers: Levers) -> Usage:
    if not levers.trimmed:
        return usage
    return replace(usage, input_tokens=usage.input_tokens + levers.trimmed)


def usage_of_miss(
    usage: Usage,
    *,
    warm: bool,
    speed: str = "standard",
    batch: bool = False,
    longer_chars: int = 0,
    model: str = "",
) -> Usage:
    """Return the usage of the miss that a hit replaced, from the usage of the stored answer's call.

    `warm`: Claude's prompt cache would still have the marked prefix; otherwise it would be
    written. `longer_chars`: characters by which this question is longer than the stored one.
    `speed` and `batch`: how this request would have been served.
    """
    tier = "batch" if batch else "standard"
    speed = "standard" if batch else speed  # there is no fast batch
    marked = usage.cache_read_tokens + usage.cache_write_5m_tokens + usage.cache_write_1h_tokens
    if (usage.service_tier, usage.speed, marked, longer_chars) == (tier, speed, 0, 0):
        return usage  # the common case: nothing differs
    requested = replace(usage, service_tier=tier, speed=speed)
    if usage.iterations:
        return requested
    written = usage.cache_write_5m_tokens + usage.cache_write_1h_tokens
    more = round(longer_chars / chars_per_token(model)) if longer_chars else 0
    requested = replace(requested, input_tokens=max(0, usage.input_tokens + more))
    if warm:
        return replace(
            requested,
            cache_write_5m_tokens=0,
            cache_write_1h_tokens=0,
            cache_read_tokens=usage.cache_read_tokens + written,
        )
    if not usage.cache_read_tokens:
        return requested
    # Warm then, cold now: the miss would write the prefix again, with the same lifetime.
    hour = usage.cache_write_1h_tokens > usage.cache_write_5m_tokens
    return replace(
        requested,
        cache_read_tokens=0,
        cache_write_5m_tokens=usage.cache_write_5m_tokens
        + (0 if hour else usage.cache_read_tokens),
        cache_write_1h_tokens=usage.cache_write_1h_tokens
        + (usage.cache_read_tokens if hour else 0),
    )


def usage_for(query: Query, usage: Usage, model: str) -> Usage:
    """Return the usage of an answer of `model`, as if it had been made for the query's own prompt.

    Only a declared question can have another prompt than the one that was answered. Its tokens are
    estimated. What was cached of that one counts as cached here too, which makes a saving lower,
    not higher; but not in a prompt that is shorter.
    """
    if query.controls.declared is None:
        return usage
    tokens = estimate.prompt_tokens(query.body, model)
    own = replace(usage, iterations=())
    cached = usage.cache_read_tokens + usage.cache_write_5m_tokens + usage.cache_write_1h_tokens
    if cached <= tokens:
        return replace(own, input_tokens=tokens - cached)
    return replace(without_prompt_caching(own), input_tokens=tokens)


def rescale_tokens(usage: Usage, counted_by: str, model: str) -> Usage:
    """Convert token counts to another model's; an estimate if their tokenizers differ."""
    factor = chars_per_token(counted_by) / chars_per_token(model)
    if factor == 1:
        return usage

    def scaled(tokens: int) -> int:
        return round(tokens * factor)

    return replace(
        usage,
        input_tokens=scaled(usage.input_tokens),
        output_tokens=scaled(usage.output_tokens),
        cache_write_5m_tokens=scaled(usage.cache_write_5m_tokens),
        cache_write_1h_tokens=scaled(usage.cache_write_1h_tokens),
        cache_read_tokens=scaled(usage.cache_read_tokens),
    )


def without_prompt_caching(usage: Usage) -> Usage:
    """Return the usage with every cached prompt token counted as ordinary input."""
    return replace(
        usage,
        input_tokens=usage.input_tokens
        + usage.cache_write_5m_tokens
        + usage.cache_write_1h_tokens
        + usage.cache_read_tokens,
        cache_write_5m_tokens=0,
        cache_write_1h_tokens=0,
        cache_read_tokens=0,
    )
