"""Consequences of audits: rates, a switch-off, a reset, alerts; and what is erased."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cacheserver.matching.verification import ExpectedErrors
from cacheserver.verification.audited import AuditedVerdicts
from tests.house import came_from
from tests.nocontent.traffic import key_file
from tests.verification.house import ADMIN, ASKED, STORED, VERIFIER, Scene, verifying

FIXED = "Berlin has been the capital of Germany since 1990."
PRIVATE = {"headers": {"cache-control": "private"}}


async def test_a_wrong_yes_that_is_audited_is_forgotten_and_served_no_more(tmp_path: Path) -> None:
    async with verifying(tmp_path, similarity=None) as scene:
        scene.audit(always=True)
        scene.answers = lambda asked: (
            FIXED if asked == STORED else "The capital of France has been Paris since 987."
        )
        await scene.store()
        assert came_from(await scene.ask(ASKED)) == ("semantic", "verified")
        assert await scene.keys("verdict:*") == 1
        await scene.settled()
        assert await scene.keys("verdict:*") == 0
        shown = await scene.shown()
        assert shown["hits"] == {"audited": 1, "wrong": 1}
        assert shown["audited"]["wrong_yes"] > 0
        assert came_from(await scene.ask(ASKED))[0] == "miss"  # condemned for this question


async def test_a_right_yes_and_a_right_no_are_counted_too(tmp_path: Path) -> None:
    async with verifying(tmp_path) as scene:
        scene.audit(always=True)
        scene.answers = lambda asked: FIXED
        await scene.store()
        assert came_from(await scene.ask(ASKED)) == ("semantic", "verified")
        await scene.settled()
        assert (await scene.shown())["audited"]["right_yes"] == pytest.approx(1 / 0.3)

        other = await scene.house.key("other")
        scene.reply = "NONE"
        scene.answers = lambda asked: (
            FIXED if asked == STORED else "The capital of France has been Paris since 987."
        )
        await scene.store(key=other)
        assert came_from(await scene.ask(ASKED, key=other)) == ("miss", "refuted")
        await scene.settled()
        audited = (await scene.shown("other"))["audited"]
        assert (audited["noes"], audited["yeses"], audited["wrong_no"]) == (1, 0, 0)
        assert audited["right_no"] >= 1  # 1 / the chance that a surprise is looked at twice


async def test_an_audit_of_another_hit_says_nothing_of_an_earlier_verdict(scene: Scene) -> None:
    scene.audit(always=False)
    scene.answers = lambda asked: (
        FIXED if asked == STORED else "The capital of France has been Paris since 987."
    )
    await scene.store()
    assert came_from(await scene.ask(ASKED)) == ("semantic", "verified")
    await scene.put("default", bar={"similarity": 0.5, "audit_share": 1})
    scene.audit(always=True)
    assert came_from(await scene.ask(ASKED)) == ("semantic", "similar")
    await scene.settled()
    assert (await scene.house.parts.decision_log.stats("default"))["audits_wrong"] == 1
    shown = await scene.shown()
    assert shown["hits"] == {"audited": 0, "wrong": 0}
    assert (shown["audited"]["yeses"], shown["audited"]["wrong_yes"]) == (0, 0)


async def test_a_switch_off_holds_for_callers_with_keys_of_their_own(tmp_path: Path) -> None:
    async with verifying(tmp_path, credentials="caller", anthropic_api_key=None) as scene:
        await scene.put("default", verify={"caller_keys": True})
        scene.house.parts.tenants.forget("default")
        audited = scene.house.parts.verification.audited
        for off in (True, False):
            key = f"sk-ant-{off}"
            await scene.store(key=key)
            for _ in range(2 * off):
                await audited.add("default", yes=True, right=False, weight=3, target=0.01)
            assert came_from(await scene.ask(ASKED, key=key, **PRIVATE))[0] == (
                "miss" if off else "semantic"
            )
            assert len(scene.calls) == (not off)
            await scene.shown(method="DELETE")


async def test_a_reset_is_seen_by_the_other_servers_of_the_store(scene: Scene) -> None:
    mine, clock = scene.house.parts.verification, scene.house.clock
    other = AuditedVerdicts(scene.house.parts.host.store.redis, model=VERIFIER, clock=clock)
    key = await scene.house.key("shared")
    await scene.store(key=key)
    assert came_from(await scene.ask(ASKED, key=key, **PRIVATE)) == ("semantic", "verified")
    means = mine.verifier._errors
    (scope,) = means._means
    means.note(scope, ExpectedErrors(total=50.0, wrong=50.0))  # hits here were wrong too often
    asked = {"key": key, **PRIVATE}
    assert came_from(await scene.ask(ASKED, **asked))[0] == "miss"
    for _ in range(2):
        await mine.audited.add("shared", yes=True, right=False, weight=3, target=0.01)
    assert (await scene.shown("shared"))["state"] == "off"
    await other.reset("shared")
    clock.ahead_s += 10  # counts are read every few seconds
    assert (await scene.shown("shared"))["state"] == "stated"
    assert came_from(await scene.ask(ASKED, **asked)) == ("semantic", "verified")


async def test_yeses_that_break_the_target_switch_it_off_until_it_is_reset(scene: Scene) -> None:
    audited = scene.house.parts.verification.audited
    key = await scene.house.key("acme")
    await scene.store(key=key)
    for right in (True, False):
        await audited.add("acme", yes=True, right=right, weight=3, target=0.01)
    assert (await scene.shown("acme"))["state"] == "stated"  # one wrong yes may be chance
    await audited.add("acme", yes=True, right=False, weight=3, target=0.01)
    assert (await scene.shown("acme"))["state"] == "off"
    assert came_from(await scene.ask(ASKED, key=key, **PRIVATE))[0] == "miss"
    assert not scene.calls

    raised = await scene.house.parts.alerts.check()
    assert [(one.kind, one.tenant) for one in raised] == [("verification-off", "acme")]
    assert not await scene.house.parts.alerts.check()  # once a day

    shown = await scene.shown("acme", "DELETE")
    assert (shown["state"], shown["hits"]) == ("stated", {"audited": 0, "wrong": 0})
    assert came_from(await scene.ask(ASKED, key=key, **PRIVATE)) == ("semantic", "verified")


async def test_after_150_yeses_and_noes_the_rates_are_measured_ones(scene: Scene) -> None:
    audited = scene.house.parts.verification.audited
    for number in range(150):
        right = number % 10 != 0
        await audited.add("default", yes=True, right=right, weight=3, target=None)
        await audited.add("default", yes=False, right=False, weight=1, target=None)
    shown = await scene.shown()
    assert shown["state"] == "measured"
    assert shown["rates"]["measured"]
    assert shown["rates"]["false_yes"] > 3 * 15 / (3 * 15 + 150)  # the upper end of what was seen


async def test_a_change_of_the_share_of_yeses_is_alerted(scene: Scene) -> None:
    monitor = scene.house.parts.verification.verifier._monitor
    found = [monitor.drifted("default", yes=False) for _ in range(150)]
    found += [monitor.drifted("default", yes=True) for _ in range(60)]
    assert found.count(True) == 1
    await scene.house.parts.verification.audited.note_drift("default")
    raised = await scene.house.parts.alerts.check()
    assert [one.kind for one in raised] == ["verification-drift"]
    assert (await scene.shown())["drifted_at"]


async def test_gauges_count_tenants_by_state(scene: Scene) -> None:
    await scene.put("broken", semantic=True)
    await scene.put("quiet", verify="off")
    for _ in range(2):
        await scene.house.parts.verification.audited.add(
            "broken", yes=True, right=False, weight=1, target=0.01
        )
    await scene.house.parts.gauge_sampler.sample()
    text = (await scene.house.http.get("/metrics", headers=ADMIN)).text
    assert 'cacheserver_verification_tenants{state="off"} 1.0' in text


async def test_an_erasure_takes_the_verdicts_and_with_the_tenant_the_counts(scene: Scene) -> None:
    key = await scene.house.key("erased")
    await scene.store(key=key)
    await scene.ask(ASKED, key=key)
    await scene.house.parts.verification.audited.add(
        "erased", yes=True, right=True, weight=1, target=0.01
    )
    assert await scene.keys("verdict:6:erased:*") == 1
    fields: dict[str, Any] = {"tag": "none"}
    answer = await scene.house.http.post("/v1/erase", json=fields, headers={"x-api-key": key})
    assert answer.status_code == 200, answer.text
    assert await scene.keys("verdict:6:erased:*") == 0
    assert await scene.keys("verify:6:erased:*") == 1  # numbers
    answer = await scene.house.http.post(
        "/v1/erase", json={"tenant": "erased"}, headers={"x-api-key": key}
    )
    assert answer.status_code == 200, answer.text
    assert await scene.keys("verify:6:erased:*") == 0


async def test_a_verdict_ends_with_its_entry(scene: Scene) -> None:
    await scene.store(headers={"x-cache-ttl": "60"})
    await scene.ask(ASKED, **PRIVATE)
    redis = scene.house.parts.host.store.redis
    (name,) = await redis.keys("cs1:verdict:*")
    assert 0 < await redis.ttl(name) <= 60
    body = {"namespace": "default"}
    await scene.house.http.post("/v1/purge", json=body, headers={"x-api-key": "any"})
    await scene.store()  # the same answer, stored again: what was said of the old one is not asked
    scene.reply = "NONE"
    assert came_from(await scene.ask(ASKED, **PRIVATE)) == ("miss", "refuted")


async def test_a_tenant_without_content_stores_keyed_digests_alone(tmp_path: Path) -> None:
    async with verifying(tmp_path / "data", encryption_key_file=key_file(tmp_path)) as scene:
        key = await scene.house.key("silent")
        await scene.put("silent", no_content=True)
        await scene.store(key=key)
        answer = await scene.ask(ASKED, key=key)
        assert came_from(answer) == ("semantic", "verified")
        path = f"/v1/decisions/{answer.headers['x-cache-decision']}"
        record = (await scene.house.http.get(path, headers={"x-api-key": key})).json()
        assert record["verified"]["verdict"] == "yes"
        assert ASKED not in json.dumps(record)


async def test_damaged_counts_are_a_miss_that_is_counted(scene: Scene) -> None:
    redis = scene.house.parts.host.store.redis
    await scene.store()
    await redis.hset(f"cs1:verify:7:default:{VERIFIER}", "yeses", "many")
    scene.house.clock.ahead_s += 10  # counts are read every few seconds
    assert came_from(await scene.ask(ASKED)) == ("miss", "verify-failed")
    text = (await scene.house.http.get("/metrics", headers=ADMIN)).text
    assert 'site="verify-store"' in text


@pytest.mark.parametrize("model", ["claude-none-1", "gpt-9"])
async def test_a_model_without_a_price_is_refused_by_its_setting(
    tmp_path: Path, model: str
) -> None:
    with pytest.raises(Exception, match="CACHESERVER_VERIFY_MODEL"):
        async with verifying(tmp_path, verify_model=model):
            pass
