"""The bill of a verification counts in its tenant's budgets, as every call of ours does."""

from __future__ import annotations

from pathlib import Path

from cacheserver.simulated import Directives
from cacheserver.simulated.directives import Fault
from tests.budgets.test_through_the_door import stands
from tests.house import came_from
from tests.verification.house import ASKED, Scene, verifying

NANO = 1_000_000_000


async def spent(scene: Scene) -> int:
    """Return the spending of the tenant's day, in nanodollars."""
    await scene.settled()
    await scene.house.parts.ledger.flush()
    await scene.house.parts.budgets.flush()
    return round(float((await stands(scene.house))[0]["usd"]["spent"]) * NANO)


async def test_the_day_s_spending_is_what_claude_charged_whatever_the_verdict(
    tmp_path: Path,
) -> None:
    async with verifying(tmp_path) as scene:
        await scene.put("default", budgets={"daily": {"usd": 100}})
        await scene.store()
        for reply, reason in (("1", "verified"), ("NONE", "refuted")):
            scene.reply = reply
            asked = ASKED if reply == "1" else "how do I reset a password"
            assert came_from(await scene.ask(asked))[1] == reason
            counted = await spent(scene)  # with the audit of the hit, if one is drawn
            charged = sum(line.nanodollars for line in scene.house.upstream.invoice)
            assert counted == charged


async def test_a_budget_that_verifications_have_used_up_refuses_the_next_miss(
    tmp_path: Path,
) -> None:
    async with verifying(tmp_path, "1") as scene:
        await scene.put("default", budgets={"daily": {"usd": 100}})
        await scene.store()
        before = await spent(scene)
        budgets = {"daily": {"usd": (before + 1_000) / NANO}, "at_limit": "refuse"}
        await scene.put("default", budgets=budgets)
        first = await scene.ask(ASKED)  # its reservation fits; the call uses up the rest
        assert came_from(first)[1] == "verified"
        assert await spent(scene) > before + 1_000
        calls = len(scene.calls)
        refused = await scene.ask("how do I reset a password")
        assert (refused.status_code, len(scene.calls)) == (402, calls)


async def test_a_call_without_a_reply_counts_as_the_most_it_can_cost(tmp_path: Path) -> None:
    async with verifying(tmp_path) as scene:
        await scene.put("default", budgets={"daily": {"usd": 100}})
        await scene.store()
        before = await spent(scene)
        scene.reply = lambda body: Directives(fault=Fault("hang"))
        answer = await scene.ask(ASKED)
        assert came_from(answer)[1] == "verify-slow"
        (lost,) = [row for row in await scene.rows() if row.reason == "verify"]
        assert lost.unknown is not None
        assert lost.unknown.most
        cost = round(float(answer.headers["x-cost-usd"]) * NANO)
        assert await spent(scene) == before + cost + lost.unknown.most


async def test_a_share_is_given_back_where_the_rest_cannot_be_reserved(tmp_path: Path) -> None:
    async with verifying(tmp_path) as scene:
        key = await scene.house.key("acme")
        await scene.store(key=key)
        redis = scene.house.parts.host.store.redis
        await scene.ask(ASKED, key=key)
        (whole,) = await redis.keys("cs1:spend:4:acme:6:verify:*")
        (share,) = [one for one in await redis.keys("cs1:spend:4:acme:*:verify:*") if one != whole]
        before = await redis.get(share)
        await redis.delete(whole)
        await redis.hset(whole, "not", "a number")
        asked = await scene.ask("how do I reset a password", key=key)
        assert came_from(asked) == ("miss", "verify-failed")
        await scene.house.parts.verification.call._refunds.drain()
        assert await redis.get(share) == before
