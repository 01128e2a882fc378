"""Ends of a verification: a yes that serves, a no that does not, and all failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cacheserver.simulated import Directives
from cacheserver.simulated.directives import Fault
from tests.batches.test_budgets import rows
from tests.batches.test_verification import Stage, spent, staged
from tests.hostile.raw import until
from tests.house import came_from
from tests.verification.house import ASKED, DEAR, STORED, VERIFIER, Scene, verifying


async def test_a_yes_serves_the_stored_answer_and_its_call_is_charged(tmp_path: Path) -> None:
    async with verifying(tmp_path) as scene:
        await scene.store()
        first = await scene.ask(ASKED)
        assert came_from(first) == ("semantic", "verified")
        assert "choose a new password" in first.text
        (data,) = scene.data
        assert data["question"] == ASKED
        assert [one["question"] for one in data["stored"]] == [STORED]

        charged = {line.model: line.nanodollars for line in scene.house.upstream.invoice}
        assert nano(first, "x-cost-usd") == charged[VERIFIER]
        assert nano(first, "x-saved-usd") == pytest.approx(
            charged[DEAR] - charged[VERIFIER], rel=0.01
        )
        found = await scene.verified(first)
        assert (found["verdict"], found["model"], found["remembered"]) == ("yes", VERIFIER, False)
        assert found["posterior"] >= 0.9
        assert float(first.headers["x-cache-probability"]) == pytest.approx(found["posterior"])
        assert found["seconds"] > 0

        again = await scene.ask(ASKED, headers={"cache-control": "max-age=3600"})
        assert came_from(again) == ("semantic", "verified")  # remembered: nobody is asked
        assert nano(again, "x-cost-usd") == 0
        assert (await scene.verified(again))["remembered"]
        assert len(scene.calls) == 1

        verify = [row for row in await scene.rows() if row.reason == "verify"]
        assert [sum(row.spent.values()) for row in verify] == [charged[VERIFIER]]
        served = [row for row in await scene.rows() if row.reason == "verified"]
        assert [set(row.saved) for row in served] == [{"verify"}] * 2


async def test_a_no_is_a_miss_that_pays_for_it_and_is_remembered(tmp_path: Path) -> None:
    async with verifying(tmp_path, "NONE") as scene:
        await scene.store()
        refused = await scene.ask(ASKED, headers={"cache-control": "private"})
        assert came_from(refused) == ("miss", "refuted")
        lines = {line.model: line.nanodollars for line in scene.house.upstream.invoice}
        assert nano(refused, "x-cost-usd") == lines[DEAR] + lines[VERIFIER]
        assert nano(refused, "x-saved-usd") == -lines[VERIFIER]
        again = await scene.ask(ASKED, headers={"cache-control": "private"})
        assert came_from(again) == ("miss", "refuted")
        assert (await scene.verified(again))["remembered"]
        assert nano(again, "x-cost-usd") == lines[DEAR]
        assert len(scene.calls) == 1


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Directives(fault=Fault("error", status=429, retry_after_s=1)), "verify-failed"),
        (Directives(fault=Fault("error", status=529)), "verify-failed"),
        (Directives(fault=Fault("error", status=500)), "verify-failed"),
        (Directives(fault=Fault("error", status=400)), "verify-failed"),
        (Directives(fault=Fault("hang")), "verify-slow"),
        (Directives(fault=Fault("cut")), "verify-failed"),
        (Directives(text="1."), "refuted"),
        (Directives(text="Yes"), "refuted"),
        (Directives(text="1 1"), "refuted"),
        (Directives(text="2"), "refuted"),
        (Directives(text="0"), "refuted"),
        (Directives(text="-1"), "refuted"),
        (Directives(text="\u0661"), "refuted"),
        (Directives(text='{"answer": 1}'), "refuted"),
        (Directives(text="Number 1 serves"), "refuted"),
        (Directives(text="1", thinking=5), "refuted"),
        (Directives(tool="serve", input={"number": 1}), "refuted"),
        (Directives(refusal="bio"), "refuted"),
    ],
    ids=lambda one: one if isinstance(one, str) else str(one.text or one.tool or one.fault),
)
async def test_what_is_no_clear_yes_is_a_miss_with_its_reason(
    scene: Scene, reply: Directives, reason: str, request: pytest.FixtureRequest
) -> None:
    key = await scene.house.key(f"t{abs(hash(request.node.name))}")
    scene.reply = lambda _: reply
    await scene.store(key=key)
    before = len(scene.calls)
    assert came_from(await scene.ask(ASKED, key=key)) == ("miss", reason)
    assert len(scene.calls) == before + 1  # never twice: a caller waits


async def test_an_answer_without_text_or_an_empty_one_is_no(scene: Scene) -> None:
    key = await scene.house.key("empty")
    scene.reply = lambda _: Directives(text=" ")
    await scene.store(key=key)
    assert came_from(await scene.ask(ASKED, key=key)) == ("miss", "refuted")


async def test_concurrent_askers_share_one_call_and_only_one_pays(scene: Scene) -> None:
    key = await scene.house.key("concurrent")
    await scene.store(key=key)
    scene.reply = lambda _: Directives(text="1", fault=Fault("slow", delay_s=0.2))
    before = len(scene.calls)
    askers = [scene.ask(ASKED, key=key, metadata={"user_id": f"u{n}"}) for n in range(5)]
    answers = await asyncio.gather(*askers)
    assert {came_from(one) for one in answers} == {("semantic", "verified")}
    assert len(scene.calls) == before + 1
    assert sum(nano(one, "x-cost-usd") > 0 for one in answers) == 1


@asynccontextmanager
async def held(folder: Path, reply: str = "1") -> AsyncIterator[Stage]:
    """A house with `STORED`, whose door holds every call to Claude from now on."""
    async with staged(folder, reply, verify_timeout_s=10) as stage:
        await stage.store()
        # They wait as long as they may.
        stage.house.parts.verification.verifier.paces.of("default").answer_s[DEAR] = 60.0
        stage.house.parts.service._stored._chance = lambda: 1.0  # no audit
        stage.house.door.hold_at(lambda method, path: path == "/v1/messages", "before")
        yield stage


async def test_a_call_whose_first_asker_leaves_is_paid_by_another(tmp_path: Path) -> None:
    async with held(tmp_path) as stage:
        verifier = stage.house.parts.verification.verifier
        asked = [
            asyncio.create_task(stage.house.ask(ASKED, model=DEAR, max_tokens=1_000))
            for _ in range(3)
        ]
        await stage.house.door.reached.wait()
        (flight,) = verifier._asking._running.values()
        await until(lambda: flight.readers == 3)
        asked[0].cancel()
        await until(lambda: flight.readers == 2)
        stage.house.door.release()
        answers = await asyncio.gather(*asked[1:])
        assert {came_from(one) for one in answers} == {("semantic", "verified")}
        (call,) = stage.charged(VERIFIER)
        assert sorted(nano(one, "x-cost-usd") for one in answers) == [0, call]
        assert spent(await rows(stage.house)) == [call]


async def test_a_caller_who_hangs_up_ends_its_call_and_frees_its_place(scene: Scene) -> None:
    key = await scene.house.key("gone")
    await scene.put("gone", limits={"concurrent_misses": 1})
    await scene.store(key=key)
    scene.reply = lambda _: Directives(fault=Fault("hang"))
    before = len(scene.calls)
    asking = asyncio.create_task(scene.ask(ASKED, key=key))
    await until(lambda: len(scene.calls) > before)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await scene.ended("gone", 499)
    lost = [r for r in await scene.rows() if r.reason == "verify" and r.tenant == "gone"]
    assert [row.unknown is not None for row in lost] == [True]  # it may be billed
    scene.reply = "NONE"
    assert came_from(await scene.ask(ASKED, key=key)) == ("miss", "refuted")  # a place is free


async def test_two_tenants_never_share_a_verdict(scene: Scene) -> None:
    one, other = await scene.house.key("left"), await scene.house.key("right")
    scene.reply = "1"
    for key in (one, other):
        await scene.store(key=key)
    assert came_from(await scene.ask(ASKED, key=one)) == ("semantic", "verified")
    scene.reply = "NONE"
    assert came_from(await scene.ask(ASKED, key=other)) == ("miss", "refuted")
    assert await scene.keys("verdict:4:left:*") == 1
    assert await scene.keys("verdict:5:right:*") == 1


async def test_an_entry_that_goes_while_the_model_is_asked_is_not_served(tmp_path: Path) -> None:
    async with held(tmp_path) as stage:
        asking = asyncio.create_task(stage.house.ask(ASKED, model=DEAR, max_tokens=1_000))
        await stage.house.door.reached.wait()
        purge: dict[str, Any] = {"namespace": "default"}
        gone = await stage.house.http.post("/v1/purge", json=purge, headers={"x-api-key": "any"})
        assert gone.status_code == 200, gone.text
        stage.house.door.release()
        assert came_from(await asking) == ("miss", "verify-gone")


def nano(response: Any, header: str) -> int:
    return int(Decimal(response.headers[header]) * 1_000_000_000)


async def test_askers_of_one_question_need_one_place_of_the_limits(tmp_path: Path) -> None:
    async with held(tmp_path, "NONE") as stage:
        await stage.put(limits={"concurrent_misses": 1})
        house, door = stage.house, stage.house.door

        def ask() -> asyncio.Task[Any]:
            return asyncio.create_task(house.ask(ASKED, model=DEAR, max_tokens=1_000))

        asked = [ask()]
        await door.reached.wait()  # it has the place, and its verification is on its way
        asked += [ask() for _ in range(4)]
        (verification,) = house.parts.verification.verifier._asking._running.values()
        await until(lambda: verification.readers == 5)
        door.release()
        door.hold_at(lambda method, path: path == "/v1/messages", "before")
        await door.reached.wait()  # the answer, after the verification's no
        (answer,) = house.parts.service._flights._running.values()
        await until(lambda: answer.readers == 5)
        door.release()
        kinds = sorted(came_from(one)[0] for one in await asyncio.gather(*asked))
        assert kinds == ["coalesced"] * 4 + ["miss"]
        assert len(stage.verified) == 1
