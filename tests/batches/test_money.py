"""Money in the results of batches and jobs: as in the ledger, and as Claude would have charged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cacheserver.batches import call_codec
from cacheserver.core import json_text
from cacheserver.core.money import nanodollars, usd
from cacheserver.matching.verification_outcome import Verified
from cacheserver.simulated import Directives
from cacheserver.simulated.directives import Fault
from tests.batches.house import BatchHouse, item
from tests.batches.test_batches import results
from tests.batches.test_budgets import rows
from tests.batches.test_verification import ADMIN, HOUR, spent, staged
from tests.verification.house import ASKED, DEAR, VERIFIER

TEXT = "What is the capital of France?"


async def agree(house: BatchHouse, line: Mapping[str, Any]) -> None:
    """Assert that a result, its decision and its row show the same saving."""
    decision = (await house.http.get(f"/v1/decisions/{line['decision_id']}")).json()
    (row,) = [row for row in await rows(house) if row.id == line["decision_id"]]
    assert line["saved_usd"] == decision["saved_usd"] == usd(row.net)
    assert line["cost_usd"] == decision["cost_usd"] == usd(row.cost or 0)


async def test_a_hit_saves_what_its_item_would_have_cost(tmp_path: Path) -> None:
    async with BatchHouse.start(tmp_path) as house:
        full = nanodollars((await house.ask(TEXT)).headers["x-cost-usd"])
        made = await house.sdk().messages.batches.create(requests=[item("a", TEXT)])
        hit = (await results(house, made.id))["a"]["cache"]
        assert (hit["kind"], nanodollars(hit["saved_usd"])) == ("exact", full // 2)
        await agree(house, hit)
        for deadline, saved in (({"when": "batch"}, full // 2), ({"deadline": HOUR}, full)):
            taken = await house.job(TEXT, max_tokens=100, **deadline)
            ended = await house.ended(taken.json()["id"])
            assert ended["result"]["kind"] == "exact"
            assert nanodollars(ended["result"]["saved_usd"]) == saved
            await agree(house, ended["result"])


async def test_a_miss_saves_half_in_a_batch_of_ours(tmp_path: Path) -> None:
    async with BatchHouse.start(tmp_path) as house:
        rules = {"batching": {"flush_size": 1}}
        await house.http.put("/admin/v1/tenants/default", json=rules, headers=ADMIN)
        taken = await house.job(TEXT, max_tokens=100)
        found = (await house.ended(taken.json()["id"]))["result"]
        assert (found["kind"], found["saved_usd"]) == ("miss", found["cost_usd"])
        await agree(house, found)


async def test_similar_items_of_a_batch_have_their_own_verification(tmp_path: Path) -> None:
    async with staged(tmp_path, "NONE") as stage:
        await stage.store()
        lines = await stage.batch(ASKED, f"{ASKED}?")
        kinds = [lines[name]["cache"]["kind"] for name in ("a", "b")]
        assert kinds == ["miss", "coalesced"]
        calls = stage.charged(VERIFIER)
        assert len(calls) == 2
        assert nanodollars(lines["b"]["cache"]["cost_usd"]) in calls
        shown = sum(nanodollars(line["cache"]["cost_usd"]) for line in lines.values())
        assert shown == sum(calls) + stage.charged(DEAR)[1]
        assert sorted(spent(await rows(stage.house))) == sorted(calls)


async def test_a_direct_call_that_fails_shows_what_its_verification_cost(tmp_path: Path) -> None:
    async with staged(tmp_path, "NONE") as stage:
        await stage.store()
        stage.failing = Directives(fault=Fault("error", status=400))
        taken = await stage.house.job(ASKED, model=DEAR, max_tokens=1_000, deadline=HOUR)
        found = (await stage.house.ended(taken.json()["id"]))["result"]
        (call,) = stage.charged(VERIFIER)
        assert (found["type"], nanodollars(found["cost_usd"])) == ("errored", call)
        assert nanodollars(found["saved_usd"]) == -call


def test_a_verification_that_an_earlier_version_stored_is_read_for_its_item() -> None:
    found = Verified("no", ("e" * 32,), "claude-haiku-5-5", cost=700)
    fields = {**asdict(found), "asked": list(found.asked)}
    earlier = {"verified": json_text.dumps({"item": "job:1", "found": fields})}
    assert call_codec.decode_verified("job:2", earlier) is None
    for ask in (earlier, {call_codec.verified_field("job:1"): call_codec.encode_verified(found)}):
        read = call_codec.decode_verified("job:1", ask)
        assert read is not None
        assert (read.verdict, read.cost) == ("no", 700)
