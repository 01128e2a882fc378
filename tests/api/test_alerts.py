"""Alerts as operators handle them: active, acknowledged, silenced, and how channels deliver."""

from __future__ import annotations

from typing import Any

import pytest

from cacheserver.alerts.alert_state import ACTIVE_S
from cacheserver.alerts.rule_list import KINDS
from cacheserver.alerts.rules import Alert, Kind
from tests.api.admin import ADMIN, put
from tests.house import House


async def alerts(house: House, **params: Any) -> list[dict[str, Any]]:
    got = await house.http.get("/admin/v1/alerts", params=params, headers=ADMIN)
    assert got.status_code == 200, got.text
    found: list[dict[str, Any]] = got.json()["alerts"]
    return found


async def of_tenant(house: House) -> dict[str, Any]:
    got = await house.http.get("/admin/v1/tenants/default/alerts", headers=ADMIN)
    assert got.status_code == 200, got.text
    found: dict[str, Any] = got.json()
    return found


async def raised(house: House, kind: Kind, period: str) -> Alert:
    tenant = await house.parts.tenants.get("default")
    alert = Alert(kind, "default", "", period, "a text")
    assert await house.parts.alerts.delivery.raise_alert(tenant, alert, house.clock())
    return alert


def test_every_kind_has_a_rule() -> None:
    assert KINDS | {"test"} == set(Kind.__args__)  # type: ignore[attr-defined]


async def test_an_alert_is_active_while_checks_find_it(house: House) -> None:
    await put(house, "tenants/default", budgets={"daily": {"tokens": 1}, "at_limit": "warn"})
    await house.ask()
    await house.parts.budgets.flush()
    await house.parts.alerts.check()
    (found,) = await alerts(house, active=True)
    assert found["kind"] == "budget-reached"
    assert (found["acknowledged"], found["silenced"]) == (None, None)
    await put(house, "tenants/default", budgets=None)
    house.clock.ahead_s += 4
    await house.parts.alerts.check()
    assert await alerts(house, active=True) == []
    (past,) = await alerts(house)
    assert not past["active"]


async def test_no_alert_of_a_deleted_tenant_is_active_or_at_a_glance(house: House) -> None:
    await put(house, "tenants/shop", bar={"target": 0.02})
    delivery, now = house.parts.alerts.delivery, house.clock()
    alert = Alert("wrong-hits", "shop", "", "2026-01-01", "a text")
    assert await delivery.raise_alert(await house.parts.tenants.get("shop"), alert, now)
    await delivery.states.note_seen([alert.id], now)
    (before,) = await alerts(house, active=True)
    assert before["id"] == alert.id
    shown = await house.http.get("/admin/v1/overview", headers=ADMIN)
    assert [one["id"] for one in shown.json()["alerts"]["last"]] == [alert.id]
    gone = await house.http.request(
        "DELETE", "/admin/v1/tenants/shop", headers=ADMIN, json={"confirm": "shop"}
    )
    assert gone.status_code == 200, gone.text
    await delivery.states.note_seen([alert.id], now)
    assert await alerts(house, active=True) == []
    (after,) = await alerts(house)
    assert (after["id"], after["active"]) == (alert.id, False)
    shown = await house.http.get("/admin/v1/overview", headers=ADMIN)
    assert shown.json()["alerts"]["count"] == 0


async def test_what_no_check_has_looked_at_for_long_is_not_called_active(house: House) -> None:
    alert = await raised(house, "errors", "2026-01-01")
    states = house.parts.alerts.delivery.states
    await states.note_seen([alert.id], house.clock())
    assert (await states.read(house.clock())).active(alert.id)
    assert not (await states.read(house.clock() + ACTIVE_S)).active(alert.id)


