"""The review queue, out and back, through the front door."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest

from cacheserver.calibration.labels import SHADOW
from cacheserver.core.errors import StoreError
from cacheserver.core.types import FIRST_EMBEDDER
from cacheserver.matching.shrinkage import EntryRecord
from tests.house import ADMIN_KEY, House, came_from

ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}
PATH = "/admin/v1/tenants/default/reviews"
PARIS = "What is the capital of France?"
SIMILAR = ("What's the capital of France?", "what is the capital of France?")


@pytest.fixture
async def calibrated(tmp_path: Path) -> AsyncIterator[House]:
    async with House.open(
        tmp_path,
        similarity=None,
        target=0.5,
        audit_usd_per_day=0,  # no hit is asked again by chance
    ) as house:
        yield house


async def praise(house: House, texts: tuple[str, ...] = SIMILAR) -> list[dict[str, Any]]:
    """Ask, praise each similar hit, and export the queue."""
    await house.ask(PARIS)
    for text in texts:
        hit = await house.ask(text)
        assert came_from(hit)[0] == "semantic"
        fields = {"verdict": "good", "decision_id": hit.headers["x-cache-decision"]}
        assert (await house.http.post("/v1/feedback", json=fields)).status_code == 200
    return await export(house)


async def export(house: House) -> list[dict[str, Any]]:
    answer = await house.http.get(f"{PATH}/export", headers=ADMIN)
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


async def take(house: House, rows: list[Any], *, confirm: bool = False) -> httpx2.Response:
    lines = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    path = f"{PATH}?confirm=true" if confirm else PATH
    return await house.http.post(path, headers=ADMIN, content=lines.encode())


async def labels(house: House) -> list[Mapping[str, Any]]:
    kept = house.parts.calibration.feedback._states._labels
    scopes = [scope for scope in await kept.scopes("default") if scope != SHADOW]
    return [row for scope in scopes for _, row in await kept.window("default", scope)]


async def test_an_export_holds_what_a_person_must_read_and_nothing_of_ours(
    calibrated: House,
) -> None:
    rows = await praise(calibrated)
    assert [(row["query_a"], row["query_b"]) for row in rows] == [
        (PARIS, SIMILAR[0]),
        (PARIS, SIMILAR[1]),
    ]
    assert set(rows[0]) == {
        *("id", "query_a", "query_b", "verdict", "entry_id", "decision_id", "label")
    }
    assert {row["label"] for row in rows} == {None}


async def test_an_import_is_tried_first_and_learned_from_when_confirmed(calibrated: House) -> None:
    good, bad = await praise(calibrated)
    rows = [{**good, "label": 1}, {**bad, "label": "0"}]
    dry = await take(calibrated, rows)
    assert dry.json() == {
        "lines": 2,
        "right": 1,
        "wrong": 1,
        "unlabelled": 0,
        "without_evidence": 0,
        "dry_run": True,
    }
    assert (await labels(calibrated), len(await export(calibrated))) == ([], 2)
    done = await take(calibrated, rows, confirm=True)
    assert done.json() == {**dry.json(), "dry_run": False}
    found = await labels(calibrated)
    assert [(one["right"], one["source"], one["served"]) for one in found] == [
        (True, "admin", True),
        (False, "admin", True),
    ]
    assert all(one["embedder"] for one in found)
    assert await export(calibrated) == []
    again = await calibrated.ask(SIMILAR[1])
    assert came_from(again) == ("miss", "condemned")


async def test_labels_are_those_of_the_models_that_decided(calibrated: House) -> None:
    (one,) = await praise(calibrated, SIMILAR[:1])
    calibrated.parts.calibration.feedback._states.embedder = "another since"
    assert (await take(calibrated, [{**one, "label": 1}], confirm=True)).status_code == 200
    (label,) = await labels(calibrated)
    assert label["embedder"] == calibrated.parts.embedder_id


async def replayed(house: House) -> int:
    path, fields = "/admin/v1/tenants/default/bars", {"dry_run": True, "bar": {"similarity": 0.5}}
    found = await house.http.put(path, headers=ADMIN, json=fields)
    return int(found.json()["would_have"]["replayed"]["decisions"])


async def test_another_prior_reads_no_label_and_no_decision_of_the_one_before(
    tmp_path: Path,
) -> None:
    """The verdict comes after the change, on evidence of before it."""
    chosen: dict[str, Any] = {"similarity": None, "target": 0.5, "audit_usd_per_day": 0}
    async with House.open(tmp_path, **chosen) as house:
        await house.ask(PARIS)
        decision = (await house.ask(SIMILAR[0])).headers["x-cache-decision"]
        assert await replayed(house) == 1
    async with House.open(tmp_path, embedder_prior="multilingual-e5-small", **chosen) as house:
        assert await replayed(house) == 0
        fields = {"verdict": "bad", "decision_id": decision}
        assert (await house.http.post("/v1/feedback", json=fields)).status_code == 200
        (label,) = await labels(house)
        assert label["embedder"] == house.parts.embedder_id == FIRST_EMBEDDER
        states = house.parts.calibration.feedback._states
        assert states.embedder.startswith(f"{FIRST_EMBEDDER}:prior-")
        scope = house.parts.calibration.labels.scopes
        assert (await states.get("default", (await scope("default"))[0])).labels == ()


async def test_what_nobody_labelled_stays_in_the_queue(calibrated: House) -> None:
    one, other = await praise(calibrated)
    done = await take(calibrated, [one, {**other, "label": 1}], confirm=True)
    assert (done.json()["unlabelled"], done.json()["right"]) == (1, 1)
    assert [row["id"] for row in await export(calibrated)] == [one["id"]]


async def test_an_import_sent_twice_counts_once(calibrated: House) -> None:
    (one,) = await praise(calibrated, SIMILAR[:1])
    rows = [{"id": one["id"], "label": 1}]
    assert (await take(calibrated, rows, confirm=True)).status_code == 200
    again = await take(calibrated, rows, confirm=True)
    assert again.status_code == 400
    assert len(await labels(calibrated)) == 1


async def test_an_import_that_failed_on_the_way_is_sent_again_and_counts_once(
    calibrated: House,
) -> None:
    (one,) = await praise(calibrated, SIMILAR[:1])
    queue: Any = calibrated.parts.calibration.reviews
    remove = queue.remove

    async def away(*_: Any) -> int:
        raise StoreError("the store failed")

    queue.remove = away
    failed = await take(calibrated, [{**one, "label": 0}], confirm=True)
    assert failed.status_code == 503
    queue.remove = remove
    assert (await take(calibrated, [{**one, "label": 0}], confirm=True)).status_code == 200
    assert len(await labels(calibrated)) == 1
    kept = calibrated.parts.calibration.feedback._states._labels
    entry_id = one["entry_id"]
    past = await kept.past("default", "q", [(entry_id, entry_id)])
    assert past[entry_id] == EntryRecord(False, (1, 0), (1, 0))
    assert await export(calibrated) == []


async def test_a_hit_by_a_threshold_is_reviewed_without_a_label(house: House) -> None:
    rows = await praise(house)
    done = await take(house, [{**row, "label": 1} for row in rows], confirm=True)
    assert done.json()["without_evidence"] == 2
    assert (await labels(house), await export(house)) == ([], [])


async def test_a_hit_that_a_reviewer_calls_wrong_is_served_no_more_whatever_served_it(
    house: House,
) -> None:
    (row,) = await praise(house, SIMILAR[:1])
    assert (await take(house, [{**row, "label": 0}], confirm=True)).status_code == 200
    assert came_from(await house.ask(SIMILAR[0]))[0] == "miss"


async def test_one_line_that_will_not_do_keeps_all_of_them_out(calibrated: House) -> None:
    one, other = await praise(calibrated)
    for line, field in (
        ("not json", "line 2"),
        ("[]", "line 2"),
        ({"label": 1}, "line 2.id"),
        ({"id": 7, "label": 1}, "line 2.id"),
        ({"id": "0" * 16, "label": 1}, "line 2.id"),
        ({"id": other["id"], "label": 2}, "line 2.label"),
        ({"id": other["id"], "label": True}, "line 2.label"),
        ({"id": other["id"], "label": "yes"}, "line 2.label"),
        ({"id": other["id"], "label": 1, "why": "x"}, "line 2.why"),
        ({"id": one["id"], "label": 0}, "line 2.id"),  # came before
    ):
        refused = await take(calibrated, [{**one, "label": 1}, line], confirm=True)
        assert refused.status_code == 400, line
        assert refused.json()["error"]["message"].startswith(f"`{field}`: ")
        assert (await labels(calibrated), len(await export(calibrated))) == ([], 2)


async def test_every_line_with_a_mistake_is_named(calibrated: House) -> None:
    (one,) = await praise(calibrated, SIMILAR[:1])
    refused = await take(calibrated, [{**one, "label": 3}, "", "{", {"id": one["id"]}])
    message = refused.json()["error"]["message"]
    assert "`line 1.label`" in message
    assert "`line 3`" in message
    assert "line 4" not in message
    many = await take(calibrated, ["x"] * 30)
    assert "; and 20 more" in many.json()["error"]["message"]


async def test_what_is_no_import_is_refused(calibrated: House) -> None:
    for rows in ([], [""]):
        assert (await take(calibrated, rows)).status_code == 400
    wrong = await calibrated.http.post(f"{PATH}?confirm=yes", headers=ADMIN, content=b"{}")
    assert "`confirm`" in wrong.json()["error"]["message"]
    for method, path in (("GET", f"{PATH}/export"), ("POST", PATH)):
        assert (await calibrated.http.request(method, path)).status_code == 401


async def test_praise_of_a_fresh_answer_is_no_label_for_what_came_near(
    calibrated: House,
) -> None:
    """A miss is explained by the evidence of the nearest, whose answer nobody was given."""
    await calibrated.ask("How do I enable two-factor sign-in?")
    miss = await calibrated.ask("Where is two-factor sign-in?")
    assert miss.headers["x-cache"] == "miss"
    id = miss.headers["x-cache-decision"]
    decision = (await calibrated.http.get(f"/v1/decisions/{id}")).json()["decision"]
    assert decision["evidence"] is not None
    praised = await calibrated.http.post(
        "/v1/feedback", json={"verdict": "good", "decision_id": id}
    )
    assert praised.status_code == 200
    (one,) = await export(calibrated)
    rows = json.dumps({**one, "label": 1}).encode()
    taken = await calibrated.http.post(f"{PATH}?confirm=true", headers=ADMIN, content=rows)
    assert (taken.json()["right"], taken.json()["without_evidence"]) == (1, 1)


async def test_another_tenants_item_is_in_nobody_elses_queue(calibrated: House) -> None:
    (one,) = await praise(calibrated, SIMILAR[:1])
    rows = json.dumps({**one, "label": 1}).encode()
    await calibrated.http.put("/admin/v1/tenants/other", headers=ADMIN, json={})
    other = "/admin/v1/tenants/other/reviews"
    refused = await calibrated.http.post(f"{other}?confirm=true", headers=ADMIN, content=rows)
    assert refused.status_code == 400
    assert "`line 1.id`" in refused.json()["error"]["message"]
    gone = await calibrated.http.delete(f"{other}/{one['id']}", headers=ADMIN)
    assert gone.status_code == 404
    assert len(await export(calibrated)) == 1


async def test_what_people_say_counts_for_the_caller_whose_question_it_was(
    calibrated: House,
) -> None:
    await calibrated.ask(PARIS)
    callers: dict[str, str] = {}
    for text, verdict in zip(SIMILAR, ("good", "bad"), strict=True):
        hit = await calibrated.ask(text, headers={"x-cache-actor": f"who says {verdict}"})
        id = hit.headers["x-cache-decision"]
        fields = {"verdict": verdict, "decision_id": id}
        assert (await calibrated.http.post("/v1/feedback", json=fields)).status_code == 200
        shown = await calibrated.http.get(f"/v1/decisions/{id}")
        assert "caller" not in shown.json()
        whole = await calibrated.http.get(
            f"/admin/v1/tenants/default/decisions/{id}", headers=ADMIN
        )
        callers[verdict] = whole.json()["caller"]
    (good,) = await export(calibrated)
    assert (await take(calibrated, [{**good, "label": 1}], confirm=True)).status_code == 200
    assert [(one["source"], one["caller"]) for one in await labels(calibrated)] == [
        ("feedback", callers["bad"]),
        ("admin", callers["good"]),
    ]
    assert callers["good"] != callers["bad"]
    assert all(callers.values())
