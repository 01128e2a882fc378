"""When the model is asked: never about what rules decide, and within mode, cap and controls."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cacheserver.matching.verification import DECISIVE_VETOES
from cacheserver.simulated import Directives
from cacheserver.simulated.directives import Fault
from tests.house import ADMIN_KEY, came_from
from tests.verification.house import ADMIN, ASKED, STORED, Scene, verifying
from tests.verification.test_verified import nano


async def test_what_a_decisive_veto_refuses_is_never_asked(tmp_path: Path) -> None:
    """The best model overrules no such veto; it is asked where an operator switched one off."""
    good = {"verify_false_yes": 0.001, "target": 0.05}
    async with verifying(tmp_path, "1", **good) as scene:
        for number, (stored, asked) in enumerate(
            (
                ("How do I pay 30 dollars to a friend?", "How do I pay 300 dollars to a friend?"),
                ("How do I convert 5 km to miles?", "How do I convert 5 kg to miles?"),
                ("Can I cancel my order?", "Can I not cancel my order?"),
                ("Which flights go from Oslo to Rome?", "Which flights go from Rome to Oslo?"),
            )
        ):
            for off in ([], sorted(DECISIVE_VETOES)):
                tenant = f"t{number}-{len(off)}"
                key = await scene.house.key(tenant)
                await scene.put(tenant, bar={"target": 0.05, "vetoes_off": off})
                await scene.store(stored, key=key)
                scene.house.parts.verification.verifier.paces.of(tenant).call_s = 0.01
                before = len(scene.calls)
                answer = await scene.ask(asked, key=key)
                expected = ("semantic", "verified") if off else ("miss", "vetoed")
                assert came_from(answer) == expected
                assert len(scene.calls) - before == bool(off)


async def test_volatile_exact_only_and_unreadable_questions_are_never_asked(scene: Scene) -> None:
    key = await scene.house.key("exact")
    await scene.put("exact", bar={"exact_only": True})
    await scene.store(key=key)
    assert came_from(await scene.ask(ASKED, key=key)) == ("miss", "exact-only")

    other = await scene.house.key("other")
    for stored, asked in (
        ("What is the weather like in Rome today?", "Tell me the weather in Rome as it is today"),
        ("```python\nprint(1)\n``` What is printed?", "```python\nprint(2)\n``` What is printed?"),
        ("\u30d1\u30b9\u30ef\u30fc\u30c9\u3092\u518d\u8a2d\u5b9a\u3059\u308b",
         "\u30d1\u30b9\u30ef\u30fc\u30c9\u306e\u518d\u8a2d\u5b9a"),
    ):  # fmt: skip
        await scene.store(stored, key=other)
        assert came_from(await scene.ask(asked, key=other))[0] == "miss"

    by_hand = await scene.house.key("hand")
    await scene.put("hand", bar={"similarity": 0.99})
    await scene.store(key=by_hand)
    assert came_from(await scene.ask(ASKED, key=by_hand)) == ("miss", "below-threshold")
    assert not scene.calls


async def test_unmeasured_rates_serve_only_what_was_nearly_sure_before(tmp_path: Path) -> None:
    async with verifying(tmp_path, verify_false_yes=0.1) as scene:
        await scene.store()
        answer = await scene.ask(ASKED)  # 0.68: a yes of such a model leaves 5% doubt
        found = await scene.verified(answer)
        if found is not None:
            assert found["posterior"] >= 0.9
    async with verifying(tmp_path / "worse", verify_false_yes=0.5) as scene:
        await scene.store()
        assert came_from(await scene.ask(ASKED))[0] == "miss"
        assert not scene.calls  # a yes of such a model changes nothing


async def test_it_is_off_by_tenant_by_request_by_cap_and_by_feature(scene: Scene) -> None:
    for tenant, fields, given in (
        ("word", {"verify": "off"}, {}),
        ("object", {"verify": {"mode": "off"}}, {}),
        ("request", {}, {"headers": {"x-cache-off": "verify"}}),
    ):
        key = await scene.house.key(tenant)
        await scene.put(tenant, **fields)
        await scene.store(key=key)
        assert came_from(await scene.ask(ASKED, key=key, **given))[0] == "miss"
    assert not scene.calls
    key = await scene.house.key("untransformed")
    await scene.store(key=key)
    answer = await scene.ask(ASKED, key=key, headers={"cache-control": "no-transform"})
    assert came_from(answer) == ("semantic", "verified")  # no word of anybody is changed


@pytest.mark.parametrize(
    "off", [{"features_off": "verification"}, {"verify_usd_per_day": 0}], ids=str
)
async def test_without_the_feature_or_money_nothing_is_asked(
    tmp_path: Path, off: dict[str, Any]
) -> None:
    async with verifying(tmp_path, **off) as scene:
        await scene.store()
        assert came_from(await scene.ask(ASKED))[0] == "miss"
        assert not scene.calls


async def test_a_setting_is_kept_as_an_object_and_a_wrong_one_is_named(scene: Scene) -> None:
    await scene.house.key("kept")
    await scene.put("kept", verify="inline")
    shown = await scene.shown("kept")
    assert (shown["mode"], shown["only_if_cached"], shown["caller_keys"]) == (
        "inline",
        False,
        False,
    )
    for wrong, field in (("always", "verify.mode"), ({"modus": "off"}, "verify"), (3, "verify")):
        answer = await scene.house.http.put(
            "/admin/v1/tenants/kept", json={"verify": wrong}, headers={"x-api-key": ADMIN_KEY}
        )
        assert answer.status_code == 400
        assert f"`{field}" in answer.json()["error"]["message"]


async def test_the_cap_of_a_day_and_the_share_of_a_key_hold(tmp_path: Path) -> None:
    # A call costs 125 microdollars, and 160 are reserved: the share of a key holds one.
    async with verifying(tmp_path, "NONE", verify_usd_per_day=0.0004) as scene:
        one, other = await scene.house.key("acme"), await scene.house.key("acme")
        await scene.store(key=one)
        reasons = []
        for text, key in (
            (ASKED, one),
            ("how to reset the password", one),
            ("ways to reset a password", other),
            ("steps to reset the password", other),
        ):
            given = {"headers": {"cache-control": "private"}}
            reasons.append(came_from(await scene.ask(text, key=key, **given))[1])
        shown = await scene.shown("acme")
        assert reasons == ["refuted", "verify-capped"] * 2
        spent = sum(nano_of(line) for line in verify_lines(scene))
        assert float(shown["spent_usd"]) * 1e9 == pytest.approx(spent)
        assert float(shown["spent_usd"]) <= float(shown["usd_per_day"])


async def test_only_if_cached_asks_only_where_the_tenant_allows_it(scene: Scene) -> None:
    given = {"headers": {"cache-control": "only-if-cached"}}
    key = await scene.house.key("strict")
    await scene.store(key=key)
    assert (await scene.ask(ASKED, key=key, **given)).status_code == 404
    assert not scene.calls

    await scene.put("strict", verify={"only_if_cached": True})
    scene.reply = "NONE"
    refused = await scene.ask("how to reset the password", key=key, **given)
    assert refused.status_code == 404
    assert refused.headers["x-cache-reason"] == "only-if-cached"
    assert nano(refused, "x-cost-usd") > 0
    scene.reply = "1"
    assert came_from(await scene.ask(ASKED, key=key, **given)) == ("semantic", "verified")


async def test_a_budget_at_its_end_verifies_nothing(scene: Scene) -> None:
    key = await scene.house.key("poor")
    await scene.store(key=key)
    await scene.put(
        "poor",
        verify={"only_if_cached": True},
        budgets={"daily": {"usd": 0.000001}, "at_limit": "refuse"},
    )
    for given in ({}, {"headers": {"cache-control": "only-if-cached"}}):
        assert (await scene.ask(ASKED, key=key, **given)).status_code >= 400
    assert not scene.calls


async def test_what_does_not_fit_or_does_not_pay_is_not_asked(scene: Scene) -> None:
    key = await scene.house.key("long")
    system = "You are a support agent. " * 600
    await scene.store(key=key, system=system)
    assert came_from(await scene.ask(ASKED, key=key, system=system))[0] == "miss"

    cheap = await scene.house.key("cheap")
    scene.answers = lambda asked: "[[short]]"
    await scene.store(key=cheap, model="claude-haiku-5-5")
    assert came_from(await scene.ask(ASKED, key=cheap, model="claude-haiku-5-5"))[0] == "miss"
    assert not scene.calls


async def test_an_answer_that_is_no_plain_text_is_not_asked_about(tmp_path: Path) -> None:
    async with verifying(tmp_path) as scene:
        scene.answers = lambda asked: ""
        tool = {"name": "reset", "input_schema": {"type": "object"}}
        await scene.store(f"{STORED} [[sim tool=reset]]", tools=[tool])
        await scene.ask(f"{ASKED} [[sim tool=reset]]", tools=[tool])
        assert not scene.calls


async def test_in_the_background_a_yes_serves_the_next_asker_without_a_call(scene: Scene) -> None:
    key = await scene.house.key("behind")
    await scene.put("behind", verify="background")
    await scene.store(key=key)
    given: dict[str, Any] = {"key": key, "headers": {"cache-control": "private"}}
    first = await scene.ask(ASKED, **given)
    assert came_from(first)[0] == "miss"
    assert (await scene.verified(first, key))["verdict"] == "background"
    await scene.house.parts.verification.background.drain()
    assert len(scene.calls) == 1
    second = await scene.ask(ASKED, **given)
    assert came_from(second) == ("semantic", "verified")
    assert nano(second, "x-cost-usd") == 0
    assert len(scene.calls) == 1


async def test_auto_asks_in_the_background_only_if_the_answer_is_not_stored(scene: Scene) -> None:
    scene.house.parts.verification.verifier.paces.of("quick").call_s = 30  # too slow to wait for
    key = await scene.house.key("quick")
    await scene.store(key=key)
    unstored = await scene.ask(ASKED, key=key, headers={"cache-control": "private"})
    assert (await scene.verified(unstored, key))["verdict"] == "background"
    stored = await scene.ask("ways to reset a password", key=key)
    assert came_from(stored)[0] == "miss"
    assert await scene.verified(stored, key) is None


async def test_a_call_that_nobody_has_room_for_is_dropped_and_said_to_be(scene: Scene) -> None:
    key = await scene.house.key("full")
    await scene.put("full", verify="background")
    await scene.store(key=key)
    await scene.house.parts.verification.background.close()
    dropped = await scene.ask(ASKED, key=key, headers={"cache-control": "private"})
    assert came_from(dropped)[0] == "miss"
    assert (await scene.verified(dropped, key))["verdict"] == "dropped"
    assert not scene.calls
    text = (await scene.house.http.get("/metrics", headers=ADMIN)).text
    assert 'cacheserver_verifications_total{mode="background",verdict="dropped"} 1.0' in text


async def test_shadow_mode_asks_and_never_serves(scene: Scene) -> None:
    key = await scene.house.key("shade")
    await scene.put("shade", shadow=True)
    await scene.store(key=key)
    given = {"key": key, "headers": {"cache-control": "private"}}
    for _ in range(2):
        asked = await scene.ask(ASKED, **given)
        assert came_from(asked)[0] == "miss"
        assert (await scene.verified(asked, key))["verdict"] == "background"
        await scene.house.parts.verification.background.drain()
    assert len(scene.calls) == 1


async def test_a_slow_model_is_not_waited_for_again_and_again(scene: Scene) -> None:
    key = await scene.house.key("slow")
    await scene.store(key=key)
    pace = scene.house.parts.verification.verifier.paces.of("slow")
    pace.answer_s = dict.fromkeys(pace.answer_s, 2.0)
    scene.reply = lambda _: Directives(text="1", fault=Fault("hang"))
    before = pace.call_s
    assert came_from(await scene.ask(ASKED, key=key)) == ("miss", "verify-slow")
    assert pace.call_s > before
    untried = replace(pace, call_s=5.0)
    untried.note_untried()
    assert 0.8 < untried.call_s < 5.0


async def test_a_callers_own_key_pays_only_where_the_tenant_allows_it(tmp_path: Path) -> None:
    async with verifying(tmp_path, credentials="caller", anthropic_api_key=None) as scene:
        await scene.store(key="sk-ant-one")
        given = {"key": "sk-ant-one", "headers": {"cache-control": "private"}}
        assert came_from(await scene.ask(ASKED, **given))[0] == "miss"
        assert not scene.calls
        await scene.put("default", verify={"caller_keys": True})
        scene.house.parts.tenants.forget("default")
        answer = await scene.ask(ASKED, **given)
        assert came_from(answer) == ("semantic", "verified")
        (call,) = scene.calls
        assert call.account == scene.house.asked[0].account
        assert [row.reason for row in await scene.rows() if row.spent] == ["verify"]


def verify_lines(scene: Scene) -> list[Any]:
    return [line for line in scene.house.upstream.invoice if line.model == "claude-haiku-5-5"]


def nano_of(line: Any) -> int:
    return int(line.nanodollars)