async def test_an_alert_is_acknowledged_with_a_reason_and_that_is_taken_back(house: House) -> None:
    alert = await raised(house, "errors", "2026-01-01")
    path = "/admin/v1/alerts/acknowledge"
    got = await house.http.post(
        path, headers=ADMIN, json={"id": alert.id, "reason": "a deployment"}
    )
    assert got.status_code == 200, got.text
    said = (await alerts(house))[0]["acknowledged"]
    assert (said["by"], said["reason"]) == ("admin", "a deployment")
    trail = (await house.http.get("/admin/v1/audit-trail", headers=ADMIN)).json()["items"][0]
    assert trail["changes"]["acknowledged"] == {"before": False, "after": True}
    assert trail["tenant"] == "default"
    await house.http.post(path, headers=ADMIN, json={"id": alert.id, "reason": None})
    assert (await alerts(house))[0]["acknowledged"] is None
    unknown = await house.http.post(path, headers=ADMIN, json={"id": "x", "reason": "y"})
    assert unknown.status_code == 404


async def test_a_silenced_kind_is_listed_and_sent_to_nobody(house: House) -> None:
    await put(house, "tenants/default", budgets={"alerts": {"email": ["a@example.com"]}})
    house.clock.ahead_s += 4
    given = {"kind": "errors", "until": "2h", "reason": "load test"}
    shown = await put(house, "tenants/default/alerts/silence", **given)
    assert shown["silences"][0]["reason"] == "load test"
    redis, prefix = house.parts.host.store.redis, house.parts.host.store.prefix
    await raised(house, "errors", "2026-01-01")
    assert await redis.zcard(f"{prefix}ald") == 0
    (found,) = await alerts(house)
    assert found["silenced"]["by"] == "admin"
    await raised(house, "spend", "2026-01-01")  # another kind
    assert await redis.zcard(f"{prefix}ald") == 1
    house.clock.ahead_s += 7_201
    assert (await of_tenant(house))["silences"] == []
    await raised(house, "errors", "2026-01-02")
    assert await redis.zcard(f"{prefix}ald") == 2
    await put(house, "tenants/default/alerts/silence", **given)
    ended = await put(house, "tenants/default/alerts/silence", kind="errors", until=None)
    assert ended["silences"] == []


async def test_rules_say_which_setting_decides_and_channels_how_they_delivered(
    house: House,
) -> None:
    own = {"alerts": {"error_share": 0.3, "email": ["a@example.com"]}}
    await put(house, "tenants/default", budgets=own)
    house.clock.ahead_s += 4
    found = await of_tenant(house)
    rules = {one["kind"]: one["settings"] for one in found["rules"]}
    assert rules["errors"] == [
        {"path": "budgets.alerts.error_share", "value": 0.3, "origin": "own"}
    ]
    assert rules["spend"][0]["origin"] == "default"
    assert all(one["value"] is not None for one in rules["spend"])
    assert {one["channel"]: one["set"] for one in found["channels"]} == {
        "webhook": False, "slack": False, "email": True,
    }  # fmt: skip
    await house.http.post("/admin/v1/tenants/default/alerts/test", headers=ADMIN)
    mail = next(one for one in (await of_tenant(house))["channels"] if one["channel"] == "email")
    assert mail["last"]["error"] == "no-mail-server"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"kind": "nonsense", "until": "2h", "reason": "x"}, "kind"),
        ({"kind": "errors", "until": "60d", "reason": "x"}, "until"),
        ({"kind": "errors", "until": 0, "reason": "x"}, "until"),
        ({"kind": "errors", "reason": "x"}, "until"),
        ({"kind": "errors", "until": "2h"}, "reason"),
        ({"kind": "errors", "until": "2h", "reason": "x", "who": "y"}, "who"),
    ],
)
async def test_a_wrong_silence_is_refused_by_its_field(
    house: House, given: dict[str, Any], field: str
) -> None:
    path = "/admin/v1/tenants/default/alerts/silence"
    got = await house.http.put(path, headers=ADMIN, json=given)
    assert got.status_code == 400
    assert got.json()["error"]["message"].startswith(f"`{field}`")
