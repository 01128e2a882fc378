"""What becomes of hits is counted for their entry and its group; and what fails is a miss."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cacheserver.calibration.labels import Labels
from cacheserver.core.errors import StoreError
from cacheserver.matching.shrinkage import EntryRecord
from cacheserver.simulated import Directives, Fault
from tests.calibration.test_llm_judge import swallowed
from tests.house import ADMIN_KEY, House, came_from

ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}
PARIS, SIMILAR = "What is the capital of France?", "What's the capital of France?"
SAME_ANSWER = "Which city is the capital of the country France?"
RIGHT = "The capital of France has been Paris since 987."
WRONG = "Berlin has been the capital of Germany since 1990."


def answering(body: Mapping[str, Any]) -> Directives:
    abbreviated = "what's" in str(body["messages"][-1]["content"]).lower()
    return Directives(text=WRONG if abbreviated else RIGHT)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with House.open(tmp_path, claude=answering, similarity=None, target=0.5) as house:
        yield house


async def audit(house: House, share: float) -> None:
    bar = {"target": 0.5, "audit_share": share}
    path = "/admin/v1/tenants/default/bars"
    assert (await house.http.put(path, headers=ADMIN, json={"bar": bar})).status_code == 200


async def past(house: House, entry_id: str, group: str) -> EntryRecord:
    labels: Labels = house.parts.calibration.feedback._states._labels
    return (await labels.past("default", "q", [(entry_id, group)]))[entry_id]


async def test_a_bad_word_counts_against_the_entry_and_all_that_say_the_same(house: House) -> None:
    await audit(house, 0.0)  # else chance may have the hit audited, which counts too
    first = await house.ask(PARIS)
    other = await house.ask(SAME_ANSWER)
    assert came_from(other)[0] == "miss"
    await house.parts.calibration.learner.idle()  # their answers are one group, named by the first
    hit = await house.ask(SIMILAR)
    named, second = (answer.headers["x-cache-entry"] for answer in (first, other))
    assert hit.headers["x-cache-entry"] == named
    fields = {"verdict": "bad", "decision_id": hit.headers["x-cache-decision"]}
    for _ in range(2):  # told twice, it counts once
        assert (await house.http.post("/v1/feedback", json=fields)).status_code == 200
    assert await past(house, named, named) == EntryRecord(False, (1, 0), (1, 0))
    assert await past(house, second, named) == EntryRecord(False, (0, 0), (1, 0))


@pytest.mark.parametrize(
    ("text", "counts"), [(SIMILAR, (1.0, 0.0)), ("what is the capital of France?", (0.0, 1.0))]
)
async def test_an_audit_counts_for_or_against(
    house: House, text: str, counts: tuple[float, float]
) -> None:
    await audit(house, 1.0)
    entry_id = (await house.ask(PARIS)).headers["x-cache-entry"]
    assert came_from(await house.ask(text))[0] == "semantic"
    await house.parts.calibration.learner.idle()
    found = await past(house, entry_id, entry_id)
    assert (found.entry, found.group) == (counts, counts)


async def test_an_audit_that_fails_costs_nothing_and_is_counted(house: House) -> None:
    await audit(house, 1.0)
    await house.ask(PARIS)
    house.upstream.faults.add(Fault("error", status=400))
    assert came_from(await house.ask(SIMILAR))[0] == "semantic"  # nobody noticed
    await house.parts.calibration.learner.idle()
    assert "learning" in await swallowed(house)
    labels: Labels = house.parts.calibration.feedback._states._labels
    assert await labels.spent("default", "audit", period_s=86_400, now=house.clock()) == 0
    assert "audits" not in await house.parts.decision_log.stats("default")


async def test_labels_that_cannot_be_read_are_a_miss_and_counted(house: House) -> None:
    async def away(*_: Any) -> Any:
        raise StoreError("the store failed")

    await house.ask(PARIS)
    labels: Any = house.parts.calibration.feedback._states._labels
    labels.past = away
    assert came_from(await house.ask(SIMILAR)) == ("miss", "degraded")
    assert "decide" in await swallowed(house)
