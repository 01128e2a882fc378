"""A change of settings: what it names, at every depth, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cacheserver.core.errors import BadRequest, StoreError
from cacheserver.core.types import Bar, Tenant, VolatilityCaps
from cacheserver.storage.connection import Connection
from cacheserver.tenants import tenant_json
from cacheserver.tenants.store import Tenants
from tests.house import ADMIN_KEY, House

ADMIN = {"x-api-key": ADMIN_KEY}
DEFAULTS = Tenant(name="default", default_ttl_s=60, max_ttl_s=600, bar=Bar(target=0.01))
KEYS = ("ab" * 8, "cd" * 8)
WAYS = ("similarity", "target", "exact_only")
Place = tuple[str, ...]

none = st.none()
limit = st.fixed_dictionaries(
    {}, optional={"usd": none | st.integers(1, 9), "tokens": none | st.integers(1, 9)}
)
budget: dict[str, Any] = {"daily": none | limit, "monthly": none | limit}
at_limit = none | st.sampled_from(["warn", "cheaper", "refuse"])
ways: dict[str, Any] = {
    "similarity": none | st.sampled_from([0.9, 0.95]),
    "target": none | st.sampled_from([0.02, 0.05]),
    "exact_only": none | st.booleans(),
}
task = st.fixed_dictionaries(
    {"tier": st.sampled_from(["low", "middle"])},
    optional={"min_agreement": none | st.sampled_from([0.5, 0.9])},
)
patches = st.fixed_dictionaries(
    {},
    optional={
        "default_ttl_s": none | st.integers(0, 900),
        "max_ttl_s": none | st.integers(0, 900),
        "stale_s": none | st.integers(0, 9),
        "ttl_rules": none | st.lists(st.just({"tag": "t", "max_ttl_s": 5}), max_size=2),
        "bar": none | st.fixed_dictionaries({}, optional={**ways, "top_k": none | st.just(5)}),
        "namespace_bars": none
        | st.dictionaries(
            st.sampled_from(["a.b", "c"]), none | st.just({"target": 0.1, "top_k": 3})
        ),
        "volatility": none
        | st.fixed_dictionaries({}, optional={"time_s": none | st.integers(0, 9)}),
        "budgets": none
        | st.fixed_dictionaries(
            {},
            optional={
                **budget,
                "at_limit": at_limit,
                "keys": none
                | st.dictionaries(
                    st.sampled_from(KEYS),
                    none | st.fixed_dictionaries({}, optional={**budget, "at_limit": at_limit}),
                ),
            },
        ),
        "routing": none
        | st.fixed_dictionaries(
            {},
            optional={
                "enabled": none | st.booleans(),
                "tasks": none | st.dictionaries(st.sampled_from(["faq", "x"]), none | task),
            },
        ),
    },
)


def leaves(tree: Any, path: Place = ()) -> list[tuple[Place, Any]]:
    """Every value that is replaced whole, with the names that lead to it."""
    whole = len(path) == 2 and path[0] == "namespace_bars"
    if isinstance(tree, Mapping) and not whole:
        return [leaf for name, value in tree.items() for leaf in leaves(value, (*path, name))]
    return [(path, tree)]


def told(own: dict[Place, Any], given: Mapping[str, Any]) -> dict[Place, Any]:
    """Return what a change makes of what a tenant sets: path by path, by the rules in words."""
    found = dict(own)
    for path, value in leaves(given):
        if path[:1] == ("bar",) and path[-1] in WAYS and value not in (None, False):
            found = {at: kept for at, kept in found.items() if at not in {("bar", w) for w in WAYS}}
        found = {at: kept for at, kept in found.items() if at[: len(path)] != path}
        if value is not None and not (path == ("bar", "exact_only") and value is False):
            found[path] = value
    return found


def nested(own: Mapping[Place, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for (*names, last), value in own.items():
        place = found
        for name in names:
            place = place.setdefault(name, {})
        place[last] = value
    return found


@settings(max_examples=150, deadline=None)
@given(st.lists(patches, max_size=6))
def test_any_sequence_of_changes_is_the_fold_of_them(sequence: list[dict[str, Any]]) -> None:
    own: Mapping[str, Any] = {}
    expected: dict[Place, Any] = {}
    before = replace(DEFAULTS, name="acme")
    for patch in sequence:
        try:
            after = tenant_json.change("acme", own, patch, DEFAULTS)
        except BadRequest:
            continue  # refused as a whole: nothing of it is taken
        own, expected = after.own, told(expected, patch)
        assert own == nested(expected)
        assert tenant_json.decode("acme", tenant_json.encode(own), DEFAULTS) == after
        was, now = (dict(leaves(tenant_json.as_json(one))) for one in (before, after.tenant))
        for path in was.keys() | now.keys():
            if was.get(path) != now.get(path):
                changed = [at[: len(path)] == path or path[: len(at)] == at
                           for at, _ in leaves(patch)]  # fmt: skip
                assert any(changed) or path[:1] == ("bar",), path
        before = after.tenant


@pytest.mark.parametrize(
    ("sequence", "own"),
    [
        (({"target": 0.02, "top_k": 5}, {"similarity": 0.9}), {"similarity": 0.9, "top_k": 5}),
        (({"similarity": 0.9}, {"exact_only": True}), {"exact_only": True}),
        (({"exact_only": True}, {"target": 0.02, "exact_only": False}), {"target": 0.02}),
        (({"target": 0.02, "top_k": 5}, {"target": None}), {"top_k": 5}),
    ],
)
def test_a_bar_has_one_way_to_decide(sequence: tuple[Any, ...], own: dict[str, Any]) -> None:
    found: Mapping[str, Any] = {}
    for bar in sequence:
        found = tenant_json.change("acme", found, {"bar": bar}, DEFAULTS).own
    assert found == {"bar": own}


def test_the_bar_of_a_namespace_is_replaced_whole() -> None:
    found: Mapping[str, Any] = {}
    for bar in ({"target": 0.1, "top_k": 3}, {"target": 0.2, "similarity": None}):
        given = {"namespace_bars": {"faq": bar}}
        found = tenant_json.change("acme", found, given, DEFAULTS).own
    assert found == {"namespace_bars": {"faq": {"target": 0.2}}}


async def test_a_budget_that_is_changed_leaves_the_others(house: House) -> None:
    path = "/admin/v1/tenants/acme"
    first = {"budgets": {"daily": {"usd": 5}, "monthly": {"usd": 50}, "at_limit": "refuse"}}
    put = await house.http.put(path, headers=ADMIN, json=first)
    assert put.status_code == 200, put.text
    await house.http.put(path, headers=ADMIN, json={"budgets": {"daily": {"usd": 7}}})
    shown = (await house.http.get(path, headers=ADMIN)).json()
    assert shown["own"] == {
        "budgets": {"daily": {"usd": 7}, "monthly": {"usd": 50}, "at_limit": "refuse"}
    }
    assert shown["settings"]["budgets"]["at_limit"] == "refuse"
    assert shown["defaults"]["budgets"]["at_limit"] == "warn"
    assert shown["conflicts"] == {}
    back = {"budgets": {"at_limit": None, "monthly": None}}
    put = await house.http.put(path, headers=ADMIN, json=back)
    assert put.json()["own"] == {"budgets": {"daily": {"usd": 7}}}
    assert put.json()["settings"]["budgets"]["at_limit"] == "warn"
    for wrong, named in (
        ({"budgets": {"dayly": None}}, "no field 'dayly'"),
        ({"budgets": {"daily": {"eur": 3}}}, "no field 'eur'"),
        ({"baar": None}, "no field 'baar'"),
        ({"volatility": {"time": None}}, "time_s"),
        ({"stale_s": 1, "bar": {"target": 0.01, "similarity": 0.9}}, "`bar`"),
    ):
        refused = await house.http.put(path, headers=ADMIN, json=wrong)
        assert refused.status_code == 400, wrong
        assert named in refused.json()["error"]["message"]
    assert (await house.http.get(path, headers=ADMIN)).json()["own"] == put.json()["own"]
    whole = (await house.http.get(path, headers=ADMIN)).json()["settings"]
    again = await house.http.put(path, headers=ADMIN, json=whole)
    assert again.json()["settings"] == whole  # what was read can be sent back


async def test_a_default_that_changes_holds_for_what_a_tenant_does_not_set(
    redis: Connection, prefix: str
) -> None:
    tenants = Tenants(redis, prefix=prefix, defaults=DEFAULTS)
    await tenants.change("acme", {"default_ttl_s": 500, "bar": {"top_k": 3}})
    raised = replace(DEFAULTS, max_ttl_s=900, bar=Bar(similarity=0.9))
    found = await Tenants(redis, prefix=prefix, defaults=raised).stored("acme")
    assert (found.tenant.max_ttl_s, found.tenant.bar) == (900, Bar(similarity=0.9, top_k=3))
    assert found.conflicts == {}
    # What contradicts the new default is not in force, is told, and holds up no other change.
    lowered = Tenants(redis, prefix=prefix, defaults=replace(DEFAULTS, max_ttl_s=100))
    found = await lowered.stored("acme")
    assert (found.tenant.default_ttl_s, found.tenant.max_ttl_s) == (100, 100)
    assert found.conflicts == {"default_ttl_s": "is above `max_ttl_s`: 500 > 100"}
    assert (await lowered.settings("acme")).default_ttl_s == 100
    found = await lowered.change("acme", {"stale_s": 9})
    assert (found.tenant.stale_s, found.own["default_ttl_s"]) == (9, 500)
    for wrong in ({"max_ttl_s": 50}, {"default_ttl_s": 400}):
        with pytest.raises(BadRequest, match="default_ttl_s"):
            await lowered.change("acme", wrong)
    found = await lowered.change("acme", {"default_ttl_s": None})
    assert (found.tenant.default_ttl_s, found.conflicts) == (60, {})


async def test_settings_that_an_earlier_version_stored_whole_are_the_tenants_own(
    redis: Connection, prefix: str
) -> None:
    was = replace(
        DEFAULTS,
        name="acme",
        stale_s=9,
        namespace_bars={"faq": Bar(similarity=0.9)},
        volatility=VolatilityCaps(time_s=None),
    )
    await redis.hset(f"{prefix}tenants", "acme", orjson.dumps(tenant_json.as_json(was)))
    tenants = Tenants(redis, prefix=prefix, defaults=replace(DEFAULTS, default_ttl_s=30))
    found = await tenants.stored("acme")
    longest = VolatilityCaps(time_s=365 * 86_400)  # longer than any answer lives: no cap
    assert found.tenant == replace(was, volatility=longest)
    assert found.own["default_ttl_s"] == 60
    assert found.own["bar"] == {"target": 0.01, "top_k": 10, "vetoes_off": []}
    found = await tenants.change("acme", {"default_ttl_s": None, "volatility": None})
    assert found.tenant.default_ttl_s == 30
    assert found.tenant.volatility == VolatilityCaps()
    assert found.tenant.stale_s == 9


async def test_changes_at_the_same_time_all_hold(redis: Connection, prefix: str) -> None:
    here, there = (Tenants(redis, prefix=prefix, defaults=DEFAULTS) for _ in range(2))
    names = ("a", "b", "c", "d")
    await asyncio.gather(
        *(one.change("acme", {"namespace_bars": {f"{n}{place}": {"exact_only": True}}})
          for place, one in enumerate((here, there)) for n in names)
    )  # fmt: skip
    found = await here.stored("acme")
    assert set(found.tenant.namespace_bars) == {f"{n}{place}" for n in names for place in (0, 1)}
    # As a bar is set: from settings that were read a while ago.
    before = await here.settings("acme")
    await there.change("acme", {"stale_s": 5, "bar": {"top_k": 4}})
    await here.put(replace(before, bar=replace(before.bar, target=0.05)), before=before)
    after = (await there.stored("acme")).tenant
    assert (after.stale_s, after.bar) == (5, Bar(target=0.05, top_k=4))


async def test_a_change_that_never_gets_its_turn_stores_nothing(
    redis: Connection, prefix: str
) -> None:
    tenants = Tenants(redis, prefix=prefix, defaults=DEFAULTS)

    async def other(before: Tenant, after: Tenant) -> None:
        await redis.hset(f"{prefix}tenants", "acme", orjson.dumps({"stale_s": before.stale_s + 1}))

    with pytest.raises(StoreError):
        await tenants.change("acme", {"semantic": False}, check=other)
    assert (await tenants.stored("acme")).tenant.semantic


async def test_tenants_and_keys_are_listed_by_page(house: House) -> None:
    made = [await house.parts.tenants.create_key(name) for name in ("d", "b", "b")]
    await house.ask(key=made[1][1])
    for name in ("a", "c"):
        await house.http.put(f"/admin/v1/tenants/{name}", headers=ADMIN, json={"stale_s": 1})

    async def pages(path: str, limit: int, **more: str) -> list[list[dict[str, Any]]]:
        found, cursor = [], ""
        while True:
            query: dict[str, Any] = {"limit": limit, "cursor": cursor, **more}
            page = await house.http.get(path, headers=ADMIN, params=query)
            assert page.status_code == 200, page.text
            found.append(page.json()["items"])
            cursor = page.json()["next"]
            if cursor is None:
                return found

    listed = await pages("/admin/v1/tenants", 3)
    assert [[one["name"] for one in page] for page in listed] == [["a", "b", "c"], ["d"]]
    assert [(one["keys"], one["own"]) for one in listed[0]] == [
        (0, {"stale_s": 1}),
        (2, {}),
        (0, {"stale_s": 1}),
    ]
    async with asyncio.timeout(10):  # it is written after the answer
        while (await pages("/admin/v1/tenants", 9))[0][1]["last_used"] is None:
            await house.http.get("/healthz")
    keys = await pages("/admin/v1/keys", 2)
    assert {key["id"] for page in keys for key in page} == {key.id for key, _ in made}
    assert [len(page) for page in keys] == [2, 1]
    own = await pages("/admin/v1/keys", 1, tenant="b")
    assert {key["id"] for page in own for key in page} == {key.id for key, _ in made[1:]}
    wrong: list[dict[str, str]] = [
        {"limit": "0"},
        {"limit": "201"},
        {"cursor": "x"},
        {"tenant": "no"},
    ]
    for query in wrong:
        refused = await house.http.get("/admin/v1/keys", headers=ADMIN, params=query)
        assert (refused.status_code, next(iter(query)) in refused.text) == (400, True)


async def test_a_tenant_that_was_deleted_before_it_asked_is_a_404(house: House) -> None:
    path = "/admin/v1/tenants/acme"
    await house.http.put(path, headers=ADMIN, json={"stale_s": 5})
    gone = await house.http.request("DELETE", path, headers=ADMIN, json={"confirm": "acme"})
    assert (gone.status_code, gone.json()["settings_removed"]) == (200, True)
    assert (await house.http.get(path, headers=ADMIN)).status_code == 404
    log = await house.http.get(f"{path}/erasures", headers=ADMIN)
    assert [row["who"] for row in log.json()] == ["deletion"]
    never = await house.http.get("/admin/v1/tenants/nobody", headers=ADMIN)
    assert (never.status_code, "there is no tenant" in never.text) == (400, True)
    put = await house.http.put(path, headers=ADMIN, json={"max_ttl_s": 9_000})
    assert put.json()["own"] == {"max_ttl_s": 9_000}  # nothing of the one before


async def test_a_keys_end_and_label_can_be_changed(house: House) -> None:
    key, plain = await house.parts.tenants.create_key("acme", "old", expires_at=2e9)
    path = f"/admin/v1/keys/{key.id}"
    new = (await house.http.post(f"{path}/rotate", headers=ADMIN, json={"overlap": "9d"})).json()
    changed = await house.http.put(path, headers=ADMIN, json={"label": "new", "expires": "1h"})
    assert changed.status_code == 200, changed.text
    assert (changed.json()["label"], changed.json()["id"]) == ("new", key.id)
    assert changed.json()["expires_at"] == pytest.approx(house.clock() + 3600, abs=60)
    for one in (plain, new["key"]):
        assert (await house.ask(key=one)).status_code == 200
    house.clock.ahead_s += 3_700
    for one in (plain, new["key"]):  # the one before it, too
        assert (await house.ask(key=one)).status_code == 401
    changed = await house.http.put(path, headers=ADMIN, json={"expires": None})
    assert (changed.json()["expires_at"], changed.json()["label"]) == (None, "new")
    assert (await house.ask(key=new["key"])).status_code == 200
    assert (await house.ask(key=plain)).status_code == 401
    for fields in ({"expires": "2020-01-01"}, {"label": 3}, {"label": "x" * 101}, {"id": "x"}):
        refused = await house.http.put(path, headers=ADMIN, json=fields)
        assert (refused.status_code, next(iter(fields)) in refused.text) == (400, True), fields
    assert (await house.http.put("/admin/v1/keys/x", headers=ADMIN, json={})).status_code == 404


async def test_all_that_is_wrong_in_a_change_is_named_at_once(tmp_path: Path) -> None:
    async with House.open(tmp_path) as house:
        wrong = {
            "stale_s": -1,
            "budgets": {"daily": {"usd": -1}, "at_limit": "shout"},
            "bar": {"target": 0.9},
            "shadow": True,
        }
        got = await house.http.put("/admin/v1/tenants/shop", headers=ADMIN, json=wrong)
        assert got.status_code == 400, got.text
        error = got.json()["error"]
        fields = {one["field"] for one in error["details"]}
        assert fields == {"stale_s", "budgets.daily.usd", "budgets.at_limit", "bar.target"}
        assert all(f"`{one['field']}`" in one["message"] for one in error["details"])
        first = error["details"][0]
        assert (error["field"], error["message"]) == (first["field"], first["message"])
        one = await house.http.put("/admin/v1/tenants/shop", headers=ADMIN, json={"stale_s": -1})
        assert one.json()["error"]["field"] == "stale_s"
        assert "details" not in one.json()["error"]
        live = {"max_wait_s": -1, "top_k": 0}
        got = await house.http.put("/admin/v1/settings", headers=ADMIN, json=live)
        assert {one["field"] for one in got.json()["error"]["details"]} == live.keys()
