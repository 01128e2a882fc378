"""The candidates that a decision lists, to its caller and to admins, through the front door."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cacheserver.simulated import Directives
from tests.house import ADMIN_KEY, House, came_from

ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}
PARIS, SIMILAR = "What is the capital of France?", "What's the capital of France?"


def answering(body: Mapping[str, Any]) -> Directives:
    return Directives(text="The capital of France has been Paris since 987.")


@pytest.fixture
async def calibrated(tmp_path: Path) -> AsyncIterator[House]:
    """A server that decides by probability, with a target that the prior alone can meet."""
    async with House.open(tmp_path, claude=answering, similarity=None, target=0.5) as house:
        yield house


async def bar(house: House, **fields: Any) -> None:
    done = await house.http.put(
        "/admin/v1/tenants/default/bars", headers=ADMIN, json={"bar": fields}
    )
    assert done.status_code == 200, done.text


async def explained(house: House, answer: Any, *, admin: bool) -> dict[str, Any]:
    id = answer.headers["x-cache-decision"]
    path = f"/admin/v1/tenants/default/decisions/{id}" if admin else f"/v1/decisions/{id}"
    response = await house.http.get(path, headers=ADMIN if admin else None)
    assert response.status_code == 200, response.text
    shown = response.json()["decision"]
    assert isinstance(shown, dict)
    return shown


async def test_a_decision_lists_the_nearest_by_similarity_a_vetoed_one_first(
    calibrated: House,
) -> None:
    await bar(calibrated, target=0.01)
    opposite = await calibrated.ask("How do I enable two-factor sign-in?")
    far = await calibrated.ask("Who wrote the play about the prince of Denmark?")
    answer = await calibrated.ask("How do I disable two-factor sign-in?")
    assert came_from(answer)[0] == "miss"
    assert answer.headers["x-cache-veto"] == "antonym"  # of the nearest, though less likely
    assert "x-cache-probability" not in answer.headers
    shown = await explained(calibrated, answer, admin=True)
    nearest, likelier = shown["candidates"]
    assert nearest["similarity"] > likelier["similarity"]
    assert [one["entry"] for one in (nearest, likelier)] == [
        one.headers["x-cache-entry"] for one in (opposite, far)
    ]
    assert (nearest["veto"], nearest["probability"]) == ("antonym", None)
    assert likelier["veto"] is None
    assert 0 <= likelier["probability"] < 1
    top = [shown[name] for name in ("candidate", "similarity", "veto", "probability")]
    assert top == [nearest[name] for name in ("entry", "similarity", "veto", "probability")]


async def test_at_most_five_are_listed_and_the_served_one_is_among_them(house: House) -> None:
    await bar(house, similarity=1.0, top_k=20)
    for city in ("Rome", "Oslo", "Bern", "Riga", "Lima", "Kyiv"):
        await house.ask(f"What is the weather like in {city} in the month of May?")
    served = await house.ask("What's the weather like in Paris in May?")
    await bar(house, similarity=0.2, top_k=20)
    hit = await house.ask("What is the weather like in Paris in the month of May?")
    assert came_from(hit) == ("semantic", "similar")
    assert hit.headers["x-cache-entry"] == served.headers["x-cache-entry"]
    shown = await explained(house, hit, admin=False)
    assert len(shown["candidates"]) == 5
    assert shown["candidate"] in [one["entry"] for one in shown["candidates"]]


async def test_callers_see_the_question_that_was_served_and_no_other_admins_see_all(
    calibrated: House,
) -> None:
    await calibrated.ask(PARIS)
    await calibrated.ask("Where did our patient Zora Quill go?")
    hit = await calibrated.ask(SIMILAR)
    miss = await calibrated.ask("Where did our patient Max Quill stay?")
    assert [came_from(one)[0] for one in (hit, miss)] == ["semantic", "miss"]
    for answer, seen in ((hit, [PARIS]), (miss, [])):
        shown = await explained(calibrated, answer, admin=False)
        listed = [one["question"] for one in shown["candidates"]]
        assert [text for text in listed if text is not None] == seen
        assert shown["question"] == (seen[0] if seen else None)
        every = await explained(calibrated, answer, admin=True)
        assert None not in [one["question"] for one in every["candidates"]]
        assert every["question"] == every["candidates"][0]["question"]
    path = f"/admin/v1/tenants/default/decisions/{hit.headers['x-cache-decision']}"
    assert (await calibrated.http.get(path)).status_code == 401
    for name in ("Zora", "Max"):
        asked = {"prompt": f"Where did our patient {name} Quill go?"}
        told = await calibrated.http.post("/v1/query", json=asked)
    assert len(told.json()["decision"]["candidates"]) == 1
    assert "Zora" not in told.text
