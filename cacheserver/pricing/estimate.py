"""Cost estimates of prompts and planned workloads, before anything is sent. Pure.

Claude's tokenizer is not available offline: tokens are characters divided by the documented ratio
of the model's tokenizer. Bills use Claude's `usage` alone.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, TypeAlias

from cacheserver.core.rules.bounds import STRICT, Bound
from cacheserver.core.types import Nanodollars, Usage

# 1M tokens are about 2.5M characters with the tokenizer of Claude 4.7 and later, 3.4M before it.
_NEW: Final = 2.5
_OLD: Final = 3.4
_NEW_SINCE: Final = (4, 7)

_IMAGE: Final = 1_600  # tokens of an image of 1.1 megapixels, the largest that is not scaled down
_DOCUMENT: Final = 2_000  # tokens of a document that is not text: about one page

# claude-haiku-5-5, claude-opus-5, claude-haiku-4-5-20251001; and claude-3-5-haiku of old.
_VERSION: Final = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:-(\d{1,2}))?(?![\d])")


Count: TypeAlias = Annotated[int, Bound(least=0, most=10**12)]
Share: TypeAlias = Annotated[float, Bound(least=0, most=1)]


@dataclass(frozen=True, slots=True)
class PromptEstimate:
    """Estimate of one request: its cost without output, and with `max_tokens` of output."""

    model: str
    input_tokens: int
    max_tokens: int
    least: Nanodollars | None  # None: the model has no price
    most: Nanodollars | None


@dataclass(frozen=True, slots=True)
class Workload:
    """Planned requests of one kind. Shares are 0..1."""

    __pydantic_config__ = STRICT

    model: Annotated[str, Bound(least=1, most=128)]
    requests: Count
    input_tokens: Count  # a request's whole prompt
    output_tokens: Count
    prefix_tokens: Count = 0  # of the prompt, marked for Claude's prompt cache
    ttl: Literal["5m", "1h"] = "5m"
    reused: Share = 0.0  # of the requests asked, those that read the prefix; the rest write it
    answered: Share = 0.0  # of all, from our cache: no call at all
    batch: bool = False


@dataclass(frozen=True, slots=True)
class WorkloadEstimate:
    """Estimate of a workload: its cost with and without its levers."""

    calls: int
    cost: Nanodollars | None
    plain: Nanodollars | None  # every request calls Claude, without prompt caching and batch


@lru_cache(maxsize=256)  # callers choose names
def chars_per_token(model: str) -> float:
    """Return the characters of English per token; for an unknown model the newer ratio."""
    found = _VERSION.search(model)
    if found is None:
        return _NEW
    version = (int(found[1]), int(found[2] or 0))
    return _NEW if version >= _NEW_SINCE else _OLD


def prompt_tokens(body: Mapping[str, Any], model: str) -> int:
    """Estimate the tokens of a Messages body's prompt: tools, system and turns."""
    per = chars_per_token(model)
    return sum(_tokens(block, per) for block in _blocks(body))


def estimate_prompt(
    body: Mapping[str, Any],
    model: str,
    price: Callable[[str, Usage], Nanodollars | None],
    *,
    tier: str = "standard",
) -> PromptEstimate:
    """Estimate the least and the most that a Messages body costs; it must have `max_tokens`."""
    tokens, most = prompt_tokens(body, model), int(body["max_tokens"])
    asked = Usage(
        tokens,
        service_tier=tier,
        speed="standard" if tier == "batch" else str(body.get("speed") or "standard"),
        inference_geo=str(body.get("inference_geo") or ""),
    )
    return PromptEstimate(
        model=model,
        input_tokens=tokens,
        max_tokens=most,
        least=price(model, asked),
        most=price(model, replace(asked, output_tokens=most)),
    )


def estimate_workload(
    planned: Workload, price: Callable[[str, Usage], Nanodollars | None]
) -> WorkloadEstimate:
    """Estimate a planned workload. Each request is priced and rounded as its own bill would be.

    The first request of a prefix always writes it, whatever `reused` says.
    """
    calls = planned.requests - round(planned.requests * planned.answered)
    prefix = min(planned.prefix_tokens, planned.input_tokens)
    reads = min(round(calls * planned.reused), max(0, calls - 1)) if prefix else calls
    rest = planned.input_tokens - prefix
    tier = "batch" if planned.batch else "standard"
    reading = Usage(rest, planned.output_tokens, cache_read_tokens=prefix, service_tier=tier)
    writing = Usage(
        rest,
        planned.output_tokens,
        cache_write_5m_tokens=prefix if planned.ttl == "5m" else 0,
        cache_write_1h_tokens=prefix if planned.ttl == "1h" else 0,
        service_tier=tier,
    )
    plain = price(planned.model, Usage(planned.input_tokens, planned.output_tokens))
    return WorkloadEstimate(
        calls=calls,
        cost=_sum(
            (reads, price(planned.model, reading)), (calls - reads, price(planned.model, writing))
        ),
        plain=_sum((planned.requests, plain)),
    )


def _sum(*bills: tuple[int, Nanodollars | None]) -> Nanodollars | None:
    total = 0
    for count, bill in bills:
        if bill is None:
            return None
        total += count * bill
    return total


def _blocks(body: Mapping[str, Any]) -> Iterator[Any]:
    for field in ("tools", "system"):
        found = body.get(field)
        if isinstance(found, list):
            yield from found
        elif found:
            yield found
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, Mapping) else None
        if isinstance(content, list):
            yield from content
        elif content:
            yield content


def _tokens(block: Any, per: float) -> int:
    if isinstance(block, str):
        return math.ceil(len(block) / per)
    if not isinstance(block, Mapping):
        return 0
    source = block.get("source")
    match block.get("type"):
        case "text":
            return math.ceil(len(str(block.get("text", ""))) / per)
        case "image":
            return _IMAGE
        case "document" if isinstance(source, Mapping) and source.get("type") != "text":
            return _DOCUMENT
        case _:
            unmarked = {name: value for name, value in block.items() if name != "cache_control"}
            return math.ceil(len(json.dumps(unmarked, ensure_ascii=False, default=str)) / per)
