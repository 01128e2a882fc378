"""What a batch is served with is served as anywhere else, and what it asks is learned from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cacheserver.batches.joined_asks import from_direct
from cacheserver.cache.answer import Answer, Settlement
from cacheserver.core.types import Bypass, Candidate, Decision, Hit, Miss
from tests.api.admin import ADMIN, PARIS, SIMILAR, put
from tests.api.test_learning import answering
from tests.batches.house import BatchHouse, item
from tests.batches.test_batches import results
from tests.cache.test_stored_answer import ENTRY

SOFT: dict[str, Any] = {"claude": answering, "similarity": None, "target": 0.5}


async def test_a_hit_of_a_batch_is_audited_as_any_other(tmp_path: Path) -> None:
    async with BatchHouse.start(tmp_path, **SOFT) as house:
        await put(house, "tenants/default/bars", bar={"target": 0.5, "audit_share": 1.0})
        await house.ask(PARIS)
        made = await house.sdk().messages.batches.create(requests=[item("a", SIMILAR)])
        assert (await results(house, made.id))["a"]["cache"]["kind"] == "semantic"
        await house.parts.calibration.learner.idle()
        sums = await house.parts.decision_log.stats("default")
        assert (sums["audits"], sums["audits_wrong"]) == (1, 1)


async def test_what_a_batch_asks_is_held_against_what_came_near(tmp_path: Path) -> None:
    """In shadow mode all of it is told: what would have been served, and whether it was right."""
    async with BatchHouse.start(tmp_path, **SOFT) as house:
        await put(house, "tenants/default", shadow=True)
        await house.ask(PARIS)
        made = await house.sdk().messages.batches.create(requests=[item("a", SIMILAR)])
        cache = (await results(house, made.id))["a"]["cache"]
        assert (cache["kind"], cache["reason"]) == ("miss", "shadow")
        await house.parts.calibration.learner.idle()
        path = "/admin/v1/tenants/default/shadow"
        shadow = (await house.http.get(path, headers=ADMIN)).json()
        assert (shadow["would_have"]["hits"], shadow["would_have"]["wrong"]) == (1, 1)


async def test_a_miss_of_a_batch_labels_what_came_near(tmp_path: Path) -> None:
    async with BatchHouse.start(tmp_path, **{**SOFT, "target": 0.001}) as house:
        await house.ask(PARIS)
        made = await house.sdk().messages.batches.create(requests=[item("a", SIMILAR)])
        assert (await results(house, made.id))["a"]["cache"]["kind"] == "miss"
        await house.parts.calibration.learner.idle()
        assert await _labels(house) == 1


@pytest.mark.parametrize(
    ("decision", "storing", "given_on"),
    [
        (Miss("empty"), {"stored": "e1"}, True),
        (Miss("empty"), {"unstored": "budget"}, True),
        (Miss("empty"), {"unstored": "stop-max_tokens"}, False),
        (Miss("empty"), {"unstored": "no-content"}, False),
        (Bypass("no-store"), {"unstored": "bypass"}, False),
        (Hit(Candidate(ENTRY, 1.0), "exact", "landed"), {}, True),
        (Hit(Candidate(ENTRY, 1.0), "coalesced", "under-way"), {}, True),
        (Hit(None, "coalesced", "under-way"), {}, False),
        (Hit(Candidate(ENTRY, 0.97), "semantic", "similar"), {}, False),
        (Hit(Candidate(ENTRY, 1.0), "stale", "upstream-failed"), {}, False),
    ],
)
def test_an_answer_given_at_once_is_passed_to_who_asked_alike_only_where_it_may_be_stored(
    decision: Decision, storing: dict[str, Any], given_on: bool
) -> None:
    answer = Answer("d", Settlement(decision, **storing), {})
    assert from_direct(b"{}", answer).shareable is given_on


async def _labels(house: BatchHouse) -> int:
    kept = house.parts.calibration.feedback._states._labels
    scopes = await kept.scopes("default")
    return sum([len(await kept.window("default", scope)) for scope in scopes])
