"""What would have been paid without us: the worlds between the bill that was and that one.

A saving is a difference between two bills for the same answer. The worlds form a chain, each one
lever away from the next, so the differences sum to the whole whatever the levers did. All of
them use the tokens that Claude reported; only what no report can hold is estimated, and said so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from cacheserver.core.types import Usage
from cacheserver.pricing.estimate import chars_per_token


@dataclass(frozen=True, slots=True)
class Levers:
    """What was done to a call that was paid for; the defaults are a call left alone."""

    baseline: str | None = None  # the model asked had we not routed; None: the same
    planned: bool = False  # the prompt-cache marks are ours
    queued: bool = False  # we put it into a batch; a caller's own batch is no saving of ours
    trimmed: int = 0  # input tokens left out, estimated
    uncut: int | None = None  # output tokens it would have had without our cap, estimated


@dataclass(frozen=True, slots=True)
class CounterfactualBill:
    """One bill: whose price and for which tokens. `cause` is the lever that led here."""

    cause: str
    model: str
    usage: Usage


def worlds(model: str, usage: Usage, levers: Levers) -> Iterator[CounterfactualBill]:
    """From the world without any lever to the one that was, a lever switched on at each step.

    The order is that of the path: routing, compaction, output cap, prompt caching, batch. The first
    world has the cause "". With iterations Claude's own steps are the bill, each at its model: of
    these only the batch price can be told apart.
    """
    direct = replace(usage, service_tier="standard") if levers.queued else usage
    if usage.iterations:
        yield CounterfactualBill("", model, direct)
        yield CounterfactualBill("batch", model, usage)
        return
    unplanned = unmarked(direct) if levers.planned else direct
    uncapped = unplanned
    if levers.uncut is not None and levers.uncut > usage.output_tokens:
        uncapped = replace(unplanned, output_tokens=levers.uncut)
    whole = replace(uncapped, input_tokens=uncapped.input_tokens + levers.trimmed)
    asked = levers.baseline or model
    yield CounterfactualBill("", asked, rescaled(whole, model, asked))
    yield CounterfactualBill("routing", model, whole)
    yield CounterfactualBill("compaction", model, uncapped)
    yield CounterfactualBill("output-cap", model, unplanned)
    yield CounterfactualBill("prompt-caching", model, direct)
    yield CounterfactualBill("batch", model, usage)


def missed(
    usage: Usage,
    *,
    warm: bool,
    speed: str = "standard",
    batch: bool = False,
    longer_chars: int = 0,
    model: str = "",
) -> Usage:
    """The usage of the miss that a hit stands for, from that of the call that made its answer.

    `warm`: the marked prefix would be read from Claude's prompt cache now; else it would be
    written. `longer_chars` is how much longer this caller's question is than the stored one's, an
    estimate in tokens; `speed` and `batch` are how this caller would have been served.
    """
    tier = "batch" if batch else "standard"
    speed = "standard" if batch else speed  # there is no fast batch
    marked = usage.cache_read_tokens + usage.cache_write_5m_tokens + usage.cache_write_1h_tokens
    if (usage.service_tier, usage.speed, marked, longer_chars) == (tier, speed, 0, 0):
        return usage  # as most hits are: nothing to tell apart
    asked = replace(usage, service_tier=tier, speed=speed)
    if usage.iterations:
        return asked
    written = usage.cache_write_5m_tokens + usage.cache_write_1h_tokens
    more = round(longer_chars / chars_per_token(model)) if longer_chars else 0
    asked = replace(asked, input_tokens=max(0, usage.input_tokens + more))
    if warm:
        return replace(
            asked,
            cache_write_5m_tokens=0,
            cache_write_1h_tokens=0,
            cache_read_tokens=usage.cache_read_tokens + written,
        )
    if not usage.cache_read_tokens:
        return asked
    # Read then, cold now: the miss would write it again, for as long as the rest was kept.
    hour = usage.cache_write_1h_tokens > usage.cache_write_5m_tokens
    return replace(
        asked,
        cache_read_tokens=0,
        cache_write_5m_tokens=usage.cache_write_5m_tokens
        + (0 if hour else usage.cache_read_tokens),
        cache_write_1h_tokens=usage.cache_write_1h_tokens
        + (usage.cache_read_tokens if hour else 0),
    )


def rescaled(usage: Usage, counted_by: str, model: str) -> Usage:
    """The same texts in another model's tokens, an estimate where their tokenizers differ."""
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


def unmarked(usage: Usage) -> Usage:
    """The same prompt without prompt caching: every token of it an ordinary one."""
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
