"""The audit trail: what keys with little power can do to it, and what it says of tenants' keys."""

from __future__ import annotations

from typing import Any

from cacheserver.storage.connection import command
from cacheserver.tenants.audit_trail import AuditFilter, AuditRecord, AuditTrail
from tests.api.test_admin_access import ADMIN, admin_key, trail
from tests.house import House


def record(at: float, role: str, who: str = "ann") -> AuditRecord:
    return AuditRecord(at, who, None, role, "PUT", "/x")


async def test_a_tune_key_pushes_out_no_change_that_only_all_may_make(house: House) -> None:
    store = house.parts.host.store
    small = AuditTrail(store.redis, prefix=store.prefix, most=3)
    await small.add(record(0, "all"))
    for n in range(1, 10):
        await small.add(record(n, "tune", "bob"))
    found, _ = await small.page(AuditFilter(), limit=200)
    assert [(one["at"], one["role"]) for one in found] == [
        (9.0, "tune"), (8.0, "tune"), (7.0, "tune"), (0.0, "all"),
    ]  # fmt: skip


async def test_changes_of_both_roles_are_one_list_by_pages(house: House) -> None:
    store = house.parts.host.store
    both = AuditTrail(store.redis, prefix=store.prefix)
    added = [(n, "" if n in (0, 3, 4) else ":tune") for n in range(6)]
    # Two servers may record at the same moment: then the ids are equal.
    for n, ending in (*added, (100, ""), (100, ":tune")):
        row = f'{{"at": {n}, "who": "x{ending}", "tenant": null, "route": "/x"}}'
        key = f"{store.prefix}audittrail{ending}"
        await command(store.redis, "XADD", key, f"{n + 1}-1", "r", row)
    whole, end = await both.page(AuditFilter(), limit=200)
    assert end is None
    assert [one["at"] for one in whole] == [100, 100, 5, 4, 3, 2, 1, 0]
    assert [one["who"] for one in whole[:2]] == ["x:tune", "x"]
    assert len({one["id"] for one in whole}) == len(whole)
    for size in (1, 2, 3, 7):
        seen: list[dict[str, Any]] = []
        cursor = None
        while True:
            items, cursor = await both.page(AuditFilter(), limit=size, cursor=cursor)
            seen += items
            if cursor is None:
                break
        assert seen == whole, size


async def test_a_change_of_a_tenants_key_names_the_tenant_and_what_it_was(house: House) -> None:
    made = await house.http.post("/admin/v1/keys", headers=ADMIN, json={"tenant": "shop"})
    path = f"/admin/v1/keys/{made.json()['id']}"
    await house.http.put(path, headers=ADMIN, json={"expires": "30d"})
    limits = {"requests_per_minute": 60}
    await house.http.put(f"{path}/limits", headers=ADMIN, json=limits)
    await house.http.post(f"{path}/rotate", headers=ADMIN, json={"overlap": 0})
    await house.http.delete(path, headers=ADMIN)
    revoked, rotated, limited, changed, created = await trail(house)
    assert {one["tenant"] for one in await trail(house)} == {"shop"}
    assert len(await trail(house, tenant="shop")) == 5
    assert created["changes"]["id"] == {"before": None, "after": made.json()["id"]}
    assert changed["changes"]["expires_at"]["before"] is None
    assert changed["changes"]["expires_at"]["after"] > 1e9
    assert limited["changes"] == {"limits.requests_per_minute": {"before": None, "after": 60}}
    assert "created_at" in rotated["changes"]
    assert revoked["changes"]["id"] == {"before": made.json()["id"], "after": None}
    assert made.json()["key"] not in str(await trail(house))


async def test_a_damaged_admin_key_hides_no_other_and_can_be_revoked(house: House) -> None:
    ann = await admin_key(house, "all", name="ann")
    bob = await admin_key(house, "all", name="bob")
    store = house.parts.host.store
    (found, *_) = (await house.http.get("/admin/v1/admin-keys", headers=ann)).json()["items"]
    key = f"{store.prefix}adminkeys"
    digest = next(
        name for name in await command(store.redis, "HKEYS", key)
        if name.decode().startswith(found["id"])
    )  # fmt: skip
    await command(store.redis, "HSET", key, digest, b'{"id": 3')
    for who in (bob, ADMIN):
        listed = await house.http.get("/admin/v1/admin-keys", headers=who)
        assert listed.status_code == 200, listed.text
        shown = [(one["id"], one["name"], one["damaged"]) for one in listed.json()["items"]]
        assert (found["id"], "(damaged)", True) in shown
        assert ("bob", False) in [(name, damaged) for _, name, damaged in shown]
    await admin_key(house, "read", name="carol")  # keys can still be made
    gone = await house.http.delete(f"/admin/v1/admin-keys/{found['id']}", headers=bob)
    assert (gone.status_code, gone.json()["damaged"]) == (200, True)
    listed = await house.http.get("/admin/v1/admin-keys", headers=bob)
    assert [one["name"] for one in listed.json()["items"]] == ["bob", "carol"]


async def test_a_damaged_admin_key_opens_nothing(house: House) -> None:
    ann = await admin_key(house, "all", name="ann")
    store = house.parts.host.store
    key = f"{store.prefix}adminkeys"
    (digest,) = await command(store.redis, "HKEYS", key)
    await command(store.redis, "HSET", key, digest, b"[]")
    assert (await house.http.get("/admin/v1/keys", headers=ann)).status_code == 503
