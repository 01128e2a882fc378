"""Named admin keys with roles, and the audit trail: through the front door, over every route."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx2

from cacheserver.storage.connection import command
from cacheserver.tenants.admin_keys import AdminKeys
from cacheserver.tenants.audit_trail import AuditFilter, AuditRecord, AuditTrail, differences
from tests.house import ADMIN_KEY, House

ADMIN = {"x-api-key": ADMIN_KEY}
TENANT = {"tenant": "acme"}  # some routes take it from the query
# What is sent to be computed with, and stored nowhere.
BODILESS = {
    "POST /admin/v1/health/canary",
    "POST /admin/v1/tenants/{name}/alerts/test",
    "PUT /admin/v1/entries/{tenant}/{id}/pin",
    "POST /admin/v1/sample-traffic",
    "POST /admin/v1/audits",  # a file of logs
}
COMPUTES = {
    "/admin/v1/calibrate",
    "/admin/v1/tenants/{name}/ttl-check",
    "/admin/v1/routing/{tenant}/what-if",
}
ENDLESS = {"/admin/v1/live"}  # events, as long as one listens
SECRET = "hooks.example/T000/B000/XXXX"


async def admin_key(house: House, role: str, **given: Any) -> dict[str, str]:
    """Headers with a new named key."""
    body = {"name": given.pop("name", role), "role": role, **given}
    created = await house.http.post("/admin/v1/admin-keys", json=body, headers=ADMIN)
    assert created.status_code == 200, created.text
    return {"x-api-key": created.json()["key"]}


async def operations(house: House) -> list[tuple[str, str, dict[str, Any]]]:
    """Every method and path for admins, with what the description says of it.

    Without those of the page's session, which ask for no key.
    """
    described = (await house.http.get("/openapi.json")).json()
    return [
        (method.upper(), path, operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
        if path.startswith(("/admin/v1", "/metrics"))
    ]


def example(operation: dict[str, Any]) -> dict[str, Any]:
    """The first example of a request's body, as what httpx takes."""
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        given = [each["value"] for each in content.get("examples", {}).values()]
        given += [content["example"]] if "example" in content else []
        if given and isinstance(given[0], str):
            return {"content": given[0], "headers": {"content-type": kind}}
        if given:
            return {"json": given[0]}
    return {}


def at(path: str) -> str:
    """A path with ids: of a tenant that is there, and of nothing else."""
    return re.sub(r"\{(\w+)\}", lambda m: "acme" if m[1] in ("name", "tenant") else "0" * 32, path)


async def trail(house: House, **filters: Any) -> list[dict[str, Any]]:
    got = await house.http.get("/admin/v1/audit-trail", params=filters, headers=ADMIN)
    assert got.status_code == 200, got.text
    items: list[dict[str, Any]] = got.json()["items"]
    return items


async def test_a_read_key_sees_everything_and_changes_nothing(house: House) -> None:
    await house.key("acme")
    read = await admin_key(house, "read")
    before = await trail(house)
    changing = 0
    for method, path, operation in await operations(house):
        open_ = await house.http.request(method, at(path), params=TENANT)
        assert open_.status_code == 401, (method, path)
        if path in ENDLESS:
            continue
        got = await house.http.request(method, at(path), params=TENANT, headers=read)
        if method == "GET":
            assert got.status_code not in (401, 403, 500), (method, path, got.text)
            continue
        changing += 1
        error = got.json()["error"]
        assert (got.status_code, error["type"]) == (403, "permission_error"), (method, path)
        assert re.search("role `(tune|all)`.* has the role `read`", error["message"])
        assert "403" in operation["responses"]
    assert changing > 15
    assert await trail(house) == before


