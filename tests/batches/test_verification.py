"""Items of batches and jobs are verified before they wait for a call, under the same caps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cacheserver.core.ledger_row import Row
from cacheserver.simulated import Directives
from cacheserver.simulated.directives import question
from tests.batches.house import BatchHouse, item
from tests.batches.test_batches import results
from tests.batches.test_budgets import rows
from tests.house import ADMIN_KEY
from tests.verification.house import ASKED, DEAR, STORED, VERIFIER, long, verifies

ADMIN = {"x-api-key": ADMIN_KEY}
HOUR = 3_600
ONLY = {"cache-control": "only-if-cached"}


@dataclass
class Stage:
    house: BatchHouse
    reply: list[str]
    verified: list[Mapping[str, Any]] = field(default_factory=list)
    answer: str = ""  # instead of a long one
    failing: Directives | None = None  # instead of any answer

    async def store(self) -> None:
        await self.house.ask(STORED, model=DEAR, max_tokens=1_000)

    async def batch(self, *texts: str, **given: Any) -> dict[str, Any]:
        """The results of a batch, by custom id: a, b, ..."""
        wanted = {"model": DEAR, "max_tokens": 1_000, **given}
        items = [item(chr(97 + at), text, **wanted) for at, text in enumerate(texts)]
        made = await self.house.sdk().messages.batches.create(requests=items)
        return await results(self.house, made.id)

    async def put(self, **fields: Any) -> None:
        path = "/admin/v1/tenants/default"
        assert (await self.house.http.put(path, json=fields, headers=ADMIN)).status_code == 200

    async def record(self, line: Mapping[str, Any]) -> dict[str, Any]:
        path = f"/v1/decisions/{line['cache']['decision_id']}"
        found: dict[str, Any] = (
            await self.house.http.get(path, headers={"x-api-key": "any"})
        ).json()
        return found

    def charged(self, model: str) -> list[int]:
        return [line.nanodollars for line in self.house.upstream.invoice if line.model == model]


@asynccontextmanager
async def staged(folder: Path, reply: str = "1", **settings: Any) -> AsyncIterator[Stage]:
    stages: list[Stage] = []

    def direct(body: Mapping[str, Any]) -> Directives | None:
        if not verifies(body):
            return stages[0].failing or Directives(text=stages[0].answer or long(question(body)))
        stages[0].verified.append(body)
        return Directives(text=stages[0].reply[0])

    chosen = {"similarity": None, "target": 0.01, "verify_false_yes": 0.02, **settings}
    async with BatchHouse.start(folder, claude=direct, **chosen) as house:
        stages.append(Stage(house, [reply]))
        yield stages[0]


def nano(shown: str) -> int:
    return int(Decimal(shown) * 1_000_000_000)


def spent(found: list[Row]) -> list[int]:
    return [sum(row.spent.values()) for row in found if row.reason == "verify"]


async def test_a_yes_ends_an_item_at_the_cost_of_the_call(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await stage.store()
        lines = await stage.batch(ASKED)
        cache = lines["a"]["cache"]
        assert (cache["kind"], cache["reason"]) == ("semantic", "verified")
        call, answer = stage.charged(VERIFIER)[0], stage.charged(DEAR)[0]  # others are audits
        assert nano(cache["cost_usd"]) == call
        assert 0 < nano(cache["saved_usd"]) < answer
        assert stage.house.sent == []
        found = await stage.record(lines["a"])
        assert (found["verified"]["verdict"], nano(found["verified"]["cost_usd"])) == ("yes", call)
        written = await rows(stage.house)
        assert spent(written) == [call]
        (served,) = [row for row in written if row.reason == "verified"]
        assert (served.cost, set(served.saved)) == (0, {"verify"})

        again = (await stage.batch(ASKED))["a"]["cache"]  # remembered: nobody is asked
        assert (again["reason"], nano(again["cost_usd"])) == ("verified", 0)
        assert len(stage.verified) == 1


async def test_a_no_is_asked_in_the_batch_and_its_cost_is_in_the_result(tmp_path: Path) -> None:
    async with staged(tmp_path, "NONE") as stage:
        await stage.store()
        lines = await stage.batch(ASKED)
        cache = lines["a"]["cache"]
        assert (cache["kind"], cache["reason"]) == ("miss", "refuted")
        (call,), (_, batched) = stage.charged(VERIFIER), stage.charged(DEAR)
        assert nano(cache["cost_usd"]) == call + batched
        assert [len(batch) for batch in stage.house.sent] == [1]
        found = await stage.record(lines["a"])
        assert (found["verified"]["verdict"], nano(found["verified"]["cost_usd"])) == ("no", call)
        assert nano(found["cost_usd"]) == call + batched
        written = await rows(stage.house)
        assert spent(written) == [call]
        (asked,) = [row for row in written if row.reason == "refuted"]
        assert asked.cost == batched
        every = sum((row.cost or 0) + sum(row.spent.values()) for row in written)
        assert every == sum(line.nanodollars for line in stage.house.upstream.invoice)


async def test_equal_items_share_one_verification_and_one_call(tmp_path: Path) -> None:
    async with staged(tmp_path, "NONE") as stage:
        await stage.store()
        lines = await stage.batch(ASKED, ASKED, ASKED)
        assert [len(batch) for batch in stage.house.sent] == [1]
        assert len(stage.verified) == 1
        costs = sum(nano(line["cache"]["cost_usd"]) for line in lines.values())
        assert costs == stage.charged(VERIFIER)[0] + stage.charged(DEAR)[1]


async def test_an_item_is_verified_however_long_the_call_takes_for_nobody_waits(
    tmp_path: Path,
) -> None:
    async with staged(tmp_path) as stage:
        await stage.store()
        await stage.put(verify="inline")
        pace = stage.house.parts.verification.verifier.paces.of("default")
        pace.answer_s[DEAR], pace.call_s = 1.0, 2.0
        private = {"cache-control": "private"}
        await stage.house.ask(ASKED, model=DEAR, max_tokens=1_000, headers=private)
        assert stage.verified == []
        pace.answer_s[DEAR], pace.call_s = 1.0, 2.0
        assert (await stage.batch(ASKED))["a"]["cache"]["reason"] == "verified"
        assert (pace.answer_s[DEAR], pace.call_s) == (1.0, 2.0)


async def test_an_item_that_costs_less_in_a_batch_than_a_call_is_not_verified(
    tmp_path: Path,
) -> None:
    async with staged(tmp_path) as stage:
        await stage.house.ask(STORED, model=VERIFIER, max_tokens=20)
        cache = (await stage.batch(ASKED, model=VERIFIER, max_tokens=20))["a"]["cache"]
        assert cache["kind"] == "miss"
        assert stage.verified == []


@pytest.mark.parametrize("batched", [True, False])
async def test_an_answer_is_worth_its_price_in_a_batch(tmp_path: Path, batched: bool) -> None:
    async with staged(tmp_path) as stage:
        await stage.put(verify="inline")
        stage.answer = "Yes, so."  # a call costs less than it, and more than half of it
        await stage.store()
        if batched:
            await stage.batch(ASKED)
        else:
            await stage.house.ask(ASKED, model=DEAR, max_tokens=1_000)
        assert len(stage.verified) == (not batched)


async def test_a_job_that_is_asked_directly_is_verified_as_it_is_asked(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await stage.store()
        for reply, reason in (("1", "verified"), ("NONE", "refuted")):
            stage.reply[0], before = reply, len(stage.verified)
            asked = ASKED if reply == "1" else "how do I reset a password"
            taken = await stage.house.job(asked, model=DEAR, max_tokens=1_000, deadline=HOUR)
            ended = await stage.house.ended(taken.json()["id"])
            assert ended["result"]["reason"] == reason
            assert len(stage.verified) == before + 1


async def test_the_day_s_cap_holds_for_items(tmp_path: Path) -> None:
    async with staged(tmp_path, verify_usd_per_day=0.000001) as stage:
        await stage.store()
        cache = (await stage.batch(ASKED))["a"]["cache"]
        assert (cache["kind"], cache["reason"]) == ("miss", "verify-capped")
        assert stage.verified == []


async def test_nothing_is_verified_for_a_spent_budget(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        for usd, verified in ((100, None), (0.000001, 0), (100, 1)):
            daily = {"daily": {"usd": usd}, "at_limit": "cache-only"}
            await stage.put(budgets=daily, verify={"only_if_cached": True})
            if verified is None:  # the answer is what is spent
                await stage.store()
                await stage.house.parts.budgets.flush()
                continue
            made = await stage.house.sdk().messages.batches.create(
                requests=[item("a", ASKED, model=DEAR, max_tokens=1_000)], extra_headers=ONLY
            )
            await results(stage.house, made.id)
            assert len(stage.verified) == verified


async def test_an_item_that_waits_for_room_in_a_budget_is_charged_all_its_verifications(
    tmp_path: Path,
) -> None:
    async with staged(tmp_path, "NONE") as stage:
        most: dict[str, Any] = {"model": DEAR, "max_tokens": 4_000}
        await stage.house.ask(STORED, **most)
        before = sum(line.nanodollars for line in stage.house.upstream.invoice)
        await stage.put(budgets={"daily": {"usd": 0.016}, "at_limit": "refuse"})
        lines = await stage.batch(ASKED, "Steps for resetting my password", **most)
        assert [len(batch) for batch in stage.house.sent] == [1, 1]
        assert {line["cache"]["kind"] for line in lines.values()} == {"miss"}
        assert len(stage.verified) >= 2
        costs = sum(nano(line["cache"]["cost_usd"]) for line in lines.values())
        assert costs == sum(line.nanodollars for line in stage.house.upstream.invoice) - before


async def test_an_answer_purged_while_another_item_is_verified_is_not_served(
    tmp_path: Path,
) -> None:
    async with staged(tmp_path, verify_timeout_s=60) as stage:
        await stage.store()
        door = stage.house.door
        door.hold_at(lambda method, path: path == "/v1/messages", "before")
        ended = asyncio.create_task(stage.batch(STORED, ASKED))
        await door.reached.wait()
        everything, headers = {"namespace": "default"}, {"x-api-key": "any"}
        purged = await stage.house.http.post("/v1/purge", json=everything, headers=headers)
        assert purged.json() == {"purged": 1}
        door.release()
        lines = await ended
        assert lines["a"]["cache"]["kind"] == "miss"
        assert lines["b"]["cache"]["reason"] != "verified"
        charges = [line.nanodollars for line in stage.house.upstream.invoice]
        assert sum(nano(line["cache"]["cost_usd"]) for line in lines.values()) == sum(charges[1:])


async def test_only_if_cached_asks_where_the_tenant_allows_it(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await stage.store()
        for allowed in (False, True):
            await stage.put(verify={"only_if_cached": allowed})
            made = await stage.house.sdk().messages.batches.create(
                requests=[item("a", ASKED, model=DEAR, max_tokens=1_000)], extra_headers=ONLY
            )
            line = (await results(stage.house, made.id))["a"]
            assert line["result"]["type"] == ("succeeded" if allowed else "errored")
            assert len(stage.verified) == allowed


async def test_a_shadow_tenant_s_items_are_verified_and_never_served(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await stage.store()
        await stage.put(shadow=True)
        assert (await stage.batch(ASKED))["a"]["cache"]["kind"] == "miss"
        await stage.house.parts.verification.background.drain()
        assert len(stage.verified) == 1
