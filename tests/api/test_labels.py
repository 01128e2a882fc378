"""The queue of pairs to label: read, labelled, undone, out and back, through the front door."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest

from cacheserver.calibration.labels import SHADOW
from cacheserver.calibration.states import States
from cacheserver.core.errors import StoreError
from cacheserver.core.types import FIRST_EMBEDDER
from cacheserver.matching.shrinkage import EntryRecord
from tests.house import ADMIN_KEY, House, came_from

ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}
PATH = "/admin/v1/labels"
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
    answer = await house.http.get(f"{PATH}/export?tenant=default", headers=ADMIN)
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


async def take(house: House, rows: list[Any], *, confirm: bool = False) -> httpx2.Response:
    lines = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    path = f"{PATH}/import?tenant=default" + ("&confirm=true" if confirm else "")
    return await house.http.post(path, headers=ADMIN, content=lines.encode())


async def labels(house: House) -> list[Mapping[str, Any]]:
    kept = house.parts.calibration.feedback._states._labels
    scopes = [scope for scope in await kept.scopes("default") if scope != SHADOW]
    rows = [row for scope in scopes for _, row in await kept.window("default", scope)]
    return [row for row in rows if "retracts" not in row]


async def queue(house: House, **query: Any) -> list[dict[str, Any]]:
    """The queue, read by pages of one."""
    found: list[dict[str, Any]] = []
    query = {"tenant": "default", "limit": 1, **query}
    while True:
        answer = await house.http.get(f"{PATH}/queue", params=query, headers=ADMIN)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert len(page["items"]) <= 1
        found += page["items"]
        if page["next"] is None:
            return found
        query["cursor"] = page["next"]


async def say(house: House, pair: str, verdict: str, status: int = 200) -> dict[str, Any]:
    fields = {"tenant": "default", "pair": pair, "verdict": verdict, "who": "ann"}
    answer = await house.http.post(PATH, headers=ADMIN, json=fields)
    assert answer.status_code == status, answer.text
    found = answer.json()
    assert isinstance(found, dict)
    return found


async def undo(house: House, status: int = 200, **fields: Any) -> dict[str, Any]:
    asked = {"tenant": "default", **fields}
    answer = await house.http.post(f"{PATH}/undo", headers=ADMIN, json=asked)
    assert answer.status_code == status, answer.text
    found = answer.json()
    assert isinstance(found, dict)
    return found


async def test_an_export_holds_what_a_person_must_read_and_nothing_of_ours(
    calibrated: House,
) -> None:
    rows = await praise(calibrated)
    assert {(row["query_a"], row["query_b"]) for row in rows} == {
        (PARIS, SIMILAR[0]),
        (PARIS, SIMILAR[1]),
    }
    assert set(rows[0]) == {
        *("pair", "scope", "query_a", "query_b", "entry_id", "decision_id", "served"),
        *("called_good", "similarity", "probability", "bar", "label"),
    }
    assert {(row["label"], row["called_good"]) for row in rows} == {(None, True)}


async def test_an_import_is_tried_first_and_learned_from_when_confirmed(calibrated: House) -> None:
    bad, good = sorted(await praise(calibrated), key=lambda row: str(row["query_b"]))
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
    assert (await labels(calibrated), len(await queue(calibrated))) == ([], 2)
    done = await take(calibrated, rows, confirm=True)
    assert done.json() == {**dry.json(), "dry_run": False}
    found = await labels(calibrated)
    assert [(one["right"], one["source"], one["served"]) for one in found] == [
        (True, "admin", True),
        (False, "admin", True),
    ]
    assert all(one["embedder"] for one in found)
    assert await queue(calibrated) == []
    assert {row["query_b"]: row["label"] for row in await export(calibrated)} == {
        good["query_b"]: 1,
        bad["query_b"]: 0,
    }
    again = await calibrated.ask(bad["query_b"])
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
    assert [row["pair"] for row in await queue(calibrated)] == [one["pair"]]


async def test_an_import_sent_twice_counts_once(calibrated: House) -> None:
    (one,) = await praise(calibrated, SIMILAR[:1])
    rows = [{"pair": one["pair"], "label": 1}]
    for _ in range(2):
        assert (await take(calibrated, rows, confirm=True)).status_code == 200
    assert len(await labels(calibrated)) == 1


async def test_an_import_that_failed_on_the_way_is_sent_again_and_counts_once(
    calibrated: House,
) -> None:
    (one,) = await praise(calibrated, SIMILAR[:1])
    given: Any = calibrated.parts.calibration.label_queue._given
    put = given.put

    async def away(*_: Any) -> int:
        raise StoreError("the store failed")

    given.put = away
    failed = await take(calibrated, [{**one, "label": 0}], confirm=True)
    assert failed.status_code == 503
    assert [row["pair"] for row in await queue(calibrated)] == [one["pair"]]
    given.put = put
    assert (await take(calibrated, [{**one, "label": 0}], confirm=True)).status_code == 200
    assert len(await labels(calibrated)) == 1
    kept = calibrated.parts.calibration.feedback._states._labels
    entry_id = one["entry_id"]
    past = await kept.past("default", "q", [(entry_id, entry_id)])
    assert past[entry_id] == EntryRecord(False, (1, 0), (1, 0))
    assert await queue(calibrated) == []


async def test_a_hit_by_a_threshold_is_reviewed_without_a_label(house: House) -> None:
    rows = await praise(house)
    done = await take(house, [{**row, "label": 1} for row in rows], confirm=True)
    assert done.json()["without_evidence"] == 2
    assert (await labels(house), await queue(house)) == ([], [])


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
        ({"label": 1}, "line 2.pair"),
        ({"pair": 7, "label": 1}, "line 2.pair"),
        ({"pair": "0" * 16, "label": 1}, "line 2.pair"),
        ({"pair": other["pair"], "label": 2}, "line 2.label"),
        ({"pair": other["pair"], "label": True}, "line 2.label"),
        ({"pair": other["pair"], "label": "yes"}, "line 2.label"),
        ({"pair": other["pair"], "label": 1, "why": "x"}, "line 2.why"),
        ({"pair": one["pair"], "label": 0}, "line 2.pair"),  # came before
    ):
        refused = await take(calibrated, [{**one, "label": 1}, line], confirm=True)
        assert refused.status_code == 400, line
        assert refused.json()["error"]["message"].startswith(f"`{field}`: ")
        assert (await labels(calibrated), len(await export(calibrated))) == ([], 2)


async def test_every_line_with_a_mistake_is_named(calibrated: House) -> None:
    (one,) = await praise(calibrated, SIMILAR[:1])
    refused = await take(calibrated, [{**one, "label": 3}, "", "{", {"pair": one["pair"]}])
    message = refused.json()["error"]["message"]
    assert "`line 1.label`" in message
    assert "`line 3`" in message
    assert "line 4" not in message
    many = await take(calibrated, ["x"] * 30)
    assert "; and 20 more" in many.json()["error"]["message"]


async def test_what_is_no_import_is_refused(calibrated: House) -> None:
    for rows in ([], [""]):
        assert (await take(calibrated, rows)).status_code == 400
    path = f"{PATH}/import?tenant=default&confirm=yes"
    wrong = await calibrated.http.post(path, headers=ADMIN, content=b"{}")
    assert "`confirm`" in wrong.json()["error"]["message"]


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
    assert (praised.status_code, praised.json()["done"]) == (200, "counted")
    (one,) = await queue(calibrated)
    assert (one["called_good"], one["served"]) == (False, False)


async def test_another_tenants_item_is_in_nobody_elses_queue(calibrated: House) -> None:
    (one,) = await praise(calibrated, SIMILAR[:1])
    rows = json.dumps({**one, "label": 1}).encode()
    await calibrated.http.put("/admin/v1/tenants/other", headers=ADMIN, json={})
    path = f"{PATH}/import?tenant=other&confirm=true"
    refused = await calibrated.http.post(path, headers=ADMIN, content=rows)
    assert refused.status_code == 400
    assert "`line 1.pair`" in refused.json()["error"]["message"]
    decided = f"{one['decision_id']}:{one['entry_id']}"
    for pair in (one["pair"], decided):
        fields = {"tenant": "other", "pair": pair, "verdict": "no"}
        for path, given in ((PATH, fields), (f"{PATH}/undo", {"tenant": "other", "pair": pair})):
            gone = await calibrated.http.post(path, headers=ADMIN, json=given)
            assert gone.status_code == 404
    assert await queue(calibrated, tenant="other") == []
    assert len(await queue(calibrated)) == 1


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
    (good,) = [row for row in await export(calibrated) if row["called_good"]]
    assert (await take(calibrated, [{**good, "label": 1}], confirm=True)).status_code == 200
    assert [(one["source"], one["caller"]) for one in await labels(calibrated)] == [
        ("feedback", callers["bad"]),
        ("admin", callers["good"]),
    ]
    assert callers["good"] != callers["bad"]
    assert all(callers.values())


async def test_the_least_sure_pair_comes_first_and_none_twice(calibrated: House) -> None:
    await calibrated.ask(PARIS)
    for text in (SIMILAR[0], SIMILAR[0], "Which city is the capital of the country France?"):
        await calibrated.ask(text)
    await calibrated.ask("What is the capital of France", system="Answer in French.")
    rows = await queue(calibrated)
    assert len({(row["query_b"], row["entry_id"]) for row in rows}) == len(rows) == 2
    far = [abs(row["probability"] - row["bar"]) for row in rows]
    assert far == sorted(far)
    assert {row["query_a"] for row in rows} == {PARIS}
    assert all(row["answer"] and row["counts"] for row in rows)
    scope = rows[0]["scope"]
    assert await queue(calibrated, scope=scope) == rows
    assert await queue(calibrated, scope="0" * 64) == []


async def test_what_is_skipped_is_not_asked_again_and_changes_nothing(calibrated: House) -> None:
    (one, other) = await praise(calibrated)
    told = await say(calibrated, one["pair"], "skip")
    assert (told["counted"], told["condemned"], told["reason"]) == (False, False, None)
    assert [row["pair"] for row in await queue(calibrated)] == [other["pair"]]
    assert await labels(calibrated) == []
    assert came_from(await calibrated.ask(one["query_b"]))[0] == "semantic"
    assert (await undo(calibrated))["undone"] == "skip"
    assert len(await queue(calibrated)) == 2
    await undo(calibrated, 404)


async def test_a_label_counts_at_once_in_its_scope_and_is_undone_without_a_trace(
    calibrated: House,
) -> None:
    (one,) = await praise(calibrated, SIMILAR[:1])
    states = calibrated.parts.calibration.states
    kept = calibrated.parts.calibration.labels
    entry, scope = one["entry_id"], one["scope"]
    for _ in range(2):  # the second time it counts again
        told = await say(calibrated, one["pair"], "no")
        assert (told["counted"], told["condemned"], told["scope"]) == (True, True, scope)
        assert await say(calibrated, one["pair"], "no") == told
        (label,) = (await states.get("default", scope)).labels
        assert (label.right, label.source, label.served) == (False, "admin", True)
        assert (await kept.past("default", "q", [(entry, entry)]))[entry].entry == (1, 0)
        assert came_from(await calibrated.ask(SIMILAR[0], max_tokens=100))[0] != "semantic"
        assert (await undo(calibrated, pair=one["pair"]))["undone"] == "no"
        assert (await states.get("default", scope)).labels == ()
        assert (await kept.past("default", "q", [(entry, entry)]))[entry].entry == (0, 0)
    assert await labels(calibrated) == []
    await undo(calibrated, 404, pair=one["pair"])


async def test_an_undone_label_leaves_what_an_audit_condemned(calibrated: House) -> None:
    (one,) = await praise(calibrated, SIMILAR[:1])
    hit = await calibrated.ask(SIMILAR[0], max_tokens=100)
    record = await calibrated.parts.decision_log.decision(
        "default", hit.headers["x-cache-decision"]
    )
    assert record is not None
    question, kept = record["fingerprint"], calibrated.parts.labels
    await say(calibrated, one["pair"], "no")
    await kept.tombstones.add("default", question, one["entry_id"], life_s=600)
    await undo(calibrated, pair=one["pair"])
    assert came_from(await calibrated.ask(SIMILAR[0], max_tokens=100))[0] != "semantic"


async def test_another_verdict_replaces_the_one_before(calibrated: House) -> None:
    (one,) = await praise(calibrated, SIMILAR[:1])
    await say(calibrated, one["pair"], "no")
    told = await say(calibrated, one["pair"], "yes")
    assert (told["counted"], told["condemned"]) == (True, False)
    assert [row["right"] for row in await labels(calibrated)] == [True]
    entry = one["entry_id"]
    past = await calibrated.parts.calibration.labels.past("default", "q", [(entry, entry)])
    assert past[entry] == EntryRecord(False, (0, 0), (0, 0))


async def test_a_verdict_that_failed_half_way_leaves_nothing_when_another_replaces_it(
    calibrated: House,
) -> None:
    (one,) = await praise(calibrated, SIMILAR[:1])
    given: Any = calibrated.parts.calibration.label_queue._given
    put = given.put

    async def away(*_: Any) -> None:
        raise StoreError("the store failed")

    given.put = away
    await say(calibrated, one["pair"], "no", 503)
    given.put = put
    await say(calibrated, one["pair"], "yes")
    assert [row["right"] for row in await labels(calibrated)] == [True]
    assert came_from(await calibrated.ask(SIMILAR[0]))[0] == "semantic"


async def test_a_near_miss_that_is_called_wrong_counts_against_no_hit(calibrated: House) -> None:
    await calibrated.ask("How do I enable two-factor sign-in?")
    miss = await calibrated.ask("Where is two-factor sign-in?")
    assert miss.headers["x-cache"] == "miss"
    (one,) = await queue(calibrated)
    assert (await say(calibrated, one["pair"], "no"))["counted"] is True
    (label,) = await labels(calibrated)
    assert (label["served"], label["right"], label["source"]) == (False, False, "admin")
    entry = one["entry_id"]
    past = await calibrated.parts.calibration.labels.past("default", "q", [(entry, entry)])
    assert past[entry].entry == (0, 0)


async def test_a_verdict_that_will_not_do_is_refused_and_named(calibrated: House) -> None:
    (one,) = await praise(calibrated, SIMILAR[:1])
    await say(calibrated, one["pair"], "maybe", 400)
    for pair in ("0" * 16, "dec_none:entry", "x", f"{one['decision_id']}:other"):
        await say(calibrated, pair, "no", 404)
    bad: list[tuple[dict[str, str | int], str]] = [
        ({"limit": 0}, "limit"),
        ({"limit": 201}, "limit"),
        ({"scope": "x"}, "scope"),
        ({"cursor": "nan:x"}, "cursor"),
        ({"cursor": "x"}, "cursor"),
        ({"tenant": "nobody"}, "tenant"),
    ]
    for query, field in bad:
        params = {"tenant": "default", **query}
        refused = await calibrated.http.get(f"{PATH}/queue", params=params, headers=ADMIN)
        assert refused.status_code == 400, query
        assert f"`{field}`" in refused.json()["error"]["message"]
    fields = {"tenant": "default", "pair": one["pair"], "verdict": "no", "why": "x"}
    refused = await calibrated.http.post(PATH, headers=ADMIN, json=fields)
    assert "`why`" in refused.json()["error"]["message"]


async def test_another_server_drops_a_label_that_was_undone(tmp_path: Path) -> None:
    chosen: dict[str, Any] = {"similarity": None, "target": 0.5, "audit_usd_per_day": 0}
    async with House.open(tmp_path, **chosen) as house:
        (one,) = await praise(house, SIMILAR[:1])
        await say(house, one["pair"], "yes")
        calibration, scope = house.parts.calibration, one["scope"]
        clock = house.clock
        other = States(
            calibration.labels, house.parts.metrics, embedder=calibration.states.embedder,
            clock=clock,
        )  # fmt: skip
        assert len((await other.get("default", scope)).labels) == 1
        await undo(house)
        clock.ahead_s += 16  # it looks every 15 seconds
        assert (await other.get("default", scope)).labels == ()