async def test_without_a_key_every_route_is_a_401_whatever_the_query(house: House) -> None:
    await house.key("acme")
    tried = 0
    for method, path, operation in await operations(house):
        named = [one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"]
        wrong = [{}, {"colour": "red"}, *({name: "\u200b-x"} for name in named)]
        for query in wrong:
            tried += 1
            got = await house.http.request(method, at(path), params=query)
            assert got.status_code == 401, (method, path, query, got.text)
    assert tried > 100


async def test_every_change_of_every_route_is_in_the_trail(house: House) -> None:
    await house.key("acme")
    changed = set()
    for method, path, operation in await operations(house):
        if method == "GET":
            continue
        given = example(operation)
        headers = {**ADMIN, **given.pop("headers", {})}
        got = await house.http.request(method, at(path), params=TENANT, headers=headers, **given)
        assert got.status_code != 500, (method, path, got.text)
        latest = (await trail(house, limit=1))[:1]
        recorded = bool(latest) and latest[0]["request_id"] == got.headers["request-id"]
        if recorded:
            assert (latest[0]["method"], latest[0]["route"]) == (method, path)
            assert (latest[0]["who"], latest[0]["status"]) == ("admin", got.status_code)
            assert latest[0]["tenant"] == ("acme" if "acme" in at(path) else latest[0]["tenant"])
            changed.add(path)
        shown = got.json() if "json" in got.headers["content-type"] else {}
        dry = path in COMPUTES or (isinstance(shown, dict) and shown.get("dry_run") is True)
        assert recorded == (got.status_code < 400 and not dry), (method, path, got.text)
    assert {"/admin/v1/admin-keys", "/admin/v1/tenants/{name}/erase"} <= changed


async def test_every_body_of_an_admin_is_described_with_an_example(house: House) -> None:
    without = {
        f"{method} {path}"
        for method, path, operation in await operations(house)
        if method in ("POST", "PUT", "PATCH") and not example(operation)
    }
    assert without == BODILESS
    described = (await house.http.get("/openapi.json")).json()
    for method, path, operation in await operations(house):
        assert operation["summary"], (method, path)
        names = [name for scheme in operation["security"] for name in scheme]
        assert names == ["adminKey", "adminBearer", "adminSession"]
        for content in operation.get("requestBody", {}).get("content", {}).values():
            schema = content["schema"]
            named = described["components"]["schemas"].get(schema.get("$ref", "").split("/")[-1])
            assert (named or schema)["type"] in ("object", "string")


async def test_the_description_names_the_role_that_each_route_enforces(house: House) -> None:
    await house.key("acme")
    keys = {role: await admin_key(house, role) for role in ("read", "tune")}
    seen = set()
    for method, path, operation in await operations(house):
        needed = operation["x-required-role"]
        seen.add(needed)
        assert operation["description"].endswith(f"Needs the role `{needed}`."), (method, path)
        for role, headers in keys.items():
            less = {"read": (), "tune": ("read",), "all": ("read", "tune")}[needed]
            if role in less:
                got = await house.http.request(method, at(path), params=TENANT, headers=headers)
                assert got.status_code == 403, (method, path)
                assert f"the role `{needed}`;" in got.json()["error"]["message"]
    assert seen == {"read", "tune", "all"}


async def test_each_role_does_what_those_before_it_may(house: House) -> None:
    await house.key("acme")
    tune, all_ = await admin_key(house, "tune"), await admin_key(house, "all")
    gold = "/admin/v1/routing/acme/thresholds"
    threshold = {"task": "classification", "tier": "low", "min_agreement": 0.9}
    for headers, may in ((tune, 403), (all_, 200)):
        tuned = await house.http.put(gold, json=threshold, headers=headers)
        assert tuned.status_code == 200, tuned.text
        created = await house.http.post("/admin/v1/keys", json={"tenant": "acme"}, headers=headers)
        assert created.status_code == may
        assert (await house.http.get("/metrics", headers=headers)).status_code == 200
        assert (await house.http.get("/v1/usage", headers=headers)).json()["tenant"] is None
    assert [(one["who"], one["route"]) for one in await trail(house)][:3] == [
        ("all", "/admin/v1/keys"),
        ("all", "/admin/v1/routing/{tenant}/thresholds"),
        ("tune", "/admin/v1/routing/{tenant}/thresholds"),
    ]


async def test_a_bar_is_tuned_by_name_with_what_it_was_and_a_dry_run_is_no_change(
    house: House,
) -> None:
    await house.key("acme")
    tune = await admin_key(house, "tune", name="ann")
    bars = "/admin/v1/tenants/acme/bars"
    bar = {"similarity": 0.91, "vetoes_off": ["order"]}
    for dry in (True, False):
        got = await house.http.put(bars, json={"bar": bar, "dry_run": dry}, headers=tune)
        assert got.status_code == 200, got.text
    undone = await house.http.post(f"{bars}/undo", json={}, headers=tune)
    assert undone.status_code == 200, undone.text
    back, change, *rest = await trail(house)
    assert (change["who"], change["tenant"], change["fields"]) == (
        "ann",
        "acme",
        ["bar", "dry_run"],
    )
    similarity = {"before": 0.95, "after": 0.91}
    assert change["changes"]["tenant.similarity"] == similarity
    assert change["changes"]["tenant.vetoes_off"] == {"before": [], "after": ["order"]}
    assert back["changes"]["tenant.similarity"] == {"before": 0.91, "after": 0.95}
    assert [one["route"] for one in rest] == ["/admin/v1/admin-keys"]
    history = (await house.http.get(f"{bars}/history", headers=tune)).json()["items"]
    assert {one["who"] for one in history} == {"ann"}


async def test_a_key_ends_when_it_is_revoked_or_expires_and_is_shown_once(house: House) -> None:
    kept = await admin_key(house, "read", name="kept")
    short = await admin_key(house, "read", name="short", expires="1h")
    assert (await house.http.get("/admin/v1/keys", headers=kept)).status_code == 200
    listed = (await house.http.get("/admin/v1/admin-keys", headers=short)).json()
    assert [(key["name"], key["role"]) for key in listed["items"]] == [
        ("kept", "read"),
        ("short", "read"),
    ]
    assert all(key["last_used_at"] is not None for key in listed["items"])
    assert kept["x-api-key"] not in str(listed)
    house.clock.ahead_s = 3_601
    assert (await house.http.get("/admin/v1/keys", headers=short)).status_code == 401
    gone = await house.http.delete(
        f"/admin/v1/admin-keys/{listed['items'][0]['id']}", headers=ADMIN
    )
    assert gone.json()["name"] == "kept"
    assert (await house.http.get("/admin/v1/keys", headers=kept)).status_code == 401
    # Neither kind of key is the other's.
    key = await house.key("acme")
    assert (await house.http.get("/admin/v1/keys", headers={"x-api-key": key})).status_code == 401
    fresh = await admin_key(house, "all")
    assert (await house.ask(key=fresh["x-api-key"])).status_code == 401


async def test_a_wrong_body_names_its_field(house: House) -> None:
    for body, field in (
        ({}, "name"),
        ({"name": "ann"}, "role"),
        ({"name": "ann", "role": "root"}, "role"),
        ({"name": "ann", "role": ["all"]}, "role"),
        ({"name": "", "role": "all"}, "name"),
        ({"name": "admin", "role": "all"}, "name"),
        ({"name": "ann", "role": "all", "expires": "yesterday"}, "expires"),
        ({"name": "ann", "role": "all", "expires": -1}, "expires"),
        ({"name": "ann", "rôle": "all"}, "rôle"),
    ):
        got = await house.http.post("/admin/v1/admin-keys", json=body, headers=ADMIN)
        assert got.status_code == 400, body
        assert f"`{field}`" in got.json()["error"]["message"]


async def test_without_the_setting_a_named_key_is_enough(tmp_path: Path) -> None:
    async with House.open(tmp_path, admin_key=None) as house:
        refused = await house.http.get("/admin/v1/keys", headers=ADMIN)
        assert refused.status_code == 403
        assert "cacheserver admin-key create" in refused.json()["error"]["message"]
        store = house.parts.host.store
        _, plain = await AdminKeys(store.redis, prefix=store.prefix).create("ann", "all")
        got = await house.http.get("/admin/v1/keys", headers={"authorization": f"Bearer {plain}"})
        assert got.status_code == 200
        wrong = await house.http.get("/admin/v1/keys", headers={"x-api-key": "csa_wrong"})
        assert wrong.status_code == 401
        assert "no admin key, has expired" in wrong.json()["error"]["message"]


async def test_the_trail_has_no_secret_and_no_text_and_tells_before_and_after(
    house: House,
) -> None:
    texts = {"similarity": 0.91, "note": "What is in the vault?", "webhook": f"https://{SECRET}"}
    shown = differences(
        {"bar": {"similarity": 0.9, "off": ["order"]}}, {"bar": texts, "slack": "x"}
    )
    assert shown["bar.similarity"] == {"before": 0.9, "after": 0.91}
    assert shown["bar.off"] == {"before": ["order"], "after": None}
    assert shown["slack"]["after"] == shown["bar.webhook"]["after"] == "(not shown)"
    assert "vault" not in str(shown)
    assert differences({}, {"semantic": False}) == {"semantic": {"before": None, "after": False}}
    assert SECRET not in str(shown)


async def test_the_trail_is_listed_by_page_and_by_who_tenant_route_and_time(house: House) -> None:
    ann = await admin_key(house, "all", name="ann")
    for n, who in enumerate((ann, ADMIN, ann, ann)):
        house.clock.ahead_s = 100.0 * n
        body = {"tenant": f"t{n % 2}"}
        made = await house.http.post("/admin/v1/keys", json=body, headers=who)
        assert made.status_code == 200
    first = await house.http.get("/admin/v1/audit-trail?limit=3", headers=ann)
    second = await house.http.get(
        "/admin/v1/audit-trail", params={"limit": 3, "cursor": first.json()["next"]}, headers=ann
    )
    items = first.json()["items"] + second.json()["items"]
    assert [(one["who"], one["tenant"]) for one in items] == [
        ("ann", "t1"), ("ann", "t0"), ("admin", "t1"), ("ann", "t0"), ("admin", None),
    ]  # fmt: skip
    assert second.json()["next"] is None
    assert items[0]["fields"] == ["tenant"]
    assert len(await trail(house, who="ann", tenant="t0")) == 2
    assert len(await trail(house, route="/admin/v1/admin-keys")) == 1
    since, until = items[1]["at"], items[0]["at"]
    assert [one["at"] for one in await trail(house, since=since, until=until)] == [since]
    for wrong in ({"limit": 0}, {"limit": 201}, {"cursor": "x"}, {"since": "nan"}, {"when": 1}):
        got = await house.http.get("/admin/v1/audit-trail", params=wrong, headers=ann)
        assert got.status_code == 400
        assert f"`{next(iter(wrong))}`" in got.json()["error"]["message"]


async def test_a_change_that_cannot_be_recorded_is_a_503_and_the_trail_is_bounded(
    house: House,
) -> None:
    store = house.parts.host.store
    small = AuditTrail(store.redis, prefix=store.prefix, most=3)
    for n in range(5):
        await small.add(AuditRecord(float(n), "ann", None, "all", "PUT", "/x"))
    found, cursor = await small.page(AuditFilter(), limit=200)
    assert ([one["at"] for one in found], cursor) == ([4.0, 3.0, 2.0], None)
    await command(store.redis, "SET", f"{store.prefix}audittrail", "no stream")
    got: httpx2.Response = await house.http.post(
        "/admin/v1/keys", json={"tenant": "acme"}, headers=ADMIN
    )
    assert (got.status_code, "key" in got.json()) == (503, False)
    metrics = (await house.http.get("/metrics", headers=ADMIN)).text
    assert 'cacheserver_swallowed_total{site="audit-trail"} 1.0' in metrics


async def test_a_read_key_sees_no_path_of_a_webhook(house: House) -> None:
    # Not by a request: that would have to resolve the host.
    alerts = {"webhook": f"https://{SECRET}", "slack": f"https://{SECRET}"}
    await house.parts.tenants.change("acme", {"budgets": {"alerts": alerts}})
    read, tune = await admin_key(house, "read"), await admin_key(house, "tune")
    for path in ("/admin/v1/tenants", "/admin/v1/tenants/acme"):
        seen = await house.http.get(path, headers=read)
        assert "https://hooks.example/(not shown)" in seen.text
        assert "T000" not in seen.text
        assert SECRET in (await house.http.get(path, headers=tune)).text
