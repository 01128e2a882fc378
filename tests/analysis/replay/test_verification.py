"""The estimate of verification: chances and amounts, and nothing else of the replay changes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cacheserver.analysis.replay.call import Call
from cacheserver.analysis.replay.step import Step
from cacheserver.analysis.replay.verification import (
    Chances,
    Verification,
    VerificationTotals,
)
from cacheserver.core.types import Bar, Tenant, Usage
from cacheserver.matching.verification import ErrorRates
from tests.analysis.replay.calls import PRICER, call, cost
from tests.analysis.replay.engines import TENANT, make

STORED, ASKED = "How do I reset my password?", "how to reset a password"
HAIKU = "claude-haiku-5-5"
TERMS = Verification(HAIKU, ErrorRates(0.9, 0.02))
DEAR = Usage(100, 900)


def log(*asked: str, usage: Usage = DEAR) -> list[Call]:
    texts = (STORED, *asked)
    return [call(text, n, usage=usage, answer=f"Answer {n}.") for n, text in enumerate(texts)]


def replayed(
    calls: list[Call], terms: Verification | None = TERMS, tenant: Tenant = TENANT
) -> list[Step]:
    made = make(None, tenant, terms)
    try:
        return [step for _, step in made.engine.replay(calls)]
    finally:
        made.close()


@pytest.fixture(scope="module")
def estimated() -> list[Step]:
    return replayed(log(ASKED))


def test_a_plausible_miss_has_the_chances_and_the_price_of_its_call(estimated: list[Step]) -> None:
    first, second = estimated
    assert first.verification is None
    found = second.verification
    assert found is not None
    assert second.spent is not None
    right = found.hits - found.wrong
    probability = right / 0.9
    assert 0.2 < probability < 1
    assert found.wrong == pytest.approx((1 - probability) * 0.02)
    left = second.spent - sum(second.together.values())
    assert found.saved == pytest.approx(right * left, abs=1)
    # It reads the prompt, an answer as long as the one given, and our instructions.
    assert cost(HAIKU, Usage(1_000, 4)) < found.cost < cost(HAIKU, Usage(2_000, 4))


def test_the_estimate_changes_nothing_else(estimated: list[Step]) -> None:
    without = replayed(log(ASKED), None)
    assert [replace(step, verification=None) for step in estimated] == without


@pytest.mark.parametrize(
    ("calls", "terms", "tenant"),
    [
        (log("how to reset password 2"), TERMS, TENANT),  # a number decides
        (log(ASKED, usage=Usage(100, 10)), TERMS, TENANT),  # the answer costs less than a call
        (log(ASKED), Verification(HAIKU, ErrorRates(0.9, 0.9)), TENANT),  # a yes says nothing
        (log(ASKED), replace(TERMS, most_tokens=200), TENANT),
        (log(ASKED), replace(TERMS, model="claude-unheard-of"), TENANT),
        (log(ASKED), TERMS, Tenant("default", bar=Bar(similarity=0.999))),  # set by hand
        (log("What is the weather in Rome today?"), TERMS, TENANT),
    ],
)
def test_what_the_server_would_not_ask_about_is_not_estimated(
    calls: list[Call], terms: Verification, tenant: Tenant
) -> None:
    assert [step.verification for step in replayed(calls, terms, tenant)] == [None] * 2


def test_whether_asking_pays_is_decided_by_what_the_server_knows() -> None:
    given, left = call(usage=DEAR), cost("claude-sonnet-5-5", DEAR)

    def estimate(chances: Chances) -> VerificationTotals:
        totals = VerificationTotals()
        found = TERMS.estimate(given, chances, left, PRICER.cost)
        totals.add(Step(left, verification=found))
        return totals

    wrong = estimate(Chances(0.0, 0.02, expected=0.5))
    assert (wrong.calls, wrong.hits, wrong.wrong, wrong.saved) == (1, 0.02, 0.02, 0)
    assert wrong.cost > 0
    assert estimate(Chances(0.9, 0.0, expected=0.001)) == VerificationTotals()
