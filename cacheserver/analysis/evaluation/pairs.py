"""Pairs through the serving decision: the first question is stored, the second is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from cacheserver.analysis.evaluation.figures import Judged
from cacheserver.analysis.replay.call import Call
from cacheserver.analysis.replay.seen import Reader, ReplayedRequest
from cacheserver.analysis.replay.similar import Similar
from cacheserver.core.rules.routing import CHEAPEST_MODEL
from cacheserver.core.terminal.question_pairs import QuestionPair
from cacheserver.core.types import Usage

_AHEAD: Final = 256  # pairs whose questions are embedded while those before are judged
_FOR_EVER: Final = 1e12  # seconds: nothing expires


def judge(
    pairs: Sequence[QuestionPair], reader: Reader, similar: Similar, *, system: str | None = None
) -> Iterator[Judged]:
    """Yield each pair with the decision on it, in order. Each pair is a tenant of its own."""
    waiting = enumerate(pairs)
    while some := list(islice(waiting, _AHEAD)):
        calls = [
            (pair, [_call(text, f"pair-{number}", system) for text in (pair.query_a, pair.query_b)])
            for number, pair in some
        ]
        seen = [(pair, two, [reader.see(one) for one in two]) for pair, two in calls]
        for _, _, both in seen:
            for one in both:
                if one is not None and one.query.bypass is None:
                    similar.ahead(one)
        for pair, (first, second), (stored, asked) in seen:
            yield _judged(pair, (first, stored), (second, asked), similar)


def _judged(
    pair: QuestionPair,
    first: tuple[Call, ReplayedRequest | None],
    second: tuple[Call, ReplayedRequest | None],
    similar: Similar,
) -> Judged:
    (call, stored), (again, asked) = first, second
    if stored is None or asked is None:
        return Judged(pair, False, "unreadable")
    for one in (stored, asked):
        if one.query.bypass is not None:
            return Judged(pair, False, one.query.bypass)
    if stored.query.fingerprint == asked.query.fingerprint:
        return Judged(pair, True, "identical")
    similar.store(stored, call, similar.look(stored, call), _FOR_EVER)
    found = similar.look(asked, again)
    return Judged(pair, found.served is not None, found.reason)


def _call(text: str, tenant: str, system: str | None) -> Call:
    body = {
        "model": CHEAPEST_MODEL,
        "max_tokens": 1_024,
        "messages": [{"role": "user", "content": text}],
        **({} if system is None else {"system": system}),
    }
    return Call(at=0.0, model=CHEAPEST_MODEL, usage=Usage(), body=body, tenant=tenant)
