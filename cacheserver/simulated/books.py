"""Charges of the simulated Claude, a line for each answer.

The ledger is checked against them, so they share nothing with it: prices are those of `catalogue`.
An answer that has begun is charged whole, also where the connection is lost before its end. Free
are errors, and refusals before any output but for three categories.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cacheserver.simulated.catalogue import MODELS

_MODELS = {model.id: model for model in MODELS}
_SEARCH = 10_000_000  # nanodollars: 10 dollars a thousand
_LONG_PROMPT = 100_000  # tokens; a longer prompt of Haiku 5.5 costs five times, every token of it
_SONNET_READS_FELL = datetime(2026, 10, 7, tzinfo=UTC).timestamp()  # from 200 to 100
_REFUSALS_BILLED = datetime(2026, 9, 24, tzinfo=UTC).timestamp()
_BILLED_CATEGORIES = frozenset({"bio", "frontier_llm", "reasoning_extraction"})


@dataclass(frozen=True, slots=True)
class Line:
    """One answer that was charged."""

    at: float
    message_id: str
    model: str
    nanodollars: int
    tier: str  # "standard" or "batch"
    question: str = ""  # digest of the text it answered: a charge nobody heard of has an asker


class ChargeLog:
    """Charges since the start or the last `clear`."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    @property
    def total(self) -> int:
        """Return the sum of all charges in nanodollars."""
        return sum(line.nanodollars for line in self.lines)

    def charge(self, message: Mapping[str, Any], now: float, question: str = "") -> None:
        """Record an answer's cost; a free answer has no line."""
        cost = charged(message, now)
        if cost:
            tier = str(message["usage"]["service_tier"])
            model, id = str(message["model"]), str(message["id"])
            self.lines.append(Line(now, id, model, cost, tier, question))

    def clear(self) -> None:
        """Forget every charge."""
        self.lines.clear()


def charged(message: Mapping[str, Any], now: float) -> int:
    """Return an answer's cost in nanodollars, rounded once, half to even."""
    if message["stop_reason"] == "refusal" and not message["content"]:
        category = (message["stop_details"] or {}).get("category")
        if now < _REFUSALS_BILLED or category not in _BILLED_CATEGORIES:
            return 0
    usage = message["usage"]
    model = str(message["model"])
    steps = usage.get("iterations") or [usage]  # where a call took several, they are the bill
    twentieths = sum(
        _step(str(step.get("model") or model), step, fast=usage["speed"] == "fast", now=now)
        for step in steps
    )
    if usage["inference_geo"] == "us":
        twentieths = twentieths * 11 // 10  # exact: there are 20 of them
    if usage["service_tier"] == "batch":
        twentieths //= 2
    searches = int((usage["server_tool_use"] or {}).get("web_search_requests", 0))
    return _nearest(twentieths) + searches * _SEARCH


def _step(model: str, usage: Mapping[str, Any], *, fast: bool, now: float) -> int:
    """One step's tokens in twentieths of a nanodollar."""
    split = usage["cache_creation"]
    tokens = (
        usage["input_tokens"],
        usage["output_tokens"],
        split["ephemeral_5m_input_tokens"],
        split["ephemeral_1h_input_tokens"],
        usage["cache_read_input_tokens"],
    )
    rates = _MODELS[model].prices
    if model == "claude-sonnet-5-5" and now < _SONNET_READS_FELL:
        rates = (*rates[:4], 200)
    twentieths: int = 20 * sum(count * rate for count, rate in zip(tokens, rates, strict=True))
    prompt = sum(tokens) - usage["output_tokens"]
    if model == "claude-haiku-5-5" and prompt > _LONG_PROMPT:
        twentieths *= 5
    if fast and _MODELS[model].fast:
        twentieths *= 2
    return twentieths


def _nearest(twentieths: int) -> int:
    whole, rest = divmod(twentieths, 20)
    return whole + (rest > 10 or (rest == 10 and whole % 2 == 1))
