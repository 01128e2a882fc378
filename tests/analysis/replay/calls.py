"""Calls, and engines without a semantic tier, for the tests of a replay."""

from __future__ import annotations

from typing import Any

from cacheserver.analysis.replay.call import Call
from cacheserver.analysis.replay.engine import Engine, Semantics
from cacheserver.analysis.replay.seen import Reader
from cacheserver.analysis.replay.step import LEVERS, Step
from cacheserver.core.types import Bar, Tenant, Usage
from cacheserver.english.language import english
from cacheserver.pricing.prices import Pricer

START = 1_795_000_000.0  # in November 2026, with today's prices
MODEL = "claude-sonnet-5-5"
PRICER = Pricer()


def call(
    text: str = "What is the capital of France?",
    at: float = 0.0,
    *,
    model: str = MODEL,
    usage: Usage | None = None,
    answer: str | None = "Paris.",
    stop: str = "end_turn",
    source: str = "",
    tenant: str = "default",
    **body: Any,
) -> Call:
    """A call `at` seconds after the start."""
    given = {
        "model": model,
        "max_tokens": 300,
        "messages": [{"role": "user", "content": text}],
        **body,
    }
    message = None
    if answer is not None:
        message = {"content": [{"type": "text", "text": answer}], "stop_reason": stop}
    return Call(
        START + at,
        model,
        usage or Usage(100, 50),
        body=given,
        message=message,
        tenant=tenant,
        source=source,
    )


def engine(
    *levers: str, tenant: Tenant | None = None, similar: Semantics | None = None, most: int = 1_000
) -> Engine:
    """An engine with these levers; all of them where none is named."""
    return Engine(
        reader=Reader(tenant or Tenant("default", bar=Bar(target=0.01)), english()),
        pricer=PRICER,
        similar=similar,
        levers=frozenset(levers or LEVERS),
        most=most,
    )


def played(calls: list[Call], *levers: str, tenant: Tenant | None = None) -> list[Step]:
    return [step for _, step in engine(*levers, tenant=tenant).replay(calls)]


def cost(model: str, usage: Usage, at: float = START) -> int:
    found = PRICER.cost(model, usage, at)
    assert found is not None
    return found
