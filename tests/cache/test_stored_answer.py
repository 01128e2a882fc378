"""Stored answers on their way out: noted, priced and audited, and without another's thinking."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cacheserver.cache.stored_answer import StoredAnswers
from cacheserver.core import json_text
from cacheserver.core.types import Candidate, Entry, Hit, HitKind, Miss, Query, Usage
from tests.cache.test_fingerprint import ask, body

THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
SAID = {"type": "text", "text": "Paris."}
ENTRY = Entry(
    id="e1",
    tenant="t",
    namespace="default",
    fingerprint="f",
    scope="s",
    text="What is the capital of France?",
    model="claude-haiku-5-5",
    message=json_text.dumps({"type": "message", "content": [THOUGHT, SAID]}),
    usage=Usage(input_tokens=10, output_tokens=5),
    cost=7,
    tags=(),
    created_at=0.0,
    expires_at=100.0,
)


class Seen:
    """The store, the prices and the learner, as far as a hit meets them."""

    def __init__(self) -> None:
        self.touched: list[str] = []
        self.audited: list[tuple[str, float]] = []

    async def get(self, fingerprint: str) -> Entry | None:
        return ENTRY if fingerprint == ENTRY.fingerprint else None

    def touch(self, entry: Entry, saved: int) -> None:
        self.touched.append(entry.id)

    def cost(self, model: str, usage: Usage, now: float) -> int:
        return usage.input_tokens + usage.output_tokens + round(now)

    def audit(self, query: Query, hit: Candidate, share: float, *, verified: bool) -> None:
        self.audited.append((hit.entry.id, share))

    def missed(self, query: Query, decision: Miss, entry: Entry) -> None:
        raise AssertionError("a hit is no miss")


def hit(kind: HitKind, share: float = 0.0) -> Hit:
    return Hit(Candidate(ENTRY, similarity=0.97), kind, "similar", audit_share=share)


@pytest.mark.parametrize(
    ("kind", "content"),
    [("exact", [THOUGHT, SAID]), ("stale", [THOUGHT, SAID]), ("semantic", [SAID])],
)
def test_thinking_goes_to_the_same_prefix_alone(kind: HitKind, content: list[object]) -> None:
    seen = Seen()
    stored = StoredAnswers(entries=seen, pricer=seen, learner=seen, chance=lambda: 0.5)  # type: ignore[arg-type]
    served = stored.serve_stored(ask(body()), hit(kind), ENTRY, now=1_000.0)
    assert json_text.loads(served.message)["content"] == content
    assert seen.touched == ["e1"]
    assert (served.settlement.cost, served.settlement.saved) == (0, 1_015)


@pytest.mark.parametrize(
    ("share", "credential", "audited"),
    [(0.6, None, [("e1", 0.6)]), (0.5, None, []), (0.0, None, []), (1.0, "sk-ant-theirs", [])],
)
def test_a_share_is_audited_and_never_on_a_callers_own_key(
    share: float, credential: str | None, audited: list[tuple[str, float]]
) -> None:
    seen = Seen()
    stored = StoredAnswers(entries=seen, pricer=seen, learner=seen, chance=lambda: 0.5)  # type: ignore[arg-type]
    query = replace(ask(body()), credential=credential)
    stored.serve_stored(query, hit("semantic", share), ENTRY, now=0.0)
    assert seen.audited == audited
