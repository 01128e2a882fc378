"""Budgets as callers meet them: over HTTP, with the simulated Claude behind."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import anthropic
import pytest

from tests.hostile.claude import scripted
from tests.hostile.raw import body_of, request, stats, under_way, until, wire
from tests.house import ADMIN_KEY, House, came_from
from tests.webhooks.test_webhooks import HERE, listening

ADMIN = {"x-api-key": ADMIN_KEY}
OPUS, HAIKU = "claude-opus-5-5", "claude-haiku-5-5"


async def rules(house: House, tenant: str = "default", **budgets: Any) -> None:
    """Set these budgets and no others."""
    for fields in ({"budgets": None}, {"budgets": budgets}):
        answer = await house.http.put(f"/admin/v1/tenants/{tenant}", json=fields, headers=ADMIN)
        assert answer.status_code == 200, answer.text
    house.clock.ahead_s += 4  # settings are believed for three seconds


async def stands(house: House, key: str = "any") -> Any:
    found = await house.http.get("/v1/budget", headers={"x-api-key": key})
    assert found.status_code == 200, found.text
    return found.json()["budgets"]


async def test_a_budget_that_is_used_up_is_a_402_that_says_until_when(house: House) -> None:
    await rules(house, daily={"tokens": 1}, at_limit="refuse")
    assert came_from(await house.ask())[0] == "miss"
    assert came_from(await house.ask())[0] == "exact"  # hits are free
    refused = await house.ask("And of Spain?")
    assert refused.status_code == 402
    error = refused.json()
    assert error["error"]["type"] == "billing_error"
    resets = refused.headers["x-budget-resets-at"]
    assert resets in error["error"]["message"]
    assert refused.headers["x-budget"] == "tenant/day/tokens"
    assert (refused.headers["x-cache"], refused.headers["x-cache-reason"]) == ("miss", "budget")
    assert len(house.asked) == 1
    house.clock.ahead_s += 86_400
    assert came_from(await house.ask("And of Spain?"))[0] == "miss"


@pytest.mark.parametrize("most", [-(10**9), 10**25])
async def test_who_hangs_up_on_an_absurd_call_moves_no_budget_and_stops_no_ledger(
    tmp_path: Path, most: int
) -> None:
    """A call whose usage never arrived is booked at the most that it could cost."""
    async with scripted(tmp_path) as (house, claude):
        key = await house.key("acme")
        await rules(house, "acme", monthly={"usd": 5}, at_limit="refuse")
        claude.go.clear()
        bypass = (("x-api-key", key), ("cache-control", "no-store"))
        async with wire(house) as caller:
            caller.send(request(body_of("Hang", max_tokens=most), headers=bypass))
            heard = asyncio.create_task(caller.answer())
            await until(lambda: claude.asked == 1 or heard.done())
            caller.hang_up()
            await until(lambda: not under_way(house))
            await asyncio.wait({heard})
        assert (await asyncio.wait_for(stats(house, key), 5))["requests"] in (0, 1)
        for found in await stands(house, key):
            assert float(found["usd"]["spent"]) == float(found["usd"]["reserved"]) == 0
        status, _, body = heard.result()
        assert (status, claude.asked) == (400, 0)
        assert "max_tokens" in json.loads(body)["error"]["message"]


async def test_the_sdk_does_not_try_a_spent_budget_again(house: House) -> None:
    await rules(house, daily={"usd": 0}, at_limit="refuse")
    client = house.sdk().with_options(max_retries=2)
    with pytest.raises(anthropic.APIStatusError) as refused:
        await client.messages.create(
            model=HAIKU, max_tokens=10, messages=[{"role": "user", "content": "Hi"}]
        )
    assert refused.value.status_code == 402
    assert house.asked == []


async def test_cache_only_answers_what_is_stored_and_nothing_else(house: House) -> None:
    await house.ask()
    await rules(house, daily={"usd": 0}, at_limit="cache-only")
    assert came_from(await house.ask())[0] == "exact"
    refused = await house.ask("And of Spain?")
    assert (refused.status_code, refused.headers["x-cache-reason"]) == (404, "budget")
    bypass = await house.ask(headers={"cache-control": "no-store"})
    assert (bypass.status_code, bypass.headers["x-cache-reason"]) == (404, "budget")


async def test_the_cheapest_tier_answers_at_the_end_and_is_not_kept_for_later(
    house: House,
) -> None:
    await rules(house, daily={"usd": 0}, at_limit="cheaper")
    answer = await house.ask(model=OPUS)
    assert answer.json()["model"] == HAIKU
    await rules(house, at_limit="cheaper")
    again = await house.ask(model=OPUS)
    assert came_from(again)[0] == "miss"
    assert again.json()["model"] == OPUS


async def test_what_is_spent_is_what_the_bill_says_and_nothing_stays_held(house: House) -> None:
    key = await house.key("acme")
    await rules(house, "acme", monthly={"usd": 5})
    one, two = await asyncio.gather(house.ask(key=key), house.ask("And of Spain?", key=key))
    assert (one.status_code, two.status_code) == (200, 200)
    paid = sum(float(answer.headers["x-cost-usd"]) for answer in (one, two))
    tokens = sum(sum(a.json()["usage"][n] for n in ("input_tokens", "output_tokens"))
                 for a in (one, two))  # fmt: skip
    day, month, own_day, own_month = await stands(house, key)
    for found in (day, month, own_day, own_month):
        assert (float(found["usd"]["spent"]), found["tokens"]["spent"]) == (paid, tokens)
        assert (float(found["usd"]["reserved"]), found["tokens"]["reserved"]) == (0, 0)
    assert float(month["usd"]["left"]) == pytest.approx(5 - paid)
    assert day["usd"]["limit"] is None


async def test_two_servers_on_one_redis_share_a_budget(tmp_path: Path) -> None:
    async with House.open(tmp_path / "one") as house:
        url = next((tmp_path / "one").rglob("*.sock"))
        other_house = House.open(tmp_path / "two", redis_url=f"unix://{url}")
        async with other_house as other:
            await rules(house, daily={"tokens": 1}, at_limit="refuse")
            other.clock.ahead_s += 4
            assert came_from(await house.ask())[0] == "miss"
            await house.parts.budgets.flush()
            assert (await other.ask("And of Spain?")).status_code == 402


async def test_callers_who_ask_the_same_at_once_pay_once(house: House) -> None:
    await rules(house, daily={"tokens": 150}, at_limit="refuse")
    answers = await asyncio.gather(*(house.ask() for _ in range(8)))
    assert {answer.status_code for answer in answers} <= {200, 402}
    assert len(house.asked) == 1
    day, _ = await stands(house)
    assert day["tokens"]["reserved"] == 0


async def test_a_stream_is_booked_at_its_end(house: House) -> None:
    await rules(house, daily={"usd": 1})
    answer = await house.ask(stream=True)
    assert "message_stop" in answer.text
    day, _ = await stands(house)
    assert day["tokens"]["spent"] > 0
    assert day["tokens"]["reserved"] == 0


async def test_a_failure_of_claudes_gives_back_what_was_held(house: House) -> None:
    await rules(house, daily={"usd": 1})
    answer = await house.ask(model="claude-no-such-model")
    assert answer.status_code == 404
    day, _ = await stands(house)
    assert (float(day["usd"]["spent"]), float(day["usd"]["reserved"])) == (0, 0)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"daily": {"usd": -1}}, "budgets.daily.usd"),
        ({"monthly": 5}, "budgets.monthly"),
        ({"alerts": {"webhook": "https://10.0.0.1/x"}}, "budgets.alerts.webhook"),
        ({"alerts": {"slack": "http://hooks.example.com/x"}}, "budgets.alerts.slack"),
        ({"alerts": {"unsupported_share": 2}}, "budgets.alerts.unsupported_share"),
        ({"alerts": {"unsupported": 1}}, "budgets.alerts.unsupported"),
    ],
)
async def test_a_budget_that_will_not_do_is_a_400_by_name(
    house: House, given: dict[str, Any], field: str
) -> None:
    answer = await house.http.put("/admin/v1/tenants/acme", json={"budgets": given}, headers=ADMIN)
    assert answer.status_code == 400
    message = answer.json()["error"]["message"]
    assert f"`{field}`" in message
    assert "value error" not in message.lower()


async def test_alerts_are_shown_to_the_admin_alone(house: House) -> None:
    await rules(house, daily={"usd": 0})
    await house.parts.alerts.check()
    shown = (await house.http.get("/admin/v1/alerts", headers=ADMIN)).json()["alerts"]
    assert [one["kind"] for one in shown] == ["budget-reached"]
    await house.key("quiet")
    named = await house.http.get("/admin/v1/alerts?tenant=quiet", headers=ADMIN)
    assert named.json() == {"alerts": []}
    assert (await house.http.get("/admin/v1/alerts")).status_code == 401
    assert (await house.http.get("/admin/v1/alerts?limit=0", headers=ADMIN)).status_code == 400
    tried = await house.http.post("/admin/v1/tenants/default/alerts/test", headers=ADMIN)
    assert tried.json() == {"delivered": {}}
    by_key = await house.http.get("/admin/v1/tenants/default/budget", headers=ADMIN)
    assert [one["period"] for one in by_key.json()["budgets"]] == ["day", "month"]


async def test_a_model_without_a_price_and_a_budget_are_told_to_whom_the_operator_named(
    house: House,
) -> None:
    """From the request to the receiver, signed with the secret that the tenant is shown."""
    async with listening() as listener:
        fields: dict[str, Any] = {
            "budgets": {
                "daily": {"tokens": 1_000_000},
                "alerts": {"webhook": f"{listener.url}/hook", "slack": f"{listener.url}/slack"},
            },
            "batching": {"webhook_networks": list(HERE.webhook_networks)},
        }
        done = await house.http.put("/admin/v1/tenants/default", json=fields, headers=ADMIN)
        assert done.status_code == 200, done.text
        house.clock.ahead_s += 4
        answer = await house.ask("Capital of France?", speed="fast")  # Haiku has no such price
        assert answer.is_success
        alerting = house.parts.alerts
        assert [one.kind for one in await alerting.check()] == ["unpriced"]
        spent = (await stands(house))[0]["tokens"]["spent"]
        fields["budgets"]["daily"] = {"tokens": round(spent / 0.9)}
        await house.http.put("/admin/v1/tenants/default", json=fields, headers=ADMIN)
        house.clock.ahead_s += 4
        assert [one.kind for one in await alerting.check()] == ["budget-near"]
        assert await alerting.check() == []
        assert await alerting.delivery.send_due() == 4
        got = [await listener.got.get() for _ in range(4)]
        assert listener.got.empty()
        secret = (await house.http.get("/v1/webhooks/secret")).json()["secret"]
        key = base64.b64decode(secret.removeprefix("whsec_"))
        kinds = []
        for headers, body in got:
            told = json.loads(body)
            if "webhook-id" not in headers:
                assert set(told) == {"text"}
                continue
            said = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
            digest = base64.b64encode(hmac.new(key, said, hashlib.sha256).digest()).decode()
            assert headers["webhook-signature"] == f"v1,{digest}"
            kinds.append(told["data"]["kind"])
            assert b"France" not in body
        assert sorted(kinds) == ["budget-near", "unpriced"]
